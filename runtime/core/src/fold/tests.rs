//! The fold against the database whose changes it folds.

use std::collections::{BTreeMap, VecDeque};

use arrow::array::{ArrayRef, Decimal128Array, Int32Array, Int64Array, NullArray, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type};
use proptest::prelude::*;

use super::*;
use crate::change::testing::{Event, change_batch};
use crate::change::{Wire, row_field};

mod rules;

fn table() -> SourceTable {
    SourceTable::new("shop", "notes")
}

/// An event of `notes(id, small, big)`; `big` is `None` where it was not sent.
#[derive(Clone, Debug)]
struct Sent {
    event: Event,
    id: Option<i64>,
    small: i64,
    big: Option<String>,
}

/// One batch of `sent`, whose `id` is an int or a bigint. If no value of `big`
/// was sent, the column has no type, as without a schema.
fn batch(partition: i32, wide: bool, sent: &[Sent]) -> ChangeBatch {
    let ids: ArrayRef = if wide {
        Arc::new(sent.iter().map(|s| s.id).collect::<Int64Array>())
    } else {
        Arc::new(sent.iter().map(|s| s.id.and_then(|id| i32::try_from(id).ok())).collect::<Int32Array>())
    };
    let smalls: Int64Array = sent.iter().map(|s| Some(s.small)).collect();
    let any_big = sent.iter().any(|s| s.big.is_some());
    let bigs: ArrayRef = if any_big {
        Arc::new(sent.iter().map(|s| s.big.as_deref()).collect::<StringArray>())
    } else {
        Arc::new(NullArray::new(sent.len()))
    };
    let columns: Vec<(Field, ArrayRef)> = vec![
        (row_field("id", ids.data_type().clone(), Wire::Typed, None), ids),
        (row_field("small", DataType::Int64, Wire::Untyped, None), Arc::new(smalls)),
        (row_field("big", bigs.data_type().clone(), Wire::Untyped, None), bigs),
    ];
    let events: Vec<Event> = sent.iter().map(|s| s.event.clone()).collect();
    change_batch(&table(), &["id"], columns, ("cdc.shop.notes", partition), &events)
}

/// The rows of a fold, by id: `small`, `big`, and whether something is missing.
fn rows(fold: &Fold) -> BTreeMap<i64, (i64, Option<String>, bool)> {
    let mut rows = BTreeMap::new();
    for batch in fold.rows() {
        let ids = arrow::compute::cast(&batch.row_columns()[0], &DataType::Int64).expect("an integer");
        let (ids, smalls) =
            (ids.as_primitive::<Int64Type>(), batch.row_columns()[1].as_primitive::<Int64Type>());
        let bigs = arrow::compute::cast(&batch.row_columns()[2], &DataType::Utf8).expect("text or nothing");
        for row in 0..batch.num_rows() {
            let big = bigs.is_valid(row).then(|| bigs.as_string::<i32>().value(row).to_owned());
            let missing = batch.meta(meta::UNAVAILABLE).is_valid(row);
            let twice = rows.insert(ids.value(row), (smalls.value(row), big, missing));
            assert!(twice.is_none(), "key {} is given out twice", ids.value(row));
        }
    }
    assert_eq!(rows.len(), fold.len());
    rows
}

#[derive(Clone, Debug)]
enum Step {
    Insert(i64, String),
    /// with a new `big`, or with the old one not sent
    Update(i64, Option<String>),
    Delete(i64),
    /// likewise
    ChangeKey(i64, i64, Option<String>),
    Truncate,
    Snapshot(Snapshot),
}

