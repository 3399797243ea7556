//! Random databases that write the log of their changes as Debezium does.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, NullArray, StringArray};
use arrow::datatypes::{DataType, Field};
use proptest::prelude::*;

use crate::change::testing::{Event, change_batch};
use crate::change::{ChangeBatch, Op, Wire, row_field};
use crate::table::SourceTable;

/// A key: `id`, and `sub` in tables that have it.
pub(super) type Key = (i64, Option<String>);

/// What tables there are.
#[derive(Clone, Debug)]
pub(super) struct Schema {
    pub(super) tables: Vec<TableSchema>,
}

#[derive(Clone, Debug)]
pub(super) struct TableSchema {
    /// Is `sub` part of the key?
    pub(super) composite: bool,
    /// Which table each foreign key refers to.
    pub(super) references: Vec<usize>,
}

pub(super) fn table(number: usize) -> SourceTable {
    SourceTable::new("shop", format!("t{number}"))
}

pub(super) fn schemas() -> impl Strategy<Value = Schema> {
    let tables =
        prop::collection::vec((prop::bool::weighted(0.3), prop::collection::vec(0..4_usize, 1..3)), 2..5);
    tables.prop_map(|tables| {
        let count = tables.len();
        let table = |(composite, references): (bool, Vec<usize>)| TableSchema {
            composite,
            references: references.into_iter().map(|to| to % count).collect(),
        };
        Schema { tables: tables.into_iter().map(table).collect() }
    })
}

/// A row. Foreign keys may dangle.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) v: Option<i64>,
    /// Not sent where an update does not change it.
    pub(super) big: Option<String>,
    pub(super) references: Vec<Option<Key>>,
}

/// What happens to a table.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Put(Key, Option<i64>, Option<String>, Vec<Option<Key>>),
    /// without a new `big`
    Update(Key, Option<i64>, Vec<Option<Key>>),
    Delete(Key),
    /// likewise
    ChangeKey(Key, Key),
    Truncate,
    Snapshot(Snapshot),
}

/// The connector begins anew, with a snapshot of the table.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// Deleted while it was away.
    gone: Vec<Key>,
    /// It is broken off after so many rows, one of `gone` is deleted only then, and
    /// it begins again.
    broken_off: Option<usize>,
    /// Written by a transaction that was open at the time, and commits after it.
    open: Option<(Key, Option<i64>, Vec<Option<Key>>)>,
}

fn keys() -> impl Strategy<Value = Key> {
    (0..4_i64, prop::sample::select(vec!["a", "b"])).prop_map(|(id, sub)| (id, Some(sub.to_owned())))
}

pub(super) fn steps() -> impl Strategy<Value = Vec<(usize, Step)>> {
    let v = || prop::option::weighted(0.9, -1..8_i64);
    let big = || prop::option::weighted(0.8, "[a-z]{1,2}");
    let references = || prop::collection::vec(prop::option::weighted(0.85, keys()), 2);
    let snapshot = (
        prop::collection::vec(keys(), 0..6),
        prop::option::of(0..4_usize),
        prop::option::of((keys(), v(), references())),
    );
    let step = prop_oneof![
        6 => (keys(), v(), big(), references()).prop_map(|(k, v, b, r)| Step::Put(k, v, b, r)),
        4 => (keys(), v(), references()).prop_map(|(k, v, r)| Step::Update(k, v, r)),
        2 => keys().prop_map(Step::Delete),
        2 => (keys(), keys()).prop_map(|(from, to)| Step::ChangeKey(from, to)),
        1 => Just(Step::Truncate),
        1 => snapshot.prop_map(|(gone, broken_off, open)| {
            Step::Snapshot(Snapshot { gone, broken_off, open })
        }),
    ];
    prop::collection::vec((0..4_usize, step), 1..60)
}

/// An event of one table; `big` is `None` where it was not sent.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    /// Its place in the log.
    pub(super) number: usize,
    pub(super) table: usize,
    pub(super) event: Event,
    pub(super) key: Option<Key>,
    /// As it is in the database, whatever was not sent.
    pub(super) row: Row,
    big_unsent: bool,
}

/// The databases' log, table by table in one order of transactions.
pub(super) struct Database<'a> {
    schema: &'a Schema,
    rows: Vec<BTreeMap<Key, Row>>,
    pub(super) log: Vec<Sent>,
    with_lsn: bool,
    /// How far the clock is ahead of the log.
    ahead: i64,
}

impl Sent {
    /// Is it the last row that a snapshot has read?
    pub(super) fn ends_snapshot(&self) -> bool {
        self.event.snapshot == Some("last")
    }
}

const NO_ROW: Row = Row { v: None, big: None, references: Vec::new() };

impl<'a> Database<'a> {
    pub(super) fn run(schema: &'a Schema, steps: &[(usize, Step)], with_lsn: bool) -> Self {
        let rows = vec![BTreeMap::new(); schema.tables.len()];
        let mut this = Self { schema, rows, log: Vec::new(), with_lsn, ahead: 0 };
        for (table, step) in steps {
            this.step(table % schema.tables.len(), step);
        }
        this
    }

