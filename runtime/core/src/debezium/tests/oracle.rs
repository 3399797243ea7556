//! A naive decoder over `serde_json::Value`, and the decoder held against it.
//!
//! What was decoded is rendered back to JSON, column by column, and compared
//! with the message: so nothing of the decoder's own parsing is trusted.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Decimal128Type, Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, TimeUnit,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::capture::{Captured, VARIANTS, records, topics};
use crate::change::{CONNECT_NAME_KEY, ChangeBatch, Wire, meta};
use crate::debezium::{Headers, TopicDecoder};
use crate::position::Topic;

const PLACEHOLDER: &str = "__debezium_unavailable_value";

/// What a record says, read naively; `None` if it is no change event of a row.
struct Expected {
    op: String,
    row: Map<String, Value>,
    before: Option<Map<String, Value>>,
    ts_us: Value,
    lsn: Value,
    tx: Value,
    tx_order: Value,
    snapshot: Value,
}

fn expected(record: &Captured) -> Option<Expected> {
    let mut value: Value = serde_json::from_slice(record.value.as_ref()?).unwrap();
    if value.get("payload").is_some() {
        value = value["payload"].take();
    }
    let object = |value: &Value| value.as_object().cloned();
    let text = |value: &Value| match value {
        Value::Number(number) => json!(number.to_string()),
        other => other.clone(),
    };
    if let Some(op) = value.get("__op") {
        let row = value.as_object()?.iter().filter(|(name, _)| !name.starts_with("__"));
        return Some(Expected {
            op: op.as_str()?.to_owned(),
            row: row.map(|(name, value)| (name.clone(), value.clone())).collect(),
            before: None,
            ts_us: json!(value["__source_ts_ms"].as_i64()? * 1000),
            lsn: value["__lsn"].clone(),
            tx: value["__transaction_id"].clone(),
            tx_order: value["__transaction_total_order"].clone(),
            snapshot: Value::Null,
        });
    }
    let op = value.get("op")?.as_str()?.to_owned();
    let (row, before) = match op.as_str() {
        "m" => return None,
        "t" => (Map::new(), None),
        "d" => (object(&value["before"])?, None),
        _ => (object(&value["after"])?, object(&value["before"])),
    };
    let source = &value["source"];
    Some(Expected {
        op,
        row,
        before,
        ts_us: source["ts_us"].clone(),
        lsn: source["lsn"].clone(),
        tx: match &source["txId"] {
            Value::Null => value["transaction"]["id"].clone(),
            tx => text(tx),
        },
        tx_order: value["transaction"]["total_order"].clone(),
        snapshot: source["snapshot"].clone(),
    })
}

