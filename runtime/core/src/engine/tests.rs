//! The engine against a model that keeps a map of rows.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, DictionaryArray, Int8Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, TimestampMillisecondArray, UInt32Array, new_null_array,
};
use arrow::datatypes::{
    DataType, Field, Fields, Int8Type, Int64Type, Schema, TimeUnit, UInt8Type, UInt64Type,
};
use proptest::prelude::*;

use super::*;
use crate::change::{Wire, change_schema, row_field};
use crate::fold::Truncate;
use crate::spec::{Options, Target, TargetKind};
use crate::version::{Epoch, Term, Version};

#[derive(Clone, Debug)]
struct Event {
    op: Op,
    id: i64,
    value: i64,
    lsn: Option<i64>,
    ts: i64,
}

fn codes(value: &str, rows: usize) -> ArrayRef {
    let keys = Int8Array::from_value(0, rows);
    Arc::new(DictionaryArray::<Int8Type>::new(keys, Arc::new(StringArray::from(vec![value]))))
}

fn batch(partition: i32, first_offset: i64, events: &[Event]) -> ChangeBatch {
    let row: Fields = ["id", "value"]
        .map(|name| Arc::new(row_field(name, DataType::Int64, Wire::Typed, None)))
        .into_iter()
        .collect();
    let schema = change_schema(&"shop.orders".parse().unwrap(), &["id"], &row, false);
    let rows = events.len();
    let letters = StringArray::from(Op::ALL.map(Op::letter).to_vec());
    let op_keys = Int8Array::from_iter_values(
        events.iter().map(|e| i8::try_from(Op::ALL.iter().position(|op| *op == e.op).unwrap()).unwrap()),
    );
    let ids = events.iter().map(|e| (e.op != Op::Truncate).then_some(e.id));
    let values = events.iter().map(|e| (e.op != Op::Truncate).then_some(e.value));
    let offsets = (first_offset..).take(rows);
    let null = |name: &str| new_null_array(schema.field_with_name(name).unwrap().data_type(), rows);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter(ids)),
        Arc::new(Int64Array::from_iter(values)),
        Arc::new(DictionaryArray::<Int8Type>::new(op_keys, Arc::new(letters))),
        Arc::new(
            TimestampMicrosecondArray::from_iter_values(events.iter().map(|e| e.ts)).with_timezone("UTC"),
        ),
        Arc::new(Int64Array::from_iter(events.iter().map(|e| e.lsn))),
        null("_tx"),
        null("_tx_order"),
        null("_snapshot"),
        codes("topic", rows),
        Arc::new(Int32Array::from_value(partition, rows)),
        Arc::new(Int64Array::from_iter_values(offsets)),
        Arc::new(TimestampMillisecondArray::from_value(0, rows).with_timezone("UTC")),
        null("_unavailable"),
        null("_newkey"),
        null("_oldkey"),
    ];
    ChangeBatch::try_new(RecordBatch::try_new(schema, columns).unwrap()).unwrap()
}

/// What stands in ClickHouse: per key the row of the highest version.
#[derive(Default)]
struct Table(BTreeMap<i64, (u64, Option<StoredRow>)>);

#[derive(Clone, Copy, Debug, PartialEq)]
struct StoredRow {
    value: i64,
    lsn: Option<i64>,
    ts: i64,
}

impl Table {
    fn insert(&mut self, rows: &RecordBatch) {
        let column = |name: &str| rows.column_by_name(name).unwrap();
        let ids = column("id").as_primitive::<Int64Type>();
        let values = column("value").as_primitive::<Int64Type>();
        let versions = column("_version").as_primitive::<UInt64Type>();
        let deleted = column("_deleted").as_primitive::<UInt8Type>();
        let lsns = column("_lsn").as_primitive::<Int64Type>();
        let times = column("_ts").as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
        for row in 0..rows.num_rows() {
            let stored = StoredRow { value: values.value(row), lsn: value(lsns, row), ts: times.value(row) };
            let kept = (deleted.value(row) == 0).then_some(stored);
            let previous = self.0.insert(ids.value(row), (versions.value(row), kept));
            // Only the tombstone of a truncate may have the same version: of
            // equal versions ClickHouse keeps the one inserted last.
            let outranks = |(version, before): (u64, Option<StoredRow>)| {
                version < versions.value(row) || version == versions.value(row) && before.is_none()
            };
            assert!(previous.is_none_or(outranks), "one row per key and epoch");
        }
    }

    fn truncate(&mut self, truncate: Truncate, version: Version) {
        for entry in self.0.values_mut() {
            if entry.1.is_some_and(|row| truncate.covers(row.lsn, Some(row.ts))) {
                *entry = (version.0, None);
            }
        }
    }

    fn visible(&self) -> BTreeMap<i64, i64> {
        self.0.iter().filter_map(|(id, (_, row))| Some((*id, row.as_ref()?.value))).collect()
    }
}