/// The connector begins anew, with a snapshot.
#[derive(Clone, Debug)]
struct Snapshot {
    /// Deleted while it was away.
    gone: Vec<i64>,
    /// It is broken off after so many rows, the next of these is deleted, and it
    /// begins again.
    broken_off: Option<usize>,
    /// Written by a transaction that was open at the time, and commits after it.
    open: Option<(i64, String)>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let id = || 0..5_i64;
    let big = || "[a-z]{3}";
    let step = prop_oneof![
        4 => (id(), big()).prop_map(|(id, big)| Step::Insert(id, big)),
        4 => (id(), prop::option::of(big())).prop_map(|(id, big)| Step::Update(id, big)),
        2 => id().prop_map(Step::Delete),
        4 => (id(), id(), prop::option::weighted(0.2, big())).prop_map(|(a, b, big)| Step::ChangeKey(a, b, big)),
        1 => Just(Step::Truncate),
        1 => (prop::collection::vec(id(), 0..4), prop::option::of(0..4_usize), prop::option::of((id(), big())))
            .prop_map(|(gone, broken_off, open)| Step::Snapshot(Snapshot { gone, broken_off, open })),
    ];
    prop::collection::vec(step, 1..60)
}

/// A database that writes a log of its changes as Debezium does. Rows of partitions
/// are those of `deliver`.
struct Database {
    rows: BTreeMap<i64, (i64, String)>,
    log: Vec<Sent>,
    with_lsn: bool,
    /// How far the clock is ahead of the steps.
    ahead: i64,
}

impl Database {
    fn run(steps: &[Step], with_lsn: bool) -> Self {
        let mut this = Self { rows: BTreeMap::new(), log: Vec::new(), with_lsn, ahead: 0 };
        for (number, step) in steps.iter().enumerate() {
            let small = i64::try_from(number).expect("few steps");
            this.step(small, step);
        }
        this
    }

