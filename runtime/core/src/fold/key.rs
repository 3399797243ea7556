//! The identity of a row: its key values as bytes.
//!
//! Owns when two key values are the same although the wire carried them
//! differently: an `integer` that became a `bigint`, a `numeric` of another
//! scale, a column sent first with a schema and then without.
//!
//! Invariant: equal bytes, equal key; a key with a null has no bytes.

use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal32Type, Decimal64Type, Decimal128Type, Field, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;

use crate::change::{ChangeBatch, Wire};

/// The bytes of a key.
pub(super) type Key = Box<[u8]>;

// Each value begins with one of these, so values of different kinds differ.
const INTEGER: u8 = 1;
const DECIMAL: u8 = 2;
const TEXT: u8 = 3;
const BYTES: u8 = 4;
const BOOLEAN: u8 = 5;
const FLOAT: u8 = 6;
const OTHER: u8 = 7;

/// The key of a row of `batch`; `None` if the table has none, or a value of it
/// is null.
pub(super) fn key_of(batch: &ChangeBatch, row: usize) -> Option<Key> {
    let mut bytes = Vec::with_capacity(batch.key().len() * 9);
    for column in batch.key() {
        let array = batch.row_columns()[*column].as_ref();
        if array.is_null(row) {
            return None;
        }
        push_value(&mut bytes, array, &batch.row_fields()[*column], row)?;
    }
    (!bytes.is_empty()).then(|| bytes.into())
}

/// The key in the text of a `__debezium.newkey` or `__debezium.oldkey` header:
/// the JSON of a record key, for the table of `batch`.
pub(super) fn key_of_header(batch: &ChangeBatch, header: &str) -> Option<Key> {
    let parsed: Value = serde_json::from_str(header).ok()?;
    let object = match parsed.get("payload") {
        Some(payload) if parsed.get("schema").is_some() => payload,
        _ => &parsed,
    };
    let mut bytes = Vec::new();
    for column in batch.key() {
        let field = &batch.row_fields()[*column];
        let value = object.get(field.name())?;
        match (value, field.data_type()) {
            (Value::Number(number), DataType::Timestamp(unit, _)) => {
                push_integer(&mut bytes, micros(number.as_i64()?, *unit).into());
            }
            _ => push_json(&mut bytes, value)?,
        }
    }
    (!bytes.is_empty()).then(|| bytes.into())
}

fn push_value(bytes: &mut Vec<u8>, array: &dyn Array, field: &Field, row: usize) -> Option<()> {
    macro_rules! integer {
        ($type:ty) => {
            push_integer(bytes, array.as_primitive::<$type>().value(row).into())
        };
    }
    match array.data_type() {
        DataType::Int64 => integer!(Int64Type),
        DataType::Int32 => integer!(Int32Type),
        DataType::Int16 => integer!(Int16Type),
        DataType::Int8 => integer!(Int8Type),
        DataType::UInt64 => integer!(UInt64Type),
        DataType::UInt32 => integer!(UInt32Type),
        DataType::UInt16 => integer!(UInt16Type),
        DataType::UInt8 => integer!(UInt8Type),
        DataType::Date32 => integer!(Date32Type),
        DataType::Utf8 => {
            let text = array.as_string::<i32>().value(row);
            if Wire::of(field) == Some(Wire::Json) {
                return match serde_json::from_str(text) {
                    Ok(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
                        push_json(bytes, &value)
                    }
                    _ => {
                        push_bytes(bytes, OTHER, text.as_bytes());
                        Some(())
                    }
                };
            }
            push_bytes(bytes, TEXT, text.as_bytes());
        }
        DataType::Binary => push_bytes(bytes, BYTES, array.as_binary::<i32>().value(row)),
        DataType::FixedSizeBinary(_) => push_bytes(bytes, BYTES, array.as_fixed_size_binary().value(row)),
        DataType::Boolean => bytes.extend([BOOLEAN, array.as_boolean().value(row).into()]),
        DataType::Float64 => push_float(bytes, array.as_primitive::<Float64Type>().value(row)),
        DataType::Float32 => push_float(bytes, array.as_primitive::<Float32Type>().value(row).into()),
        DataType::Decimal32(_, scale) => {
            push_decimal(bytes, array.as_primitive::<Decimal32Type>().value(row).into(), *scale);
        }
        DataType::Decimal64(_, scale) => {
            push_decimal(bytes, array.as_primitive::<Decimal64Type>().value(row).into(), *scale);
        }
        DataType::Decimal128(_, scale) => {
            push_decimal(bytes, array.as_primitive::<Decimal128Type>().value(row), *scale);
        }
        DataType::Timestamp(unit, _) => {
            let count = arrow::compute::cast(&array.slice(row, 1), &DataType::Int64).ok()?;
            push_integer(bytes, micros(count.as_primitive::<Int64Type>().value(0), *unit).into());
        }
        _ => {
            let formatter = ArrayFormatter::try_new(array, &FormatOptions::default()).ok()?;
            push_bytes(bytes, OTHER, formatter.value(row).to_string().as_bytes());
        }
    }
    Some(())
}

fn push_json(bytes: &mut Vec<u8>, value: &Value) -> Option<()> {
    match value {
        Value::String(text) => push_bytes(bytes, TEXT, text.as_bytes()),
        Value::Bool(value) => bytes.extend([BOOLEAN, (*value).into()]),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(integer), ..) => push_integer(bytes, integer.into()),
            (_, Some(integer), _) => push_integer(bytes, integer.into()),
            (.., Some(float)) => push_float(bytes, float),
            _ => return None,
        },
        Value::Null => return None,
        Value::Array(_) | Value::Object(_) => push_bytes(bytes, OTHER, value.to_string().as_bytes()),
    }
    Some(())
}

fn push_integer(bytes: &mut Vec<u8>, value: i128) {
    match i64::try_from(value) {
        Ok(value) => {
            bytes.push(INTEGER);
            bytes.extend(value.to_be_bytes());
        }
        Err(_) => push_scaled(bytes, value, 0),
    }
}

/// A decimal equals the integer, or the decimal of another scale, of the same value.
fn push_decimal(bytes: &mut Vec<u8>, mut value: i128, mut scale: i8) {
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    if scale == 0 { push_integer(bytes, value) } else { push_scaled(bytes, value, scale) }
}

fn push_scaled(bytes: &mut Vec<u8>, value: i128, scale: i8) {
    bytes.push(DECIMAL);
    bytes.extend(scale.to_be_bytes());
    bytes.extend(value.to_be_bytes());
}

fn push_float(bytes: &mut Vec<u8>, value: f64) {
    bytes.push(FLOAT);
    bytes.extend(value.to_bits().to_be_bytes());
}

fn push_bytes(bytes: &mut Vec<u8>, tag: u8, value: &[u8]) {
    bytes.push(tag);
    bytes.extend((value.len() as u64).to_be_bytes());
    bytes.extend(value);
}

/// Microseconds, saturating; finer units than the wire has are cut.
fn micros(count: i64, unit: arrow::datatypes::TimeUnit) -> i64 {
    use arrow::datatypes::TimeUnit;
    match unit {
        TimeUnit::Second => count.saturating_mul(1_000_000),
        TimeUnit::Millisecond => count.saturating_mul(1000),
        TimeUnit::Microsecond => count,
        TimeUnit::Nanosecond => count.div_euclid(1000),
    }
}