/// The value of a cell as the wire would send it.
fn render(field: &Field, column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) || *column.data_type() == DataType::Null {
        return Value::Null;
    }
    if Wire::of(field) == Some(Wire::Json) {
        return serde_json::from_str(column.as_string::<i32>().value(row)).unwrap();
    }
    let special = |float: f64| match float {
        float if float.is_nan() => json!("NaN"),
        f64::INFINITY => json!("Infinity"),
        f64::NEG_INFINITY => json!("-Infinity"),
        float => json!(float),
    };
    let name = field.metadata().get(CONNECT_NAME_KEY).map_or("", String::as_str);
    match column.data_type() {
        DataType::Boolean => json!(column.as_boolean().value(row)),
        DataType::Int16 => json!(column.as_primitive::<Int16Type>().value(row)),
        DataType::Float32 => special(f64::from(column.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => special(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => json!(column.as_string::<i32>().value(row)),
        DataType::Binary => json!(STANDARD.encode(column.as_binary::<i32>().value(row))),
        DataType::Decimal128(..) => json!(base64_of(column.as_primitive::<Decimal128Type>().value(row))),
        DataType::List(item) => {
            let items = column.as_list::<i32>().value(row);
            // what a list holds has the metadata of its column, if any
            let item = Field::clone(item).with_metadata(field.metadata().clone());
            (0..items.len()).map(|at| render(&item, items.as_ref(), at)).collect()
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) if name.ends_with("ZonedTimestamp") => {
            json!({ "instant": integer(column, row, &DataType::Int64) })
        }
        DataType::Int32 | DataType::Date32 | DataType::Time32(_) => integer(column, row, &DataType::Int32),
        _ => integer(column, row, &DataType::Int64),
    }
}

fn integer(column: &dyn Array, row: usize, storage: &DataType) -> Value {
    let column = arrow::compute::cast(&column.slice(row, 1), storage).unwrap();
    match storage {
        DataType::Int32 => json!(column.as_primitive::<Int32Type>().value(0)),
        _ => json!(column.as_primitive::<Int64Type>().value(0)),
    }
}

/// The shortest big-endian two's complement, as Java writes it.
fn base64_of(unscaled: i128) -> String {
    let bytes = unscaled.to_be_bytes();
    let redundant = |at: usize| {
        let sign = if unscaled < 0 { 0xFF } else { 0 };
        bytes[at] == sign && (bytes[at + 1] ^ sign) < 0x80
    };
    let from = (0..15).take_while(|at| redundant(*at)).count();
    STANDARD.encode(&bytes[from..])
}

/// The wire's value in the form that [`render`] gives for the column.
fn normalise(field: &Field, value: &Value) -> Value {
    let name = field.metadata().get(CONNECT_NAME_KEY).map_or("", String::as_str);
    match (field.data_type(), value) {
        (_, Value::Null) => Value::Null,
        (_, Value::String(text)) if text == PLACEHOLDER => Value::Null,
        (DataType::Float32, Value::Number(number)) => {
            #[expect(clippy::cast_possible_truncation, reason = "the wire sends what a float prints")]
            let float = number.as_f64().unwrap() as f32;
            json!(f64::from(float))
        }
        (DataType::Float64, Value::Number(number)) => json!(number.as_f64().unwrap()),
        (DataType::Timestamp(..), Value::String(text)) if name.ends_with("ZonedTimestamp") => {
            json!({ "instant": instant(text) })
        }
        (DataType::Utf8, Value::Object(decimal)) if name.ends_with("VariableScaleDecimal") => {
            json!(plain_decimal(decimal))
        }
        _ => value.clone(),
    }
}

/// By Arrow's own parser; `None` for the years that it does not know, which the
/// tests of `time` cover.
fn instant(text: &str) -> Option<i64> {
    match text {
        "infinity" => Some(i64::MAX),
        "-infinity" => Some(i64::MIN),
        _ => {
            let text: Arc<dyn Array> = Arc::new(arrow::array::StringArray::from(vec![text]));
            let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into()));
            let instant = arrow::compute::cast(&text, &utc).unwrap();
            let instant = instant.as_primitive::<arrow::datatypes::TimestampMicrosecondType>();
            instant.is_valid(0).then(|| instant.value(0))
        }
    }
}

/// Decimal text by arithmetic on digits in base 10, byte by byte.
fn plain_decimal(decimal: &Map<String, Value>) -> String {
    let bytes = STANDARD.decode(decimal["value"].as_str().unwrap()).unwrap();
    let scale = usize::try_from(decimal["scale"].as_i64().unwrap()).unwrap();
    let negative = bytes[0] >= 0x80;
    let mut digits: Vec<u32> = vec![0];
    for byte in &bytes {
        let mut carry = u32::from(if negative { !*byte } else { *byte });
        for digit in &mut digits {
            carry += *digit * 256;
            *digit = carry % 10;
            carry /= 10;
        }
        while carry > 0 {
            digits.push(carry % 10);
            carry /= 10;
        }
    }
    let mut carry = u32::from(negative);
    for digit in &mut digits {
        carry += *digit;
        *digit = carry % 10;
        carry /= 10;
    }
    digits.extend((carry > 0).then_some(carry));
    digits.resize(digits.len().max(scale + 1), 0);
    let mut text: String = digits.iter().rev().map(|digit| char::from_digit(*digit, 10).unwrap()).collect();
    if scale > 0 {
        text.insert(text.len() - scale, '.');
    }
    if negative { format!("-{text}") } else { text }
}

/// Equal, but for the last place of a float: `Value` does not always get it right.
fn same(ours: &Value, theirs: &Value) -> bool {
    match (ours, theirs) {
        (Value::Number(a), Value::Number(b)) if a.is_f64() && b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            a.to_bits().abs_diff(b.to_bits()) <= 1
        }
        (Value::Object(_), Value::Object(instant)) if instant.get("instant") == Some(&Value::Null) => true,
        _ => ours == theirs,
    }
}

fn check_image(batch: &ChangeBatch, columns: &[Arc<dyn Array>], row: usize, expected: &Map<String, Value>) {
    for (field, column) in batch.row_fields().iter().zip(columns) {
        let sent = expected.get(field.name()).unwrap_or(&Value::Null);
        let (ours, theirs) = (render(field, column.as_ref(), row), normalise(field, sent));
        let at = batch.offsets().value(row);
        assert!(same(&ours, &theirs), "{} at {at}: {} is {ours}, not {theirs}", batch.table(), field.name());
    }
    let names: BTreeSet<&String> = batch.row_fields().iter().map(|field| field.name()).collect();
    assert!(expected.keys().all(|name| names.contains(name)), "a column is missing");
}

