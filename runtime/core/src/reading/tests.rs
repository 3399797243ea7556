//! Every conversion by table; `properties` has the promises that hold for all.

mod properties;

use std::sync::Arc;

use arrow::array::{
    AsArray, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Decimal256Array, DictionaryArray,
    Float32Array, Float64Array, Int8Array, Int16Array, Int32Array, Int64Array, ListArray, NullArray,
    RecordBatch, StringArray, StructArray, Time32MillisecondArray, Time64MicrosecondArray,
    Time64NanosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    make_array,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType as Arrow, Date32Type, Decimal128Type, DurationMicrosecondType, Fields, Int8Type, Int32Type,
    TimeUnit, TimestampMicrosecondType, i256,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;
use crate::change::{Wire, change_schema, meta, row_field};
use DataType as D;

const DECIMAL: fn(u8, u8) -> D = |precision, scale| D::Decimal { precision, scale };

/// A batch of inserts whose only row column is `c`.
#[expect(clippy::needless_pass_by_value, reason = "tests build the array in place")]
fn batch(array: ArrayRef, wire: Wire, name: Option<&str>) -> ChangeBatch {
    let rows = array.len();
    events(&array, wire, name, &vec![Op::Create; rows], &vec![false; rows], None)
}

fn events(
    array: &ArrayRef,
    wire: Wire,
    name: Option<&str>,
    ops: &[Op],
    unavailable: &[bool],
    before: Option<&[bool]>,
) -> ChangeBatch {
    let rows = array.len();
    let row: Fields = vec![row_field("c", array.data_type().clone(), wire, name)].into();
    let schema = change_schema(&SourceTable::new("shop", "t"), &[], &row, before.is_some());
    let code = |value: &str| -> ArrayRef {
        let codes = Int8Array::from(vec![0; rows]);
        Arc::new(DictionaryArray::new(codes, Arc::new(StringArray::from(vec![value]))))
    };
    let letters: ArrayRef = Arc::new(ops.iter().map(|op| op.letter()).collect::<DictionaryArray<Int8Type>>());
    let mut lists = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    for missing in unavailable {
        if *missing {
            lists.values().append_value("c");
        }
        lists.append(*missing);
    }
    let columns = schema.fields().iter().map(|field| match field.name().as_str() {
        "c" => array.clone(),
        meta::BEFORE => {
            let nulls = before.map(|before| NullBuffer::from(before.to_vec()));
            Arc::new(StructArray::new(row.clone(), vec![array.clone()], nulls))
        }
        meta::OP => letters.clone(),
        meta::TOPIC => code("shop.t"),
        meta::PARTITION => Arc::new(Int32Array::from(vec![0; rows])),
        meta::OFFSET => Arc::new((0..i64::try_from(rows).unwrap()).collect::<Int64Array>()),
        meta::UNAVAILABLE => Arc::new(lists.finish()),
        _ => new_null_array(field.data_type(), rows),
    });
    let columns: Vec<ArrayRef> = columns.collect();
    ChangeBatch::try_new(RecordBatch::try_new(schema, columns).unwrap()).unwrap()
}

fn column(data_type: D) -> InputColumn {
    InputColumn { name: "c".into(), data_type, nullable: true, read: true, options: Default::default() }
}

fn with_option(data_type: D, key: &str, value: &str) -> InputColumn {
    let options = [(key.to_owned(), value.to_owned())].into();
    InputColumn { options, ..column(data_type) }
}

fn read(batch: &ChangeBatch, column: &InputColumn, rows: &BooleanBuffer) -> Result<Reading, ReadError> {
    read_column(batch, 0, column, rows)
}

fn all(rows: usize) -> BooleanBuffer {
    BooleanBuffer::new_set(rows)
}

fn shown_values(reading: &Reading) -> Vec<String> {
    let options = FormatOptions::default().with_null("null");
    let values = ArrayFormatter::try_new(&reading.array, &options).unwrap();
    let code = |row| reading.faults.iter().find(|f| f.row == row).map(|f| format!("!{}", f.code));
    (0..reading.array.len()).map(|row| code(row).unwrap_or_else(|| values.value(row).to_string())).collect()
}

/// Reads `array` as declared and compares with the printed values; a fault is
/// `!` and its code.
#[track_caller]
fn check(array: impl Array + 'static, wire: Wire, name: Option<&str>, as_: &InputColumn, expected: &[&str]) {
    let batch = batch(Arc::new(array), wire, name);
    let reading = read(&batch, as_, &all(batch.num_rows())).unwrap();
    assert_eq!(*reading.array.data_type(), as_.data_type.arrow());
    assert_eq!(shown_values(&reading), expected, "{:?}", reading.faults);
}

#[track_caller]
fn check_text(texts: &[&str], as_: &InputColumn, expected: &[&str]) {
    check(StringArray::from(texts.to_vec()), Wire::Untyped, None, as_, expected);
}

#[track_caller]
fn check_json(texts: &[&str], as_: D, expected: &[&str]) {
    check(StringArray::from(texts.to_vec()), Wire::Json, None, &column(as_), expected);
}

#[track_caller]
fn check_integers(values: &[i64], as_: &InputColumn, expected: &[&str]) {
    check(Int64Array::from(values.to_vec()), Wire::Untyped, None, as_, expected);
}

#[track_caller]
fn check_refused(array: impl Array + 'static, wire: Wire, name: Option<&str>, as_: D, message: &str) {
    let batch = batch(Arc::new(array), wire, name);
    let error = read(&batch, &column(as_), &all(batch.num_rows())).unwrap_err();
    assert_eq!(error.to_string(), message);
}

#[test]
fn integers_are_exact_or_a_fault() {
    check_integers(&[0, -32768, 32767, 32768], &column(D::Int16), &["0", "-32768", "32767", "!out-of-range"]);
    check_integers(&[i64::MAX, -1], &column(D::Uint64), &["9223372036854775807", "!out-of-range"]);
    check_integers(&[1 << 53, (1 << 53) + 1], &column(D::Float64), &["9007199254740992.0", "!inexact"]);
    check_integers(&[12, 1000], &column(DECIMAL(4, 2)), &["12.00", "!out-of-range"]);
    check_integers(&[0, 1, 2], &column(D::Boolean), &["false", "true", "!unreadable"]);
    check(Int16Array::from(vec![Some(7), None]), Wire::Typed, None, &column(D::Int64), &["7", "null"]);
    check(NullArray::new(2), Wire::Untyped, None, &column(D::Int32), &["null", "null"]);
    let decimals = Decimal128Array::from(vec![4200, 4250]).with_precision_and_scale(10, 2).unwrap();
    check(decimals, Wire::Typed, None, &column(D::Int32), &["42", "!inexact"]);
    check_text(&["AQ==", "42", "1.5"], &column(D::Int64), &["1", "42", "!inexact"]);
}

#[test]
fn floats_take_the_nearest_value_of_digits_only() {
    check_json(
        &["0.1", "-0.0", "\"NaN\"", "\"-Infinity\"", "1e400", "5", "null"],
        D::Float64,
        &["0.1", "-0.0", "NaN", "-inf", "!out-of-range", "5.0", "null"],
    );
    check_json(&["3.4028235e+38", "1.4e-45"], D::Float32, &["3.4028235e38", "1e-45"]);
    check(Float64Array::from(vec![0.5, 0.1]), Wire::Typed, None, &column(D::Float32), &["0.5", "!inexact"]);
    check(Float32Array::from(vec![1.5]), Wire::Typed, None, &column(D::Float64), &["1.5"]);
    check_text(&["NaN", "12.5", "x"], &column(D::Float64), &["NaN", "12.5", "!unreadable"]);
}

#[test]
fn decimals_are_told_apart_from_base64() {
    let text = column(DECIMAL(12, 2));
    check_text(
        &["SZYC0g==", "/av0HAE=", "AA==", "12.30", "-0.01", "1234", "1e+2", "NAN", "Infinity", ""],
        &text,
        &[
            "12345678.90",
            "-99999999.99",
            "0.00",
            "12.30",
            "-0.01",
            "!ambiguous",
            "!ambiguous",
            "!unreadable",
            "!ambiguous",
            "!unreadable",
        ],
    );
    let number = with_option(DECIMAL(12, 2), "decimal", "string");
    check_text(&["1234", "AQ=="], &number, &["1234.00", "!unreadable"]);
    let base64 = with_option(DECIMAL(12, 2), "decimal", "base64");
    check_text(&["1234", "12.30"], &base64, &["-26588.24", "!unreadable"]);
    // a wire that gives the type does not send numbers in base64
    check(StringArray::from(vec!["1234"]), Wire::Typed, None, &column(DECIMAL(38, 2)), &["1234.00"]);
}

#[test]
fn decimals_are_rescaled_exactly() {
    let wire = |values: Vec<i128>| Decimal128Array::from(values).with_precision_and_scale(38, 4).unwrap();
    check(
        wire(vec![123_400, 123_450, 99_999_900]),
        Wire::Typed,
        None,
        &column(DECIMAL(5, 2)),
        &["12.34", "!inexact", "!out-of-range"],
    );
    check(
        wire(vec![-1]),
        Wire::Typed,
        None,
        &column(DECIMAL(38, 30)),
        &["-0.000100000000000000000000000000"],
    );
    let wide = Decimal256Array::from(vec![i256::from_string(&format!("7{}", "0".repeat(45))).unwrap()])
        .with_precision_and_scale(60, 40)
        .unwrap();
    check(wide, Wire::Typed, None, &column(DECIMAL(10, 1)), &["700000.0"]);
    check_json(
        &[
            r#"{"scale": 4, "value": "ALxhTg=="}"#,
            r#"{"scale": 51, "value": "/w=="}"#,
            "12",
            "12.5",
            r#"{"scale": 1}"#,
        ],
        DECIMAL(38, 4),
        &["1234.5678", "!inexact", "12.0000", "!inexact", "!unreadable"],
    );
    check_text(
        &["99999999999999999999999999999999999999", "100000000000000000000000000000000000000", "1.50000e1"],
        &with_option(DECIMAL(38, 0), "decimal", "string"),
        &["99999999999999999999999999999999999999", "!out-of-range", "15"],
    );
}

#[test]
fn dates_know_the_placeholders_of_infinity() {
    let expected = ["2024-02-29", "!out-of-range", "!out-of-range"];
    check_integers(&[19782, -2_147_472_693, i64::MAX], &column(D::Date), &expected);
    let wire = Date32Array::from(vec![-2_147_472_692, -622_191_234, -2_147_472_691, -625_821_272, 0]);
    let batch = batch(Arc::new(wire), Wire::Typed, Some("io.debezium.time.Date"));
    let reading = read(&batch, &column(D::Date), &all(5)).unwrap();
    let days = reading.array.as_primitive::<Date32Type>().values();
    assert_eq!(days, &[i32::MAX, i32::MAX, i32::MIN, i32::MIN, 0]);
    let text = read(&batch, &column(D::Text), &all(5)).unwrap();
    assert_eq!(shown_values(&text), ["infinity", "infinity", "-infinity", "-infinity", "1970-01-01"]);
    check_text(
        &["2024-02-29Z", "2023-02-29", "1582-10-10Z", "2024-02-29T00:00:00Z"],
        &column(D::Date),
        &["2024-02-29", "!unreadable", "1582-10-10", "!unreadable"],
    );
    let far =
        StringArray::from(vec!["-0043-03-15Z", "+5874897-12-31Z", "+292278994-08-16Z", "-5877611-06-22Z"]);
    let reading = read(&self::batch(Arc::new(far), Wire::Untyped, None), &column(D::Date), &all(4));
    let days = reading.unwrap().array.as_primitive::<Date32Type>().values().to_vec();
    assert_eq!(days, [-735_160, 2_145_042_905, i32::MAX, i32::MIN]);
}

#[test]
fn times_are_micros_whatever_the_wire_counts() {
    check_integers(
        &[47_655_123_456, 86_400_000_000, -1],
        &column(D::Time),
        &[
            "13:14:15.123456",
            "ERROR: Cast error: Failed to convert 86400000000 to temporal for Time64(µs)",
            "!out-of-range",
        ],
    );
    check_integers(&[86_399_000], &with_option(D::Time, "unit", "ms"), &["23:59:59"]);
    check(Time32MillisecondArray::from(vec![1500]), Wire::Typed, None, &column(D::Time), &["00:00:01.500"]);
    check(Time64MicrosecondArray::from(vec![1]), Wire::Typed, None, &column(D::Time), &["00:00:00.000001"]);
    check(
        Time64NanosecondArray::from(vec![1000, 1001]),
        Wire::Typed,
        None,
        &column(D::Time),
        &["00:00:00.000001", "!inexact"],
    );
    check_text(
        &["13:14:15.123456Z", "10:44:15.5Z", "23:00:00-02:00", "25:00:00Z", "10:44"],
        &column(D::Time),
        &["13:14:15.123456", "10:44:15.500", "01:00:00", "!unreadable", "10:44:00"],
    );
    check(
        Time64MicrosecondArray::from(vec![86_400_000_000]),
        Wire::Typed,
        None,
        &column(D::Text),
        &["24:00:00"],
    );
}

fn micros(array: ArrayRef, wire: Wire, as_: &InputColumn) -> Vec<Option<i64>> {
    let batch = batch(array, wire, None);
    let reading = read(&batch, as_, &all(batch.num_rows())).unwrap();
    assert_eq!(reading.faults.len(), reading.array.null_count());
    reading.array.as_primitive::<TimestampMicrosecondType>().iter().collect()
}

#[test]
fn timestamps_are_micros_whatever_the_wire_counts() {
    let (infinity, minus_infinity) = (Some(i64::MAX), Some(i64::MIN));
    // as the fixtures have them: 9224318015999999 ms is beyond 64 bits of µs
    let ms = vec![-1, 9_223_372_036_825_200, -9_223_372_036_832_400, 9_224_318_015_999_999];
    let expected = [Some(-1000), infinity, minus_infinity, None];
    let typed = Arc::new(TimestampMillisecondArray::from(ms.clone()));
    assert_eq!(micros(typed, Wire::Typed, &column(D::Timestamp)), expected);
    let untyped = Arc::new(Int64Array::from(ms));
    assert_eq!(micros(untyped, Wire::Untyped, &with_option(D::TimestampTz, "unit", "ms")), expected);
    // wrapped around in the connector
    let us = vec![1, 9_223_372_036_825_200_000, -9_223_372_036_832_400_000, -9_223_372_036_853_775_810];
    let typed = Arc::new(TimestampMicrosecondArray::from(us));
    assert_eq!(micros(typed, Wire::Typed, &column(D::Timestamp)), [Some(1), infinity, minus_infinity, None]);
    let ns = Arc::new(TimestampNanosecondArray::from(vec![1_000, 1_001]));
    assert_eq!(micros(ns, Wire::Typed, &column(D::Timestamp)), [Some(1), None]);
    let zoned = Arc::new(TimestampMicrosecondArray::from(vec![i64::MAX, 5, i64::MIN]).with_timezone("UTC"));
    assert_eq!(micros(zoned, Wire::Typed, &column(D::TimestampTz)), [infinity, Some(5), minus_infinity]);
    let texts = [
        "1970-01-01T00:00:01Z",
        "1970-01-01 00:00:00.000001+00",
        "1970-01-01T02:30:00+02:30",
        "infinity",
        "-infinity",
        "-0043-03-15T12:00:00.000000Z",
        "1970-01-01T00:00:00",
        "+294247-01-10T04:00:25.2Z",
    ];
    let texts = Arc::new(StringArray::from(texts.to_vec()));
    assert_eq!(
        micros(texts, Wire::Untyped, &column(D::TimestampTz)),
        [
            Some(1_000_000),
            Some(1),
            Some(0),
            infinity,
            minus_infinity,
            Some(-63_517_780_800_000_000),
            None,
            infinity,
        ]
    );
    check_text(
        &["2024-01-01T00:00:00.123Z", "2024-01-01T00:00:00", "2024-01-01T00:00:00+01:00"],
        &column(D::Timestamp),
        &["2024-01-01T00:00:00.123", "2024-01-01T00:00:00", "!unreadable"],
    );
}

#[test]
fn intervals_are_micros_with_months_of_30_4375_days() {
    let durations = |texts: &[&str]| {
        let batch = batch(Arc::new(StringArray::from(texts.to_vec())), Wire::Untyped, None);
        let reading = read(&batch, &column(D::Interval), &all(texts.len())).unwrap();
        reading.array.as_primitive::<DurationMicrosecondType>().iter().collect::<Vec<_>>()
    };
    // both as the fixtures have them in numeric form
    assert_eq!(durations(&["P1Y2M3DT4H5M6.789012S"]), [Some(37_091_106_789_012)]);
    assert_eq!(durations(&["P0Y-1M2DT-3H-4M-5.000006S"]), [Some(-2_468_045_000_006)]);
    assert_eq!(durations(&["P178000000Y0M0DT0H0M0S", "P", "PT1D", "1 day"]), [None; 4]);
    let batch = batch(
        Arc::new(Int64Array::from(vec![1, i64::MAX])),
        Wire::Typed,
        Some("io.debezium.time.MicroDuration"),
    );
    let reading = read(&batch, &column(D::Interval), &all(2)).unwrap();
    assert_eq!(reading.faults.iter().map(|f| (f.row, f.code)).collect::<Vec<_>>(), [(1, "out-of-range")]);
}

#[test]
fn text_of_anything() {
    let text = column(D::Text);
    check_integers(&[-7], &text, &["-7"]);
    check_text(&["", "null", "日本"], &text, &["", "null", "日本"]);
    check(BooleanArray::from(vec![true, false]), Wire::Typed, None, &text, &["true", "false"]);
    check(
        Float64Array::from(vec![0.1, 1e300, f64::NAN, f64::NEG_INFINITY, -0.0]),
        Wire::Typed,
        None,
        &text,
        &["0.1", "1e+300", "NaN", "-Infinity", "-0.0"],
    );
    check(Float32Array::from(vec![0.1]), Wire::Typed, None, &text, &["0.1"]);
    let decimals = Decimal128Array::from(vec![-1, 0, 1250]).with_precision_and_scale(6, 3).unwrap();
    check(decimals, Wire::Typed, None, &text, &["-0.001", "0.000", "1.250"]);
    check(BinaryArray::from(vec![&[0u8, 1, 254][..]]), Wire::Typed, None, &text, &["AAH+"]);
    let zoned =
        TimestampMicrosecondArray::from(vec![i64::MAX, 1_738_405_815_633_963, 0]).with_timezone("UTC");
    let expected = ["infinity", "2025-02-01T10:30:15.633963Z", "1970-01-01T00:00:00Z"];
    check(zoned, Wire::Typed, None, &text, &expected);
    let ancient = TimestampMillisecondArray::from(vec![-63_517_780_800_000]);
    check(ancient, Wire::Typed, None, &text, &["-0043-03-15T12:00:00"]);
    let big = r#"{"scale": 40, "value": "EkmtJZTDfOsLJ4TEzgvzis5AjiEafKqyQwioLo8P//////////8="}"#;
    check_json(
        &["\"a\\nb\"", "1.0", "true", r#"{"x": [1]}"#, r#"{"scale": -2, "value": "/w=="}"#, r#""\ud800""#],
        D::Text,
        &["a\nb", "1.0", "true", r#"{"x": [1]}"#, "-100", "!unreadable"],
    );
    let reading = read(&batch(Arc::new(StringArray::from(vec![big])), Wire::Json, None), &text, &all(1));
    assert!(shown_values(&reading.unwrap())[0].contains('.'));
}

#[test]
fn json_is_checked_unless_the_wire_says_so() {
    let json = column(D::Json);
    check_text(
        &[r#"{"a": 1, "a": 1e400}"#, "null", "hello"],
        &json,
        &[r#"{"a": 1, "a": 1e400}"#, "null", "!unreadable"],
    );
    check(StringArray::from(vec!["{}"]), Wire::Typed, Some("io.debezium.data.Json"), &json, &["{}"]);
    check_json(&[r#"{"x":1}"#, "1.0", r#""{\"a\":1}""#], D::Json, &[r#"{"x":1}"#, "1.0", r#"{"a":1}"#]);
    check(Float64Array::from(vec![1.5, f64::NAN]), Wire::Typed, None, &json, &["1.5", "\"NaN\""]);
    check(Date32Array::from(vec![0]), Wire::Typed, None, &json, &["\"1970-01-01\""]);
}

#[test]
fn bytes_and_uuids() {
    check_text(&["AAH+/w==", "", "a"], &column(D::Bytes), &["0001feff", "", "!unreadable"]);
    check_text(
        &["0001feff", "0", "0g"],
        &with_option(D::Bytes, "bytes", "hex"),
        &["0001feff", "!unreadable", "!unreadable"],
    );
    check(BinaryArray::from(vec![&[7u8][..]]), Wire::Typed, None, &column(D::Bytes), &["07"]);
    check_text(
        &["123e4567-e89b-12d3-a456-426614174000", "123E4567E89B12D3A456426614174000", "123e4567-e89b", "é"],
        &column(D::Uuid),
        &[
            "123e4567e89b12d3a456426614174000",
            "123e4567e89b12d3a456426614174000",
            "!unreadable",
            "!unreadable",
        ],
    );
}

#[test]
fn lists_from_arrays_of_either_kind() {
    let list = |item| D::List(Box::new(item));
    check_json(
        &["[1, null, 3]", "[]", "null", "[1, \"x\"]", "{}"],
        list(D::Int32),
        &["[1, null, 3]", "[]", "null", "!unreadable", "!unreadable"],
    );
    check_json(
        &[r#"["AJY=", "/x8="]"#, r#"[null, "1.10"]"#],
        list(DECIMAL(10, 2)),
        &["[1.50, -2.25]", "[null, 1.10]"],
    );
    check_json(&[r#"["a,b", "", null, "NULL"]"#], list(D::Text), &["[a,b, , null, NULL]"]);
    let typed = ListArray::from_iter_primitive::<Int32Type, _, _>([
        Some(vec![Some(1), Some(70_000)]),
        None,
        Some(vec![]),
        Some(vec![None, Some(3)]),
    ]);
    check(
        typed.clone(),
        Wire::Typed,
        None,
        &column(list(D::Int16)),
        &["!out-of-range", "null", "[]", "[null, 3]"],
    );
    check(typed.slice(2, 2), Wire::Typed, None, &column(list(D::Int64)), &["[]", "[null, 3]"]);
}

#[test]
fn a_contradiction_is_refused_with_the_remedy() {
    check_refused(
        Float64Array::from(vec![1.5]),
        Wire::Typed,
        None,
        DECIMAL(12, 2),
        "column c of table shop.t is sent as Float64, which cannot be read as decimal(12,2); set \
         decimal.handling.mode=precise in the connector, or declare it as float64",
    );
    check_refused(
        TimestampMillisecondArray::from(vec![0]),
        Wire::Typed,
        Some("io.debezium.time.Timestamp"),
        D::TimestampTz,
        "column c of table shop.t is sent as io.debezium.time.Timestamp (Timestamp(ms)), which cannot be read \
         as timestamptz; declare it as timestamp or text",
    );
    let absent = InputColumn { name: "d".into(), nullable: false, ..column(D::Int64) };
    let batch = batch(Arc::new(Int64Array::from(vec![1])), Wire::Untyped, None);
    assert_eq!(
        read(&batch, &absent, &all(1)).unwrap_err().to_string(),
        "table shop.t has no column d at shop.t[0]@0; it has c. If it was added or dropped since, declare it \
         as nullable"
    );
    let optional = InputColumn { nullable: true, ..absent };
    assert_eq!(shown_values(&read(&batch, &optional, &all(1)).unwrap()), ["null"]);
}

#[test]
fn missing_values_are_faults_of_the_rows_asked_for() {
    let array: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, None, None]));
    let ops = [Op::Create, Op::Update, Op::Update, Op::Delete];
    let batch = events(&array, Wire::Untyped, None, &ops, &[false, true, false, false], None);
    let required = InputColumn { nullable: false, ..column(D::Int64) };
    let reading = read(&batch, &required, &all(4)).unwrap();
    assert_eq!(shown_values(&reading), ["1", "!unavailable", "!null-in-required", "!null-in-required"]);
    let asked: BooleanBuffer = [true, false, true, false].into_iter().collect();
    let faults = read(&batch, &required, &asked).unwrap().faults;
    assert_eq!(faults.iter().map(|fault| fault.row).collect::<Vec<_>>(), [2]);
    assert_eq!(faults[0].message, "column c as int64: null; declare the column as nullable");
}

#[test]
fn pseudo_columns() {
    let array: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let ops = [Op::Create, Op::Update];
    let batch = events(&array, Wire::Untyped, None, &ops, &[false; 2], Some(&[false, true]));
    let pseudo = |name: &str, data_type| InputColumn { name: name.into(), ..column(data_type) };
    let values = |column| shown_values(&read(&batch, &column, &all(2)).unwrap());
    assert_eq!(values(pseudo("_op", D::Text)), ["c", "u"]);
    assert_eq!(values(pseudo("_before.c", D::Int16)), ["null", "2"]);
    assert_eq!(values(pseudo("_lsn", D::Int64)), ["null", "null"]);
    assert_eq!(read(&batch, &pseudo("_ts", D::TimestampTz), &all(2)).unwrap().array.null_count(), 2);
}

#[test]
fn what_is_as_declared_is_not_copied() {
    let array: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let batch = batch(array.clone(), Wire::Untyped, None);
    let reading = read(&batch, &column(D::Text), &all(2)).unwrap();
    assert!(Arc::ptr_eq(&reading.array, &array));
}
