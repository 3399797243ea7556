//! The identity of a row: its key values as bytes.
//!
//! Owns when two key values are the same although the wire carried them
//! differently: an `integer` that became a `bigint`, a `numeric` of another
//! scale, a column sent first with a schema and then without.
//!
//! Invariants: equal bytes, equal key; a key with a null has no bytes; bytes are
//! in the order of the values (numbers by size, text by its UTF-8), column by
//! column, so the smallest of many keys is found without reading them.

use arrow::array::{Array, AsArray, BinaryArray, BinaryBuilder};
use arrow::datatypes::{
    DataType, Date32Type, Decimal32Type, Decimal64Type, Decimal128Type, Field, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::Value;

use crate::change::{ChangeBatch, Wire};

/// The bytes of a key.
pub(crate) type Key = Box<[u8]>;

// Each value begins with one of these, so values of different kinds differ.
/// An integer below 64 bits.
const BELOW: u8 = 1;
const INTEGER: u8 = 2;
/// An integer above 64 bits.
const ABOVE: u8 = 3;
const TEXT: u8 = 4;
const BYTES: u8 = 5;
const BOOLEAN: u8 = 6;
const FLOAT: u8 = 7;
const OTHER: u8 = 8;
/// Follows a number that has digits after the point; above every tag, so that
/// 7.5 stands between 7 with whatever follows it and 8.
const FRACTION: u8 = 0xfe;
/// Ends bytes and digits; a zero inside of bytes is followed by [`ESCAPE`].
const END: u8 = 0;
const ESCAPE: u8 = 0xff;
/// The most digits after the point that 128 bits hold.
const SCALE_MAX: i8 = 38;

/// The key of a row of `batch`; `None` if the table has none, or a value of it
/// is null.
pub(super) fn key_of(batch: &ChangeBatch, row: usize) -> Option<Key> {
    let mut bytes = Vec::with_capacity(batch.key().len() * 9);
    push_values(&mut bytes, batch, batch.key(), row)?;
    (!bytes.is_empty()).then(|| bytes.into())
}

/// For each row of `batch` the bytes of the values of `columns`, null where one
/// of them is: a key, or a reference to one.
pub(crate) fn keys_of(batch: &ChangeBatch, columns: &[usize]) -> BinaryArray {
    let mut keys = BinaryBuilder::with_capacity(batch.num_rows(), batch.num_rows() * columns.len() * 9);
    let mut bytes = Vec::new();
    for row in 0..batch.num_rows() {
        bytes.clear();
        match push_values(&mut bytes, batch, columns, row) {
            Some(()) => keys.append_value(&bytes),
            None => keys.append_null(),
        }
    }
    keys.finish()
}

fn push_values(bytes: &mut Vec<u8>, batch: &ChangeBatch, columns: &[usize], row: usize) -> Option<()> {
    for column in columns {
        let array = batch.row_columns()[*column].as_ref();
        if array.is_null(row) {
            return None;
        }
        push_value(bytes, array, &batch.row_fields()[*column], row)?;
    }
    Some(())
}

/// A key for a person to read: its values with commas between them.
pub(crate) fn shown(key: &[u8]) -> String {
    shown_values(key).join(", ")
}

/// The bytes of each value of a key.
pub(super) fn values(mut key: &[u8]) -> Vec<&[u8]> {
    let mut values = Vec::new();
    while let Some((tag, mut rest)) = key.split_first() {
        if take_shown(*tag, &mut rest).is_none() {
            break;
        }
        let (value, left) = key.split_at(key.len() - rest.len());
        values.push(value);
        key = left;
    }
    values
}

/// The values of a key as texts, which do not depend on how the wire had them.
pub(crate) fn shown_values(mut key: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    while let Some((tag, rest)) = key.split_first() {
        key = rest;
        let Some(value) = take_shown(*tag, &mut key) else { break };
        values.push(value);
    }
    values
}

/// One value of a key; `None` if these are not the bytes of one.
fn take_shown(tag: u8, bytes: &mut &[u8]) -> Option<String> {
    let value = match tag {
        BELOW | ABOVE => {
            (i128::from_be_bytes(*bytes.split_off(..16)?.first_chunk()?) ^ i128::MIN).to_string()
        }
        INTEGER => (i64::from_be_bytes(*bytes.split_off(..8)?.first_chunk()?) ^ i64::MIN).to_string(),
        BOOLEAN => (bytes.split_off_first()? != &0).to_string(),
        FLOAT => {
            let bits = u64::from_be_bytes(*bytes.split_off(..8)?.first_chunk()?);
            let sign = 1 << 63;
            f64::from_bits(if bits & sign == 0 { !bits } else { bits ^ sign }).to_string()
        }
        BYTES => base64::Engine::encode(&base64::engine::general_purpose::STANDARD, take_plain(bytes)?),
        _ => String::from_utf8_lossy(&take_plain(bytes)?).into_owned(),
    };
    if bytes.first() != Some(&FRACTION) {
        return Some(value);
    }
    *bytes = &bytes[1..];
    let digits = String::from_utf8(take_plain(bytes)?).ok()?;
    let floor: i128 = value.parse().ok()?;
    if floor >= 0 {
        return Some(format!("{value}.{digits}"));
    }
    // The digits count upwards from the integer below.
    let (width, one) = (digits.len(), 10_i128.checked_pow(u32::try_from(digits.len()).ok()?)?);
    Some(format!("-{}.{:0width$}", (floor + 1).unsigned_abs(), one - digits.parse::<i128>().ok()?))
}

fn take_plain(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::new();
    loop {
        match (*bytes.split_off_first()?, bytes.first()) {
            (END, Some(&ESCAPE)) => {
                plain.push(END);
                *bytes = &bytes[1..];
            }
            (END, _) => return Some(plain),
            (byte, _) => plain.push(byte),
        }
    }
}

/// The key in the text of a `__debezium.newkey` or `__debezium.oldkey` header:
/// the JSON of a record key, for the table of `batch`, whose key is `columns`.
pub(crate) fn key_of_header(batch: &ChangeBatch, columns: &[usize], header: &str) -> Option<Key> {
    let parsed: Value = serde_json::from_str(header).ok()?;
    let object = match parsed.get("payload") {
        Some(payload) if parsed.get("schema").is_some() => payload,
        _ => &parsed,
    };
    let mut bytes = Vec::new();
    for column in columns {
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
            // with the sign turned over, negative numbers come first
            bytes.extend((value ^ i64::MIN).to_be_bytes());
        }
        Err(_) => {
            bytes.push(if value < 0 { BELOW } else { ABOVE });
            bytes.extend((value ^ i128::MIN).to_be_bytes());
        }
    }
}

