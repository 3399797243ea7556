//! The values that the wire carries, whatever column they lie in.
//!
//! Owns walking a wire column value by value, and the table of what can be
//! read as what. Does not own a single conversion: those are with the type
//! they lead to (`number`, `decimal`, `temporal`, `text`, `list`).
//!
//! Invariant: [`Source::visit`] calls back exactly once per row, in order.

use std::borrow::Cow;

use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
};
use arrow::array::{Array, ArrayRef, AsArray, NullBufferBuilder, PrimitiveArray};
use arrow::datatypes::{DataType as Arrow, TimeUnit, i256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{Fault, Hints, decimal};
use crate::change::Wire;
use crate::data_type::DataType;

/// One value as the wire carries it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sent<'a> {
    Boolean(bool),
    Integer(i64),
    Single(f32),
    Double(f64),
    /// a JSON number that is no 64-bit integer, as written
    Number(&'a str),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// unscaled value and scale
    Decimal(i128, i8),
    WideDecimal(i256, i8),
    /// days
    Date(i32),
    Time(i64, TimeUnit),
    Timestamp(i64, TimeUnit),
    /// µs since 1970, UTC
    Instant(i64),
    /// the JSON text of an object or array
    Document(&'a str),
}

impl<'a> Sent<'a> {
    /// As a person would write it; temporal values as the wire counts them,
    /// because only `temporal` knows which of them are dates and times.
    pub(super) fn text(&self) -> Cow<'a, str> {
        match *self {
            Self::Boolean(value) => if value { "true" } else { "false" }.into(),
            Self::Integer(value)
            | Self::Time(value, _)
            | Self::Timestamp(value, _)
            | Self::Instant(value) => value.to_string().into(),
            Self::Single(value) => float_text(value).into(),
            Self::Double(value) => float_text(value).into(),
            Self::Number(text) | Self::Text(text) | Self::Document(text) => text.into(),
            Self::Bytes(bytes) => BASE64.encode(bytes).into(),
            Self::Decimal(value, scale) => decimal::plain(&value.to_string(), scale.into()).into(),
            Self::WideDecimal(value, scale) => decimal::plain(&value.to_string(), scale.into()).into(),
            Self::Date(days) => days.to_string().into(),
        }
    }
}

/// The shortest JSON number that reads back as `value` (Rust's own form has up
/// to 300 zeros); what JSON cannot write has the name that Debezium gives it.
fn float_text<T: serde::Serialize + std::fmt::Display>(value: T) -> String {
    match serde_json::to_string(&value) {
        Ok(number) if number != "null" => number,
        _ => value.to_string().replace("inf", "Infinity"),
    }
}

/// What kinds of values a wire column can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// JSON text, or nothing yet: may hold anything
    Any,
    Boolean,
    Integer,
    Float,
    Text,
    Bytes,
    Decimal,
    Date,
    Time,
    Timestamp,
    Instant,
    List,
}

/// A wire column.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) array: &'a ArrayRef,
    pub(super) wire: Wire,
    /// The Connect semantic name.
    pub(super) name: Option<&'a str>,
    pub(super) hints: Hints,
}