fn check_row(batch: &ChangeBatch, row: usize, expected: &Expected) {
    check_image(batch, batch.row_columns(), row, &expected.row);
    let before = batch.before().filter(|before| before.is_valid(row));
    assert_eq!(before.is_some(), expected.before.is_some());
    if let (Some(before), Some(expected)) = (before, &expected.before) {
        check_image(batch, before.columns(), row, expected);
    }
    let op = batch.ops().nth(row).unwrap().letter();
    assert_eq!(op, expected.op);
    let number = |name: &str| match batch.meta(name) {
        column if column.is_null(row) => Value::Null,
        column => integer(column.as_ref(), row, &DataType::Int64),
    };
    assert_eq!(number(meta::TS), expected.ts_us);
    assert_eq!(number(meta::LSN), expected.lsn);
    assert_eq!(number(meta::TX_ORDER), expected.tx_order);
    let tx = batch.meta(meta::TX).as_string::<i32>();
    assert_eq!(if tx.is_valid(row) { json!(tx.value(row)) } else { Value::Null }, expected.tx);
    let snapshot = arrow::compute::cast(batch.meta(meta::SNAPSHOT), &DataType::Utf8).unwrap();
    let snapshot = snapshot.as_string::<i32>();
    assert_eq!(
        if snapshot.is_valid(row) { json!(snapshot.value(row)) } else { Value::Null },
        expected.snapshot
    );
}

fn check_keys(batch: &ChangeBatch, row: usize, record: &Captured) {
    let text = |name: &str| {
        let column = batch.meta(name).as_string::<i32>();
        column.is_valid(row).then(|| column.value(row).to_owned())
    };
    let header = |name: &str, wanted: bool| {
        let value = record.headers.last(name).filter(|_| wanted)?;
        Some(String::from_utf8(value.to_vec()).unwrap())
    };
    let op = batch.ops().nth(row).unwrap().letter();
    assert_eq!(text(meta::NEWKEY), header("__debezium.newkey", op == "d"));
    assert_eq!(text(meta::OLDKEY), header("__debezium.oldkey", op == "c"));
}

#[test]
fn every_captured_row_equals_the_naive_reading() {
    for variant in VARIANTS {
        for topic in topics(variant).iter().filter(|topic| topic.contains(".shop.")) {
            let records = records(variant, topic);
            let mut decoder = TopicDecoder::new(Topic::from(topic.as_str()));
            for record in &records {
                decoder.push(&record.record());
            }
            let mut rows = 0;
            let by_offset: std::collections::HashMap<_, _> =
                records.iter().map(|record| ((record.partition, record.offset), record)).collect();
            for batch in decoder.finish().batches {
                for row in 0..batch.num_rows() {
                    let record = by_offset[&(batch.partition(), batch.offsets().value(row))];
                    check_row(&batch, row, &expected(record).unwrap());
                    check_keys(&batch, row, record);
                    rows += 1;
                }
            }
            assert_eq!(rows, records.iter().filter(|record| expected(record).is_some()).count());
        }
    }
}

/// What streamed, whatever the variant: table, key, operation, position.
fn streamed(variant: &str) -> BTreeSet<String> {
    let mut events = BTreeSet::new();
    for table in ["customers", "orders", "order_items", "products"] {
        for record in records(variant, &format!("cdc_{variant}.shop.{table}")) {
            let Some(expected) = expected(&record).filter(|expected| expected.op != "r") else { continue };
            let tx =
                expected.tx.as_str().unwrap_or_default().split(':').next().unwrap_or_default().to_owned();
            events.insert(format!("{table} {} {} {tx} {}", expected.op, expected.lsn, expected.tx_order));
        }
    }
    events
}

/// The same from what was decoded.
fn decoded(variant: &str) -> BTreeSet<String> {
    let mut events = BTreeSet::new();
    for table in ["customers", "orders", "order_items", "products"] {
        for batch in super::capture::decode_topic(variant, &format!("cdc_{variant}.shop.{table}")).batches {
            let (lsns, txs) = (batch.lsns(), batch.meta(meta::TX).as_string::<i32>());
            let orders = batch.meta(meta::TX_ORDER).as_primitive::<Int64Type>();
            for (row, op) in batch.ops().enumerate().filter(|(_, op)| op.letter() != "r") {
                let tx = txs.value(row).split(':').next().unwrap_or_default();
                events.insert(format!(
                    "{table} {} {} {tx} {}",
                    op.letter(),
                    lsns.value(row),
                    orders.value(row)
                ));
            }
        }
    }
    events
}

#[test]
fn all_variants_stream_the_same_events() {
    let reference = streamed("schema");
    for variant in VARIANTS {
        assert_eq!(decoded(variant), reference, "{variant}");
    }
}