/// A decimal equals the integer, or the decimal of another scale, of the same value.
fn push_decimal(bytes: &mut Vec<u8>, mut value: i128, mut scale: i8) {
    while scale > 0 && value % 10 == 0 {
        value /= 10;
        scale -= 1;
    }
    while scale < 0 {
        let Some(larger) = value.checked_mul(10) else { break };
        value = larger;
        scale += 1;
    }
    match scale {
        0 => push_integer(bytes, value),
        1..=SCALE_MAX => {
            let one = 10_i128.pow(u32::from(scale.unsigned_abs()));
            push_integer(bytes, value.div_euclid(one));
            bytes.push(FRACTION);
            let digits =
                format!("{:0width$}", value.rem_euclid(one), width = usize::from(scale.unsigned_abs()));
            bytes.extend(digits.as_bytes());
            bytes.push(END);
        }
        _ => push_bytes(bytes, OTHER, format!("{value}e{}", -i16::from(scale)).as_bytes()),
    }
}

fn push_float(bytes: &mut Vec<u8>, value: f64) {
    let bits = value.to_bits();
    let ordered = if value.is_sign_negative() { !bits } else { bits | 1 << 63 };
    bytes.push(FLOAT);
    bytes.extend(ordered.to_be_bytes());
}

fn push_bytes(bytes: &mut Vec<u8>, tag: u8, value: &[u8]) {
    bytes.push(tag);
    for byte in value {
        bytes.push(*byte);
        if *byte == END {
            bytes.push(ESCAPE);
        }
    }
    bytes.push(END);
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
