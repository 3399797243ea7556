//! Every type goes in and is there exactly, its extremes, nulls and all.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float32Array,
    Float64Array, Int16Array, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, UInt8Array, UInt64Array, new_null_array,
};
use arrow::datatypes::Schema;
use dabi_core::data_type::DataType;
use dabi_core::spec::{Options, TargetColumn};
use serde_json::{Value, json};

use super::{Fixture, column, table};

/// A column, the two rows that go in, and the text of each in ClickHouse.
struct Case {
    column: TargetColumn,
    values: ArrayRef,
    expected: [&'static str; 2],
}

fn case(
    name: &str,
    data_type: DataType,
    values: impl arrow::array::Array + 'static,
    expected: [&'static str; 2],
) -> Case {
    Case { column: column(name, data_type), values: Arc::new(values), expected }
}

fn with(mut case: Case, option: &str, value: &str) -> Case {
    case.column.options.insert(option.into(), value.into());
    case
}

fn decimals(values: [i128; 2], precision: u8, scale: i8) -> Decimal128Array {
    Decimal128Array::from(values.to_vec()).with_precision_and_scale(precision, scale).unwrap()
}

fn cases() -> Vec<Case> {
    let max38 = 10_i128.pow(38) - 1;
    let mut lists = ListBuilder::new(StringBuilder::new());
    lists.append_value([Some("a\n\nb"), None, Some("")]);
    lists.append_value([None::<&str>; 0]);
    let uuids = [[0_u8; 16], *b"\x01\x23\x45\x67\x89\xab\xcd\xef\xfe\xdc\xba\x98\x76\x54\x32\x10"];
    let uuids = FixedSizeBinaryArray::try_from_iter(uuids.iter()).unwrap();
    let times = |values: [i64; 2]| TimestampMicrosecondArray::from(values.to_vec()).with_timezone("UTC");
    // 1900-01-01T00:00:00 and 2299-12-31T23:59:59.999999
    let ends = [-2_208_988_800_000_000, 10_413_791_999_999_999];
    let first_to_last = ["1900-01-01 00:00:00.000000", "2299-12-31 23:59:59.999999"];
    let (t, f) = ("true", "false");
    vec![
        case("a_bool", DataType::Boolean, BooleanArray::from(vec![true, false]), [t, f]),
        case("a_int16", DataType::Int16, Int16Array::from(vec![i16::MIN, i16::MAX]), ["-32768", "32767"]),
        case(
            "a_int32",
            DataType::Int32,
            Int32Array::from(vec![i32::MIN, i32::MAX]),
            ["-2147483648", "2147483647"],
        ),
        case(
            "a_int64",
            DataType::Int64,
            Int64Array::from(vec![i64::MIN, i64::MAX]),
            ["-9223372036854775808", "9223372036854775807"],
        ),
        case(
            "a_uint64",
            DataType::Uint64,
            UInt64Array::from(vec![0, u64::MAX]),
            ["0", "18446744073709551615"],
        ),
        case("a_float32", DataType::Float32, Float32Array::from(vec![-0.5, f32::NAN]), ["-0.5", "nan"]),
        case(
            "a_float64",
            DataType::Float64,
            Float64Array::from(vec![0.1, f64::NEG_INFINITY]),
            ["0.1", "-inf"],
        ),
        case(
            "a_decimal9",
            DataType::Decimal { precision: 9, scale: 2 },
            decimals([-999_999_999, 5], 9, 2),
            ["-9999999.99", "0.05"],
        ),
        case(
            "a_decimal38",
            DataType::Decimal { precision: 38, scale: 10 },
            decimals([max38, -max38], 38, 10),
            ["9999999999999999999999999999.9999999999", "-9999999999999999999999999999.9999999999"],
        ),
        case("a_text", DataType::Text, StringArray::from(vec!["é\n\n'\"\\\t\0", ""]), ["é\n\n'\"\\\t\0", ""]),
        case(
            "a_bytes",
            DataType::Bytes,
            BinaryArray::from(vec![&b"\n\n\x00\x7f"[..], b""]),
            ["\n\n\0\x7f", ""],
        ),
        case(
            "a_json",
            DataType::Json,
            StringArray::from(vec!["{\"a\":[1,null]}", "1"]),
            ["{\"a\":[1,null]}", "1"],
        ),
        case(
            "a_date",
            DataType::Date,
            Date32Array::from(vec![-25_567, 120_529]),
            ["1900-01-01", "2299-12-31"],
        ),
        case("a_time", DataType::Time, Int64Array::from(vec![0, 86_400_000_000]), ["0", "86400000000"]),
        case("a_timestamp", DataType::Timestamp, times(ends), first_to_last),
        case("a_timestamptz", DataType::TimestampTz, times(ends), first_to_last),
        case(
            "a_uuid",
            DataType::Uuid,
            uuids,
            ["00000000-0000-0000-0000-000000000000", "01234567-89ab-cdef-fedc-ba9876543210"],
        ),
        case(
            "a_interval",
            DataType::Interval,
            Int64Array::from(vec![-1, i64::MAX]),
            ["-1", "9223372036854775807"],
        ),
        case(
            "a_list",
            DataType::List(Box::new(DataType::Text)),
            lists.finish(),
            ["['a\\n\\nb',NULL,'']", "[]"],
        ),
        with(
            case("a_word", DataType::Text, StringArray::from(vec!["x", "y"]), ["x", "y"]),
            "low-cardinality",
            "true",
        ),
        with(case("a_tier", DataType::Text, StringArray::from(vec!["b", "a'"]), ["b", "a'"]), "enum", "a',b"),
    ]
}

/// The rows to insert: id, the columns, the hidden columns.
fn rows(schema: Arc<Schema>, columns: Vec<ArrayRef>) -> RecordBatch {
    let mut all: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![1, 2]))];
    all.extend(columns);
    all.push(Arc::new(UInt64Array::from(vec![1, 1])));
    all.push(Arc::new(UInt8Array::from(vec![0, 0])));
    for hidden in schema.fields().iter().skip(all.len()) {
        all.push(new_null_array(hidden.data_type(), 2));
    }
    RecordBatch::try_new(schema, all).unwrap()
}