    /// Keys are those of the table's schema: one without `sub` has none.
    fn own(&self, table: usize, key: &Key) -> Key {
        (key.0, key.1.clone().filter(|_| self.schema.tables[table].composite))
    }

    fn references(&self, table: usize, keys: &[Option<Key>]) -> Vec<Option<Key>> {
        let to = self.schema.tables[table].references.iter();
        to.zip(keys).map(|(to, key)| Some(self.own(*to, key.as_ref()?))).collect()
    }

    fn step(&mut self, table: usize, step: &Step) {
        match step {
            Step::Put(key, v, big, references) => {
                let key = self.own(table, key);
                let row = Row { v: *v, big: big.clone(), references: self.references(table, references) };
                let before = self.rows[table].insert(key.clone(), row.clone());
                let op = if before.is_some() { Op::Update } else { Op::Create };
                self.write(table, op, Some(key), row, false);
            }
            Step::Update(key, v, references) => {
                let key = self.own(table, key);
                let references = self.references(table, references);
                let Some(row) = self.rows[table].get_mut(&key) else { return };
                (row.v, row.references) = (*v, references);
                let row = row.clone();
                self.write(table, Op::Update, Some(key), row, true);
            }
            Step::Delete(key) => {
                let key = self.own(table, key);
                if self.rows[table].remove(&key).is_some() {
                    self.write(table, Op::Delete, Some(key), NO_ROW, false);
                }
            }
            Step::ChangeKey(old, new) => self.change_key(table, old, new),
            Step::Truncate => {
                self.rows[table].clear();
                self.write(table, Op::Truncate, None, NO_ROW, false);
            }
            Step::Snapshot(snapshot) if self.with_lsn => self.take_again(table, snapshot),
            Step::Snapshot(_) => {}
        }
    }

    fn take_again(&mut self, table: usize, Snapshot { gone, broken_off, open }: &Snapshot) {
        let mut gone = gone.iter();
        if let Some(rows) = broken_off {
            self.read(table, *rows);
            gone.next().into_iter().for_each(|key| self.delete_offline(table, key));
        }
        gone.for_each(|key| self.delete_offline(table, key));
        let lsn = self.read(table, usize::MAX);
        let Some((key, v, references)) = open else { return };
        let (key, references) = (self.own(table, key), self.references(table, references));
        let row = Row { v: *v, big: None, references };
        let before = self.rows[table].insert(key.clone(), row.clone());
        self.ahead += 1;
        let op = if before.is_some() { Op::Update } else { Op::Create };
        self.write(table, op, Some(key), row, false);
        self.log.last_mut().expect("just written").event.lsn = Some(lsn - 1);
    }

    /// Each partition with rows keeps one: of a partition without, nobody knows what
    /// came before the snapshot.
    fn delete_offline(&mut self, table: usize, key: &Key) {
        let key = self.own(table, key);
        if self.rows[table].keys().any(|other| *other != key && partition_of(other) == partition_of(&key)) {
            self.rows[table].remove(&key);
        }
    }

    /// The first rows as a snapshot reads them, or all to the end; gives its LSN.
    fn read(&mut self, table: usize, rows: usize) -> i64 {
        let number = i64::try_from(self.log.len()).expect("few events");
        let (lsn, ts_us) = (number * 10 + 5, number / 4 + self.ahead);
        let all: Vec<(Key, Row)> =
            self.rows[table].iter().map(|(key, row)| (key.clone(), row.clone())).collect();
        let last = all.len();
        for ((key, row), place) in all.into_iter().take(rows).zip(1..) {
            self.write(table, Op::Read, Some(key), row, false);
            let event = &mut self.log.last_mut().expect("just written").event;
            (event.lsn, event.ts_us) = (Some(lsn), Some(ts_us));
            event.snapshot = Some(if place == last && rows == usize::MAX { "last" } else { "true" });
        }
        lsn
    }