impl Source<'_> {
    /// Whether some value of such a column can be read as `declared`.
    pub(super) fn readable(&self, declared: &DataType) -> bool {
        use DataType as D;
        let Some(kind) = self.kind() else { return false };
        match (kind, declared) {
            (Kind::Any, _) | (_, D::Text | D::Json) => true,
            (Kind::Text, D::Bytes) => self.wire == Wire::Untyped || self.hints.bytes.is_some(),
            (Kind::Text, declared) => !matches!(declared, D::List(_)),
            (Kind::Integer, declared) => !matches!(declared, D::Bytes | D::Uuid | D::List(_)),
            (Kind::Boolean, D::Boolean)
            | (Kind::Float, D::Float32 | D::Float64)
            | (Kind::Bytes, D::Bytes | D::Uuid)
            | (Kind::Date, D::Date)
            | (Kind::Time, D::Time)
            | (Kind::Timestamp, D::Timestamp)
            | (Kind::Instant, D::TimestampTz)
            | (Kind::List, D::List(_)) => true,
            (Kind::Decimal, declared) => matches!(
                declared,
                D::Int16 | D::Int32 | D::Int64 | D::Uint64 | D::Float32 | D::Float64 | D::Decimal { .. }
            ),
            _ => false,
        }
    }

    fn kind(&self) -> Option<Kind> {
        Some(match self.array.data_type() {
            Arrow::Utf8 if self.wire == Wire::Json => Kind::Any,
            Arrow::Null => Kind::Any,
            Arrow::Boolean => Kind::Boolean,
            Arrow::Int16 | Arrow::Int32 | Arrow::Int64 => Kind::Integer,
            Arrow::Float32 | Arrow::Float64 => Kind::Float,
            Arrow::Utf8 => Kind::Text,
            Arrow::Binary => Kind::Bytes,
            Arrow::Decimal128(..) | Arrow::Decimal256(..) => Kind::Decimal,
            Arrow::Date32 => Kind::Date,
            Arrow::Time32(TimeUnit::Millisecond)
            | Arrow::Time64(TimeUnit::Microsecond | TimeUnit::Nanosecond) => Kind::Time,
            Arrow::Timestamp(TimeUnit::Microsecond, Some(_)) => Kind::Instant,
            Arrow::Timestamp(unit, None) if *unit != TimeUnit::Second => Kind::Timestamp,
            Arrow::List(_) => Kind::List,
            _ => return None,
        })
    }

    /// Calls `each` with every value in row order. A list column has no values
    /// of its own: `list` walks its elements.
    pub(super) fn visit(&self, mut each: impl FnMut(Option<Sent<'_>>)) {
        use TimeUnit::{Microsecond, Millisecond, Nanosecond};
        let array = self.array;
        match array.data_type() {
            Arrow::Utf8 if self.wire == Wire::Json => visit_json(array, each),
            Arrow::Utf8 => array.as_string::<i32>().iter().for_each(|v| each(v.map(Sent::Text))),
            Arrow::Binary => array.as_binary::<i32>().iter().for_each(|v| each(v.map(Sent::Bytes))),
            Arrow::Boolean => array.as_boolean().iter().for_each(|v| each(v.map(Sent::Boolean))),
            Arrow::Int16 => values::<Int16Type>(array, |v| Sent::Integer(v.into()), each),
            Arrow::Int32 => values::<Int32Type>(array, |v| Sent::Integer(v.into()), each),
            Arrow::Int64 => values::<Int64Type>(array, Sent::Integer, each),
            Arrow::Float32 => values::<Float32Type>(array, Sent::Single, each),
            Arrow::Float64 => values::<Float64Type>(array, Sent::Double, each),
            Arrow::Decimal128(_, s) => values::<Decimal128Type>(array, |v| Sent::Decimal(v, *s), each),
            Arrow::Decimal256(_, s) => values::<Decimal256Type>(array, |v| Sent::WideDecimal(v, *s), each),
            Arrow::Date32 => values::<Date32Type>(array, Sent::Date, each),
            Arrow::Time32(Millisecond) => {
                values::<Time32MillisecondType>(array, |v| Sent::Time(v.into(), Millisecond), each);
            }
            Arrow::Time64(Microsecond) => {
                values::<Time64MicrosecondType>(array, |v| Sent::Time(v, Microsecond), each);
            }
            Arrow::Time64(Nanosecond) => {
                values::<Time64NanosecondType>(array, |v| Sent::Time(v, Nanosecond), each);
            }
            Arrow::Timestamp(Microsecond, Some(_)) => {
                values::<TimestampMicrosecondType>(array, Sent::Instant, each);
            }
            Arrow::Timestamp(Millisecond, _) => {
                values::<TimestampMillisecondType>(array, |v| Sent::Timestamp(v, Millisecond), each);
            }
            Arrow::Timestamp(Microsecond, None) => {
                values::<TimestampMicrosecondType>(array, |v| Sent::Timestamp(v, Microsecond), each);
            }
            Arrow::Timestamp(Nanosecond, _) => {
                values::<TimestampNanosecondType>(array, |v| Sent::Timestamp(v, Nanosecond), each);
            }
            _ => (0..array.len()).for_each(|_| each(None)),
        }
    }
}

fn values<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    sent: impl Fn(T::Native) -> Sent<'static>,
    mut each: impl FnMut(Option<Sent<'_>>),
) {
    for value in array.as_primitive::<T>() {
        each(value.map(&sent));
    }
}

fn visit_json(array: &ArrayRef, mut each: impl FnMut(Option<Sent<'_>>)) {
    for text in array.as_string::<i32>() {
        let Some(text) = text.map(str::trim) else {
            each(None);
            continue;
        };
        match text.as_bytes().first() {
            Some(b'n') => each(None),
            Some(b't') => each(Some(Sent::Boolean(true))),
            Some(b'f') => each(Some(Sent::Boolean(false))),
            Some(b'"') => match serde_json::from_str::<JsonString>(text) {
                Ok(JsonString(string)) => each(Some(Sent::Text(&string))),
                Err(_) => each(Some(Sent::Document(text))),
            },
            Some(b'{' | b'[') | None => each(Some(Sent::Document(text))),
            Some(_) => match text.parse() {
                Ok(integer) => each(Some(Sent::Integer(integer))),
                Err(_) => each(Some(Sent::Number(text))),
            },
        }
    }
}

/// A JSON string, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct JsonString<'a>(#[serde(borrow)] Cow<'a, str>);

/// Rows whose value could not be read, in row order.
pub(super) type Faults = Vec<(usize, Fault)>;

/// Reads every value with `read`; what cannot be read is null and a fault.
pub(super) fn primitive<T: ArrowPrimitiveType>(
    source: &Source<'_>,
    faults: &mut Faults,
    read: impl Fn(Sent<'_>) -> Result<T::Native, Fault>,
) -> PrimitiveArray<T> {
    let rows = source.array.len();
    let mut values = Vec::with_capacity(rows);
    let mut nulls = NullBufferBuilder::new(rows);
    source.visit(|sent| {
        let value = sent.and_then(|sent| read(sent).map_err(|fault| faults.push((values.len(), fault))).ok());
        nulls.append(value.is_some());
        values.push(value.unwrap_or_default());
    });
    PrimitiveArray::new(values.into(), nulls.finish())
}
