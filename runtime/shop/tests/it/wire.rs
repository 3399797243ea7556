//! Decode, fold, read: what the shop holds comes out again.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use dabi_core::change::ChangeBatch;
use dabi_core::debezium::{Headers, Skip, TopicDecoder};
use dabi_core::fold::Fold;
use dabi_core::position::Offset;
use dabi_core::table::SourceTable;
use dabi_fixtures::PgType;
use dabi_shop::{ColumnType, Envelopes, Identity, Micros, Record, Row, Settings, Shop, Table, Value, Wire};

const START: Micros = Micros(1_764_000_000_000_000);
const TRANSACTIONS: i64 = 3_000;

struct RecordHeaders<'a>(&'a Record);

impl Headers for RecordHeaders<'_> {
    fn last(&self, name: &str) -> Option<&[u8]> {
        self.0.headers.iter().rev().find(|(have, _)| *have == name).map(|(_, value)| value.as_bytes())
    }
}

/// A shop with truncates now and then, and everything it sent.
fn history(wire: Wire) -> (Shop, Envelopes, Vec<Record>) {
    let settings = Settings { users: 60, products: 150, orders: 100, orders_max: 400, history: &[] };
    let mut shop = Shop::new(11, settings);
    let envelopes = Envelopes::new("cdc", wire);
    let mut records = envelopes.records(&shop.open(START));
    for n in 1..=TRANSACTIONS {
        let now = Micros(START.0 + n * 4_000);
        let transaction = match n {
            900 => shop.truncate(Table::OrderProducts, now),
            1_500 => shop.truncate(Table::Users, now),
            2_200 => shop.truncate(Table::Departments, now),
            _ => shop.transact(now),
        };
        records.extend(envelopes.records(&transaction));
        if n % 500 == 0 {
            records.push(envelopes.heartbeat(now));
        }
    }
    (shop, envelopes, records)
}

/// The change events in `topic`, partition by partition, the last one first:
/// what Kafka orders is kept, what it does not is turned around.
fn decoded(topic: &str, records: &[Record]) -> (Vec<ChangeBatch>, BTreeMap<Skip, u64>) {
    let mut partitions: BTreeMap<i32, Vec<&Record>> = BTreeMap::new();
    for record in records.iter().filter(|record| *record.topic == *topic) {
        partitions.entry(record.partition).or_default().push(record);
    }
    let mut decoder = TopicDecoder::new(topic.into());
    for (partition, records) in partitions.into_iter().rev() {
        for (offset, record) in (0..).zip(records) {
            decoder.push(&dabi_core::debezium::Record {
                partition,
                offset: Offset(offset),
                timestamp_ms: Some(record.timestamp_ms),
                key: record.key.as_deref().map(str::as_bytes),
                value: record.value.as_deref().map(str::as_bytes),
                headers: &RecordHeaders(record),
            });
        }
    }
    let decoded = decoder.finish();
    assert!(decoded.dead_letters.is_empty(), "{:?}", decoded.dead_letters.first());
    (decoded.batches, decoded.skipped)
}

fn folded(table: Table, batches: &[ChangeBatch]) -> Vec<Vec<Option<String>>> {
    let mut fold = Fold::new(SourceTable::new("public", table.name()));
    for batch in batches {
        fold.apply(batch).expect("the batches are in order");
    }
    let described = dabi_fixtures::Table {
        name: table.name(),
        key: table.columns()[..table.key_columns()].iter().map(|column| column.name).collect(),
        columns: table
            .columns()
            .iter()
            .map(|column| dabi_fixtures::Column { name: column.name, pg_type: pg_type(column.column_type) })
            .collect(),
    };
    let mut rows: Vec<_> =
        fold.rows().iter().flat_map(|rows| texts(&dabi_fixtures::read(rows, &described))).collect();
    rows.sort_unstable();
    rows
}

fn pg_type(column_type: ColumnType) -> PgType {
    match column_type {
        ColumnType::Integer => PgType::Integer,
        ColumnType::BigInt => PgType::Bigint,
        ColumnType::Boolean => PgType::Boolean,
        ColumnType::Text => PgType::Text,
        ColumnType::TimestampTz => PgType::TimestampTz,
    }
}

fn texts(rows: &RecordBatch) -> Vec<Vec<Option<String>>> {
    let columns: Vec<ArrayRef> = rows
        .columns()
        .iter()
        .map(|column| match column.data_type() {
            // As microseconds.
            DataType::Timestamp(..) => cast(column, &DataType::Int64).expect("a timestamp is a number"),
            _ => Arc::clone(column),
        })
        .collect();
    let text = |column: &ArrayRef, row: usize| {
        column.is_valid(row).then(|| array_value_to_string(column, row).expect("a scalar has a text"))
    };
    (0..rows.num_rows()).map(|row| columns.iter().map(|column| text(column, row)).collect()).collect()
}

fn truth(shop: &Shop, table: Table) -> Vec<Vec<Option<String>>> {
    let text = |value: Value<'_>| match value {
        Value::Null => None,
        Value::Integer(number) | Value::Timestamp(Micros(number)) => Some(number.to_string()),
        Value::Boolean(flag) => Some(flag.to_string()),
        Value::Text(text) => Some(text.to_owned()),
    };
    let values = |row: &Row| row.values().into_iter().map(text).collect();
    let mut rows: Vec<_> = shop.tables().rows(table).iter().map(values).collect();
    rows.sort_unstable();
    rows
}

/// Names the first difference, where a whole table would drown it.
fn assert_same<T: PartialEq + Debug>(what: &str, got: &[T], expected: &[T]) {
    let differs = got.iter().zip(expected).find(|(got, expected)| got != expected);
    assert!(differs.is_none(), "{what}: {differs:?}");
    assert_eq!(got.len(), expected.len(), "{what}");
}

fn check(wire: Wire) {
    let (shop, envelopes, records) = history(wire);
    for table in Table::ALL {
        let (batches, _) = decoded(envelopes.topic(table), &records);
        let what = format!("{} with {wire:?}", table.name());
        assert_same(&what, &folded(table, &batches), &truth(&shop, table));
        assert!(shop.tables().count(table) > 0, "{what}: nothing to compare");
    }
}

#[test]
fn the_fold_of_the_events_is_what_the_shop_holds() {
    check(Wire::default());
    check(Wire { identity: Identity::Full, ..Wire::default() });
    check(Wire { partitions: 1, ..Wire::default() });
}

#[test]
fn so_it_is_with_schemas() {
    check(Wire { schemas: true, ..Wire::default() });
}

#[test]
fn what_is_no_change_event_is_recognised() {
    let (_, envelopes, records) = history(Wire::default());
    let mut skipped: BTreeMap<Skip, u64> = BTreeMap::new();
    for topic in envelopes.topics() {
        for (skip, count) in decoded(topic, &records).1 {
            *skipped.entry(skip).or_default() += count;
        }
    }
    let transactions = u64::try_from(TRANSACTIONS).unwrap();
    assert_eq!(skipped[&Skip::Transaction], 2 * transactions);
    assert_eq!(skipped[&Skip::Heartbeat], transactions / 500);
    let tombstones = records.iter().filter(|record| record.value.is_none()).count();
    assert_eq!(skipped[&Skip::Tombstone], tombstones as u64);
    assert!(tombstones > 0);
}