    fn change_key(&mut self, table: usize, old: &Key, new: &Key) {
        let (old, new) = (self.own(table, old), self.own(table, new));
        if self.rows[table].contains_key(&new) {
            return;
        }
        let Some(row) = self.rows[table].remove(&old) else { return };
        self.rows[table].insert(new.clone(), row.clone());
        let header = |key: &Key| match &key.1 {
            Some(sub) => format!(r#"{{"sub":"{sub}","id":{}}}"#, key.0),
            None => format!(r#"{{"schema":{{}},"payload":{{"id":{}}}}}"#, key.0),
        };
        self.write(table, Op::Delete, Some(old.clone()), NO_ROW, false);
        self.log.last_mut().expect("just written").event.newkey = Some(header(&new));
        self.write(table, Op::Create, Some(new), row, true);
        self.log.last_mut().expect("just written").event.oldkey = Some(header(&old));
        if !self.with_lsn {
            // one transaction, one commit time, one id
            let tx = self.log[self.log.len() - 2].event.clone();
            let half = &mut self.log.last_mut().expect("just written").event;
            (half.ts_us, half.tx) = (tx.ts_us, tx.tx);
        } else {
            let lsn = self.log[self.log.len() - 2].event.clone();
            let half = &mut self.log.last_mut().expect("just written").event;
            (half.ts_us, half.tx, half.lsn) = (lsn.ts_us, lsn.tx, lsn.lsn);
        }
    }

    fn write(&mut self, table: usize, op: Op, key: Option<Key>, row: Row, big_unsent: bool) {
        let number = i64::try_from(self.log.len()).expect("few events");
        let event = Event {
            // several transactions commit within a clock tick, where LSNs tell them apart
            ts_us: Some(if self.with_lsn { number / 4 + self.ahead } else { number }),
            lsn: self.with_lsn.then_some(number * 10),
            tx: Some(number.to_string()),
            unavailable: if big_unsent { vec!["big".to_owned()] } else { Vec::new() },
            ..Event::new(op, 0)
        };
        self.log.push(Sent { number: self.log.len(), table, event, key, row, big_unsent });
    }
}

/// Partitions of one table.
pub(super) const PARTITIONS: usize = 2;

fn partition_of(key: &Key) -> usize {
    usize::try_from(key.0).expect("ids are not negative") % PARTITIONS
}

/// The log as it lies in Kafka, by table and partition: after each `(at, back)`
/// the connector restarts and sends the last `back` events again.
pub(super) fn deliver(log: &[Sent], tables: usize, restarts: &[(usize, usize)]) -> Vec<Vec<Sent>> {
    let mut partitions = vec![Vec::new(); tables * PARTITIONS];
    let mut restarts = restarts.iter().copied().peekable();
    let (mut next, mut delivered) = (0, 0);
    while next < log.len() {
        let mut sent = log[next].clone();
        let own = sent.key.as_ref().map_or(0, partition_of);
        let partition: &mut Vec<Sent> = &mut partitions[sent.table * PARTITIONS + own];
        sent.event.offset = i64::try_from(partition.len()).expect("few events");
        partition.push(sent);
        next += 1;
        delivered += 1;
        if let Some((_, back)) = restarts.next_if(|(at, _)| *at <= delivered) {
            next -= back.min(next);
        }
    }
    partitions
}

/// One batch of events of one partition. Integers are wide or not; where no `big`
/// was sent, the column has no type, as without a schema.
pub(super) fn batch(schema: &Schema, partition: usize, wide: bool, sent: &[Sent]) -> ChangeBatch {
    let number = partition / PARTITIONS;
    let ints = |values: Vec<Option<i64>>| -> ArrayRef {
        if wide {
            Arc::new(Int64Array::from(values))
        } else {
            Arc::new(
                values.into_iter().map(|v| v.and_then(|v| i32::try_from(v).ok())).collect::<Int32Array>(),
            )
        }
    };
    let texts = |values: Vec<Option<&str>>| -> ArrayRef {
        if values.iter().any(Option::is_some) {
            Arc::new(StringArray::from(values))
        } else {
            Arc::new(NullArray::new(values.len()))
        }
    };
    let field = |name: &str, array: &ArrayRef| {
        let wire = if array.data_type() == &DataType::Null { Wire::Untyped } else { Wire::Typed };
        row_field(name, array.data_type().clone(), wire, None)
    };
    let mut columns: Vec<(Field, ArrayRef)> = Vec::new();
    let mut push = |name: &str, array: ArrayRef| columns.push((field(name, &array), array));
    push("v", ints(sent.iter().map(|s| s.row.v).collect()));
    push("id", ints(sent.iter().map(|s| s.key.as_ref().map(|key| key.0)).collect()));
    let big = |s: &'_ Sent| if s.big_unsent { None } else { s.row.big.clone() };
    let bigs: Vec<Option<String>> = sent.iter().map(big).collect();
    push("big", texts(bigs.iter().map(Option::as_deref).collect()));
    let table_schema = &schema.tables[number];
    if table_schema.composite {
        push("sub", texts(sent.iter().map(|s| s.key.as_ref().and_then(|key| key.1.as_deref())).collect()));
    }
    for (place, to) in table_schema.references.iter().enumerate() {
        let of = |s: &Sent| s.row.references.get(place).cloned().flatten();
        let keys: Vec<Option<Key>> = sent.iter().map(of).collect();
        push(&format!("r{place}"), ints(keys.iter().map(|key| Some(key.as_ref()?.0)).collect()));
        if schema.tables[*to].composite {
            let subs = keys.iter().map(|key| key.as_ref().and_then(|key| key.1.as_deref())).collect();
            push(&format!("r{place}_sub"), texts(subs));
        }
    }
    let key: &[&str] = if table_schema.composite { &["sub", "id"] } else { &["id"] };
    let topic = format!("cdc.shop.t{number}");
    let events: Vec<Event> = sent.iter().map(|s| s.event.clone()).collect();
    let partition = i32::try_from(partition % PARTITIONS).expect("few partitions");
    change_batch(&table(number), key, columns, (&topic, partition), &events)
}
