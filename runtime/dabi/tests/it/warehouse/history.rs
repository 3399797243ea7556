//! Tables that keep history, and version keys that ClickHouse can compute too.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal64Array, FixedSizeBinaryArray, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray, UInt8Array, UInt64Array, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType as Arrow, TimestampMicrosecondType};
use dabi_core::data_type::DataType;
use dabi_core::spec::{Options, Spec, Target, TargetKind};
use dabi_core::star::{TargetTable, version_keys};
use serde_json::json;

use super::{Fixture, column};

/// Columns of every type that a version's key can have, three values each.
fn key_columns() -> Vec<(&'static str, DataType, ArrayRef)> {
    let times = [0, 1_709_212_455_123_456, -1];
    let decimals = Decimal64Array::from(vec![150, -5, 100]).with_precision_and_scale(12, 2).unwrap();
    let uuids =
        [[0_u8; 16], *b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10", [0xff; 16]];
    vec![
        ("a_bool", DataType::Boolean, Arc::new(BooleanArray::from(vec![true, false, true]))),
        ("a_int", DataType::Int64, Arc::new(Int64Array::from(vec![i64::MIN, 0, i64::MAX]))),
        ("a_uint", DataType::Uint64, Arc::new(UInt64Array::from(vec![0, 1, u64::MAX]))),
        ("a_decimal", DataType::Decimal { precision: 12, scale: 2 }, Arc::new(decimals)),
        ("a_text", DataType::Text, Arc::new(StringArray::from(vec!["", "é'\\\n", "x"]))),
        ("a_date", DataType::Date, Arc::new(Date32Array::from(vec![-25_567, 0, 120_529]))),
        ("a_time", DataType::Timestamp, Arc::new(TimestampMicrosecondArray::from(times.to_vec()))),
        (
            "a_timetz",
            DataType::TimestampTz,
            Arc::new(TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC")),
        ),
        ("a_uuid", DataType::Uuid, Arc::new(FixedSizeBinaryArray::try_from_iter(uuids.iter()).unwrap())),
    ]
}

fn table(kind: TargetKind) -> TargetTable {
    let columns = key_columns().into_iter().map(|(name, data_type, _)| column(name, data_type)).collect();
    let key = key_columns().into_iter().map(|(name, ..)| name.to_owned()).collect();
    let target = Target { table: "f".into(), kind, columns, key, as_of: Vec::new(), options: Options::new() };
    let spec = Spec {
        name: "test".into(),
        version: "1".into(),
        source: "shop.things".parse().unwrap(),
        columns: Vec::new(),
        lookups: Vec::new(),
        targets: vec![target.clone()],
        options: Options::new(),
    };
    TargetTable::new(&spec, &target, 1)
}

/// Rows of the key's values, then `added`, then the hidden columns of live rows.
fn rows(table: &TargetTable, added: Vec<ArrayRef>) -> RecordBatch {
    let schema = table.insert_schema();
    let mut columns: Vec<ArrayRef> = key_columns().into_iter().map(|(.., values)| values).collect();
    columns.extend(added);
    columns.push(Arc::new(UInt64Array::from(vec![1; 3])));
    columns.push(Arc::new(UInt8Array::from(vec![0; 3])));
    for hidden in schema.fields().iter().skip(columns.len()) {
        columns.push(new_null_array(hidden.data_type(), 3));
    }
    let sent = columns.iter().zip(schema.fields()).map(|(column, field)| as_sent(column, field.data_type()));
    RecordBatch::try_new(Arc::clone(&schema), sent.collect()).unwrap()
}

fn as_sent(column: &ArrayRef, data_type: &Arrow) -> ArrayRef {
    match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) => Arc::new(times.clone().with_timezone("UTC")),
        None => cast(column, data_type).unwrap(),
    }
}

#[test]
fn clickhouse_computes_the_same_version_keys() {
    let fixture = Fixture::start();
    let table = table(TargetKind::Scd2);
    for _ in 0..2 {
        fixture.ensure(&table).unwrap();
    }
    let valid_from = TimestampMicrosecondArray::from(vec![0, 1_700_000_000_000_001, -1]).with_timezone("UTC");
    let key: Vec<ArrayRef> = key_columns().into_iter().map(|(.., values)| values).collect();
    let keys = version_keys(&key, &valid_from).unwrap();
    let current: ArrayRef = Arc::new(BooleanArray::from(vec![true; 3]));
    let valid_to = new_null_array(table.insert_schema().field(key.len() + 2).data_type(), 3);
    let added = vec![Arc::new(keys) as ArrayRef, Arc::new(valid_from), valid_to, current];
    fixture.insert(&table, rows(&table, added), "a");

    let texts: Vec<String> = key_columns().iter().map(|(name, ..)| format!("toString({name})")).collect();
    let asked = format!(
        "SELECT countIf(version_key = xxh3(concatWithSeparator('\\0', {}, \
         toString(toUnixTimestamp64Micro(valid_from))))) AS same, count() AS all, countIf(is_current) AS current \
         FROM star.f",
        texts.join(", ")
    );
    assert_eq!(fixture.rows(&asked), [json!({"same": 3, "all": 3, "current": 3})]);
}

#[test]
fn changes_of_one_key_stand_beside_each_other() {
    let fixture = Fixture::start();
    let table = table(TargetKind::Append);
    for _ in 0..2 {
        fixture.ensure(&table).unwrap();
    }
    // The last is sent again, as after a crash.
    for (token, change) in [("a", 1), ("b", 2), ("c", 2)] {
        fixture.insert(&table, rows(&table, vec![Arc::new(UInt64Array::from(vec![change; 3]))]), token);
    }
    assert_eq!(fixture.count("star.f"), 6);
}