#[test]
fn every_type_is_stored_exactly() {
    let fixture = Fixture::start();
    let cases = cases();
    let mut columns = vec![column("id", DataType::Int64)];
    columns.extend(cases.iter().map(|case| case.column.clone()));
    let table = table(columns, Options::new());
    fixture.ensure(&table).unwrap();
    let values = cases.iter().map(|case| Arc::clone(&case.values)).collect();
    fixture.insert(&table, rows(table.insert_schema(), values), "a");
    for case in &cases {
        let name = &case.column.name;
        let found = fixture.rows(&format!("SELECT toString({name}) AS x FROM star.f ORDER BY id"));
        assert_eq!(found, case.expected.map(|text| json!({ "x": text })), "{name}");
    }
}

#[test]
fn every_type_but_lists_can_be_null() {
    let fixture = Fixture::start();
    let mut cases = cases();
    cases.retain(|case| !matches!(case.column.data_type, DataType::List(_)));
    let mut columns = vec![column("id", DataType::Int64)];
    columns.extend(cases.iter().map(|case| TargetColumn { nullable: true, ..case.column.clone() }));
    let table = table(columns, Options::new());
    fixture.ensure(&table).unwrap();
    let nulls = cases.iter().map(|case| new_null_array(case.values.data_type(), 2)).collect();
    fixture.insert(&table, rows(table.insert_schema(), nulls), "a");
    let found = fixture.rows("SELECT * EXCEPT id FROM star.f");
    let all_null = |row: &Value| row.as_object().unwrap().values().all(Value::is_null);
    assert!(found.len() == 2 && found.iter().all(all_null), "{found:?}");
}

#[test]
fn a_null_or_a_date_that_does_not_fit_is_refused_and_not_coerced() {
    let fixture = Fixture::start();
    let table = table(vec![column("id", DataType::Int64), column("day", DataType::Date)], Options::new());
    fixture.ensure(&table).unwrap();
    let schema = table.insert_schema();
    let nullable: Vec<_> =
        schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let nullable = Arc::new(Schema::new(nullable));
    let bad: [ArrayRef; 2] =
        [Arc::new(Date32Array::from(vec![Some(1), None])), Arc::new(Date32Array::from(vec![1, 200_000]))];
    for (token, days) in ["null", "late"].into_iter().zip(bad) {
        let rows = rows(Arc::clone(&nullable), vec![days]);
        let error = fixture.try_insert("f__g1", rows, token, &fixture.never).unwrap_err();
        assert!(error.to_string().contains("store rows in f__g1"), "{error}");
    }
    assert_eq!(fixture.count("star.f"), 0);
}