    fn step(&mut self, small: i64, step: &Step) {
        match step {
            Step::Insert(id, big) if !self.rows.contains_key(id) => {
                self.rows.insert(*id, (small, big.clone()));
                self.write(small, Op::Create, Some(*id), Some(big.clone()));
            }
            Step::Update(id, new) => {
                let Some(row) = self.rows.get_mut(id) else { return };
                *row = (small, new.clone().unwrap_or_else(|| row.1.clone()));
                self.write(small, Op::Update, Some(*id), new.clone());
            }
            Step::Delete(id) if self.rows.remove(id).is_some() => {
                self.write(small, Op::Delete, Some(*id), Some("invented".to_owned()));
            }
            Step::ChangeKey(old, new, big) if !self.rows.contains_key(new) => {
                let Some((_, kept)) = self.rows.remove(old) else { return };
                self.rows.insert(*new, (small, big.clone().unwrap_or(kept)));
                self.write(small, Op::Delete, Some(*old), Some(String::new()));
                let half = self.log.last_mut().expect("just written");
                half.event.newkey = Some(format!(r#"{{"id":{new}}}"#));
                self.write(small, Op::Create, Some(*new), big.clone());
                let half = self.log.last_mut().expect("just written");
                half.event.oldkey = Some(format!(r#"{{"schema":{{}},"payload":{{"id":{old}}}}}"#));
            }
            Step::Truncate => {
                self.rows.clear();
                self.write(small, Op::Truncate, None, None);
                self.log.last_mut().expect("just written").event.unavailable.clear();
            }
            Step::Snapshot(snapshot) if self.with_lsn => self.take_again(small, snapshot),
            Step::Insert(..) | Step::Delete(_) | Step::ChangeKey(..) | Step::Snapshot(_) => {}
        }
    }

    /// Each partition with rows keeps one: of a partition without, nobody knows what
    /// came before the snapshot.
    fn take_again(&mut self, small: i64, Snapshot { gone, broken_off, open }: &Snapshot) {
        let mut gone = gone.iter();
        if let Some(rows) = broken_off {
            self.read(small * 10, small, *rows);
            gone.next().into_iter().for_each(|id| self.delete_offline(*id));
        }
        gone.for_each(|id| self.delete_offline(*id));
        self.read(small * 10 + 5, small, usize::MAX);
        if let Some((id, big)) = open {
            self.ahead += 1;
            let op = if self.rows.contains_key(id) { Op::Update } else { Op::Create };
            self.rows.insert(*id, (small, big.clone()));
            self.write(small, op, Some(*id), Some(big.clone()));
            self.log.last_mut().expect("just written").event.lsn = Some(small * 10 + 4);
        }
    }

    fn delete_offline(&mut self, id: i64) {
        if self.rows.keys().any(|other| *other != id && other % 3 == id % 3) {
            self.rows.remove(&id);
        }
    }

    /// The first rows as a snapshot at `lsn` reads them, or all to the end.
    fn read(&mut self, lsn: i64, small: i64, rows: usize) {
        let all: Vec<(i64, (i64, String))> = self.rows.iter().map(|(id, row)| (*id, row.clone())).collect();
        for (id, (own, big)) in all.into_iter().take(rows) {
            self.write(small, Op::Read, Some(id), Some(big));
            let sent = self.log.last_mut().expect("just written");
            (sent.small, sent.event.lsn, sent.event.snapshot) = (own, Some(lsn), Some("true"));
        }
        if rows == usize::MAX && !self.rows.is_empty() {
            self.log.last_mut().expect("just written").event.snapshot = Some("last_in_data_collection");
        }
    }

    fn write(&mut self, small: i64, op: Op, id: Option<i64>, big: Option<String>) {
        let event = Event {
            // several transactions commit within a clock tick, where LSNs tell them apart
            ts_us: Some(if self.with_lsn { small / 4 + self.ahead } else { small }),
            lsn: self.with_lsn.then_some(small * 10),
            tx: Some(small.to_string()),
            unavailable: if big.is_none() { vec!["big".to_owned()] } else { Vec::new() },
            ..Event::new(op, 0)
        };
        self.log.push(Sent { event, id, small, big });
    }
}

/// The log as it lies in Kafka: after each `(at, back)` the connector restarts
/// and sends the last `back` events again.
fn deliver(log: &[Sent], restarts: &[(usize, usize)]) -> [Vec<Sent>; 3] {
    let mut partitions: [Vec<Sent>; 3] = Default::default();
    let mut restarts: VecDeque<_> = restarts.iter().copied().collect();
    let (mut next, mut delivered) = (0, 0);
    while next < log.len() {
        let mut sent = log[next].clone();
        let partition = sent.id.map_or(0, |id| usize::try_from(id % 3).expect("ids are not negative"));
        sent.event.offset = i64::try_from(partitions[partition].len()).expect("few events");
        partitions[partition].push(sent);
        next += 1;
        delivered += 1;
        if let Some((_, back)) = restarts.pop_front_if(|(at, _)| *at <= delivered) {
            next -= back.min(next);
        }
    }
    partitions
}

/// Folds the partitions in batches; each choice says from which partition the
/// next batch comes, and how long it is.
fn fold_in(partitions: &[Vec<Sent>; 3], choices: &[(usize, usize, bool)]) -> Fold {
    let mut fold = Fold::new(table());
    let mut rest: [&[Sent]; 3] = [&partitions[0], &partitions[1], &partitions[2]];
    let all =
        choices.iter().copied().chain([(0, usize::MAX, true), (1, usize::MAX, true), (2, usize::MAX, true)]);
    for (partition, len, wide) in all {
        let (now, later) = rest[partition].split_at(len.min(rest[partition].len()));
        rest[partition] = later;
        if !now.is_empty() {
            fold.apply(&batch(i32::try_from(partition).expect("of three"), wide, now)).expect("in order");
        }
    }
    fold
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    /// However partitions interleave, batches are cut and a connector restarts,
    /// the fold ends as the database.
    #[test]
    fn the_fold_ends_as_the_database(
        steps in steps(),
        with_lsn in any::<bool>(),
        restarts in prop::collection::vec((1..60_usize, 1..8_usize), 0..6),
        choices in prop::collection::vec((0..3_usize, 1..6_usize, any::<bool>()), 0..40),
    ) {
        let database = Database::run(&steps, with_lsn);
        let mut restarts = restarts;
        restarts.sort_unstable();
        let fold = fold_in(&deliver(&database.log, &restarts), &choices);
        let expected: BTreeMap<_, _> = database.rows.into_iter()
            .map(|(id, (small, big))| (id, (small, Some(big), false)))
            .collect();
        prop_assert_eq!(rows(&fold), expected);
    }
}