/// A transform that keeps rows with an even value.
fn apply_epoch(table: &mut Table, truncates: &mut Truncates, batches: &[ChangeBatch], version: Version) {
    for truncate in truncates.learn(batches) {
        table.truncate(truncate, version);
    }
    let keys: Vec<Vec<ArrayRef>> = batches.iter().map(|b| vec![Arc::clone(&b.row_columns()[0])]).collect();
    let verdicts = Verdicts::judge(batches, &keys, truncates).unwrap();
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("value", DataType::Int64, false),
        Field::new("_version", DataType::UInt64, false),
        Field::new("_deleted", DataType::UInt8, false),
        Field::new("_lsn", DataType::Int64, true),
        Field::new("_ts", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]));
    for (index, batch) in batches.iter().enumerate() {
        let values = batch.row_columns()[1].as_primitive::<Int64Type>();
        let (origins, without): (Vec<u32>, Vec<u32>) = verdicts
            .rows(index, Verdict::Evaluate)
            .into_iter()
            .partition(|row| values.value(*row as usize) % 2 == 0);
        let mut tombstones = verdicts.rows(index, Verdict::Tombstone);
        tombstones.extend(without);
        let origins = UInt32Array::from(origins);
        let columns: Vec<ArrayRef> = batch
            .row_columns()
            .iter()
            .map(|column| arrow::compute::take(column, &origins, None).unwrap())
            .collect();
        let evaluated = EvaluatedBatch {
            batch,
            origins: &origins,
            columns: &columns,
            tombstones: &UInt32Array::from(tombstones),
            keys: &[Some(Arc::clone(&batch.row_columns()[0])), None],
        };
        table.insert(&star_rows(&evaluated, &schema, version).unwrap());
    }
}

#[test]
fn where_changes_are_kept_no_event_decides_for_another() {
    let events = [Op::Read, Op::Create, Op::Update, Op::Update, Op::Truncate, Op::Delete].map(|op| Event {
        op,
        id: 1,
        value: 0,
        lsn: Some(5),
        ts: 1,
    });
    let target = |ops: &str| Target {
        table: "f".into(),
        kind: TargetKind::Append,
        columns: Vec::new(),
        key: Vec::new(),
        as_of: Vec::new(),
        options: Options::from([("ops".to_owned(), ops.to_owned())]),
    };
    let evaluated = |targets: &[&str]| {
        let spec = Spec {
            name: "changes".into(),
            version: "1".into(),
            source: "shop.orders".parse().unwrap(),
            columns: Vec::new(),
            lookups: Vec::new(),
            targets: targets.iter().map(|ops| target(ops)).collect(),
            options: Options::new(),
        };
        let verdicts = Verdicts::of_changes(&[batch(0, 0, &events)], &spec);
        assert_eq!(verdicts.rows(0, Verdict::Tombstone), [0; 0], "nothing takes rows away");
        verdicts.rows(0, Verdict::Evaluate)
    };
    assert_eq!(evaluated(&["c,u,d"]), [1, 2, 3, 5]);
    assert_eq!(evaluated(&["d", "r"]), [0, 5]);
}

/// The fold, told in the plainest way.
fn model(partitions: &[Vec<Event>; 2]) -> BTreeMap<i64, i64> {
    let mut last: BTreeMap<i64, &Event> = BTreeMap::new();
    let events = || partitions.iter().flatten();
    for event in events().filter(|event| event.op != Op::Truncate) {
        last.insert(event.id, event);
    }
    let truncated = |row: &Event| {
        events()
            .filter(|t| t.op == Op::Truncate)
            .any(|t| Truncate { lsn: t.lsn, ts_us: Some(t.ts) }.covers(row.lsn, Some(row.ts)))
    };
    last.retain(|_, event| event.op != Op::Delete && event.value % 2 == 0 && !truncated(event));
    last.into_iter().map(|(id, event)| (id, event.value)).collect()
}

fn events(partition: i64) -> impl Strategy<Value = Vec<Event>> {
    let op = prop_oneof![
        4 => Just(Op::Create), 4 => Just(Op::Update), 2 => Just(Op::Delete), 1 => Just(Op::Read), 1 => Just(Op::Truncate)
    ];
    // A key lives on one partition; LSNs and times repeat and go back.
    let event = (op, 0i64..4, 0i64..6, prop::option::weighted(0.9, 0i64..20), 0i64..20)
        .prop_map(move |(op, id, value, lsn, ts)| Event { op, id: id * 2 + partition, value, lsn, ts });
    prop::collection::vec(event, 0..24)
}

proptest! {
    #[test]
    fn the_star_equals_the_model_however_epochs_are_cut_and_repeated(
        first in events(0),
        second in events(1),
        cuts in prop::collection::vec((1usize..6, 1usize..6, any::<bool>()), 1..12),
    ) {
        let partitions = [first, second];
        let (mut table, mut truncates, mut at, mut epoch) = (Table::default(), Truncates::default(), [0usize; 2], 0);
        let rest = (usize::MAX, usize::MAX, false);
        for (left, right, crash) in cuts.into_iter().chain([rest]) {
            let mut to = at;
            let mut batches = Vec::new();
            for (index, size) in [left, right].into_iter().enumerate() {
                to[index] = at[index].saturating_add(size).min(partitions[index].len());
                let rows = &partitions[index][at[index]..to[index]];
                // Two batches, so that a key can be decided across them.
                for part in rows.chunks(2.max(rows.len() / 2)) {
                    let offset = at[index] + (part.as_ptr() as usize - rows.as_ptr() as usize) / size_of::<Event>();
                    batches.push(batch(i32::try_from(index).unwrap(), i64::try_from(offset).unwrap(), part));
                }
            }
            epoch += 1;
            apply_epoch(&mut table, &mut truncates, &batches, Version::new(Term(1), Epoch(epoch)));
            // After a crash the position has not moved: the next epoch begins where this one did.
            if !crash {
                at = to;
            }
        }
        prop_assert_eq!(table.visible(), model(&partitions));
    }
}
