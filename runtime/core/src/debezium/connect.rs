//! Kafka Connect's JSON with a schema: `{"schema": …, "payload": …}`.
//!
//! Owns the reading of a Connect schema as columns, and the memory that spares
//! reading it again: the bytes before the payload repeat from record to record,
//! so they are compared, not parsed. Does not own the payload.
//!
//! Invariant: bytes are taken for a known schema only if they are those that a
//! full parse once found before a payload that came last; what follows them up
//! to the closing brace must still parse as one value.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use serde::Deserialize;

use super::json::{self, Entries, Kind, Lexeme};
use super::wire_type::WireType;

/// How many schemas of a topic are remembered by their bytes. They flip only
/// while a connector restarts or a table changes.
const PREFIXES_MAX: usize = 8;

/// One column of a row, as its schema gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TypedColumn {
    pub(super) name: String,
    pub(super) ty: WireType,
    /// semantic name, as `io.debezium.time.Date`
    pub(super) connect_name: Option<String>,
}

/// The columns that a value's schema gives.
#[derive(Debug, Default)]
pub(super) struct ValueSchema {
    /// of `after` (else `before`) in an envelope
    pub(super) envelope: Option<Arc<[TypedColumn]>>,
    /// of a flattened row, `__…` fields left out
    pub(super) flattened: Arc<[TypedColumn]>,
}

/// Known bytes before the payload, the last used first.
#[derive(Default)]
pub(super) struct Prefixes {
    known: Vec<Prefix>,
}

struct Prefix {
    bytes: Box<[u8]>,
    schema: Option<Arc<ValueSchema>>,
}

/// A value with its schema, if it has one.
#[derive(Clone)]
pub(super) struct Parts<'a> {
    pub(super) payload: &'a [u8],
    pub(super) schema: Option<Arc<ValueSchema>>,
}

impl Prefixes {
    /// The payload, by comparing bytes; `None` if no known prefix fits.
    #[inline]
    pub(super) fn split<'a>(&mut self, value: &'a [u8]) -> Option<Parts<'a>> {
        let at = self.known.iter().position(|prefix| value.starts_with(&prefix.bytes))?;
        if at > 0 {
            self.known.swap(0, at);
        }
        let prefix = self.known.first()?;
        let payload = value.get(prefix.bytes.len()..)?.strip_suffix(b"}")?;
        Some(Parts { payload, schema: prefix.schema.clone() })
    }

    /// Remembers the bytes before `payload`, a part of `value` that was found by
    /// a full parse, if nothing but the closing brace follows it.
    pub(super) fn learn(&mut self, value: &[u8], payload: &[u8], schema: Option<Arc<ValueSchema>>) {
        let Some(start) = (payload.as_ptr() as usize).checked_sub(value.as_ptr() as usize) else { return };
        if value.get(start + payload.len()..) != Some(b"}") {
            return;
        }
        if let Some(bytes) = value.get(..start) {
            self.known.truncate(PREFIXES_MAX - 1);
            self.known.insert(0, Prefix { bytes: bytes.into(), schema });
        }
    }
}

/// Schema and payload of a Connect value; `None` if these are not its entries.
pub(super) fn parts<'a>(entries: &Entries<'a>) -> Option<(Lexeme<'a>, Lexeme<'a>)> {
    let known = entries.iter().all(|(name, _)| name == "schema" || name == "payload");
    let (schema, payload) = (json::last(entries, "schema"), json::last(entries, "payload"));
    let present = payload.kind != Kind::Absent && matches!(schema.kind, Kind::Null | Kind::Object);
    (known && present).then_some((schema, payload))
}

#[derive(Deserialize)]
struct Schema<'a> {
    #[serde(borrow, rename = "type")]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    field: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    fields: Vec<Schema<'a>>,
    #[serde(borrow, default)]
    items: Option<Box<Schema<'a>>>,
    #[serde(default)]
    parameters: Option<HashMap<String, String>>,
}

/// Reads a Connect schema.
///
/// # Errors
/// If it is none.
pub(super) fn value_schema(schema: Lexeme<'_>) -> serde_json::Result<ValueSchema> {
    let schema: Schema<'_> = serde_json::from_slice(schema.text)?;
    let image = |name: &str| {
        let field = schema.fields.iter().find(|field| field.field.as_deref() == Some(name))?;
        (field.kind == "struct").then(|| columns(&field.fields))
    };
    let envelope = image("after").or_else(|| image("before"));
    let flattened = columns(&schema.fields).iter().filter(|c| !c.name.starts_with("__")).cloned().collect();
    Ok(ValueSchema { envelope, flattened })
}

fn columns(fields: &[Schema<'_>]) -> Arc<[TypedColumn]> {
    fields
        .iter()
        .map(|field| TypedColumn {
            name: field.field.as_deref().unwrap_or_default().to_owned(),
            ty: wire_type(field),
            connect_name: field.name.as_deref().map(str::to_owned),
        })
        .collect()
}

fn wire_type(schema: &Schema<'_>) -> WireType {
    let name = schema.name.as_deref().unwrap_or_default();
    let int32 = |data_type| WireType::Int32(data_type);
    let int64 = |data_type| WireType::Int64(data_type);
    match (&*schema.kind, name) {
        ("int32", "io.debezium.time.Date" | "org.apache.kafka.connect.data.Date") => int32(DataType::Date32),
        ("int32" | "int64", "io.debezium.time.Time" | "org.apache.kafka.connect.data.Time") => {
            int32(DataType::Time32(TimeUnit::Millisecond))
        }
        ("int64", "io.debezium.time.MicroTime") => int64(DataType::Time64(TimeUnit::Microsecond)),
        ("int64", "io.debezium.time.NanoTime") => int64(DataType::Time64(TimeUnit::Nanosecond)),
        ("int64", "io.debezium.time.Timestamp" | "org.apache.kafka.connect.data.Timestamp") => {
            int64(DataType::Timestamp(TimeUnit::Millisecond, None))
        }
        ("int64", "io.debezium.time.MicroTimestamp") => {
            int64(DataType::Timestamp(TimeUnit::Microsecond, None))
        }
        ("int64", "io.debezium.time.NanoTimestamp") => int64(DataType::Timestamp(TimeUnit::Nanosecond, None)),
        ("string", "io.debezium.time.ZonedTimestamp") => WireType::ZonedTimestamp,
        ("bytes", "org.apache.kafka.connect.data.Decimal") => decimal(schema),
        ("struct", "io.debezium.data.VariableScaleDecimal") => WireType::VariableDecimal,
        ("boolean", _) => WireType::Boolean,
        ("int8" | "int16", _) => WireType::Int16,
        ("int32", _) => int32(DataType::Int32),
        ("int64", _) => int64(DataType::Int64),
        ("float", _) => WireType::Float32,
        ("double", _) => WireType::Float64,
        ("string", _) => WireType::Text,
        ("bytes", _) => WireType::Bytes,
        ("array", _) => match schema.items.as_deref().map(wire_type) {
            None | Some(WireType::Json | WireType::List(_)) => WireType::Json,
            Some(item) => WireType::List(Box::new(item)),
        },
        _ => WireType::Json,
    }
}

/// A decimal without precision (`money`) is given the 38 digits that fit.
fn decimal(schema: &Schema<'_>) -> WireType {
    let parameter = |name: &str| schema.parameters.as_ref()?.get(name)?.parse::<i32>().ok();
    let Some(scale) = parameter("scale") else { return WireType::Json };
    let precision = parameter("connect.decimal.precision").unwrap_or(38);
    // PostgreSQL has scales beyond the precision, and Arrow has not
    match (u8::try_from(precision.max(scale)), i8::try_from(scale)) {
        (Ok(precision @ 1..=38), Ok(scale)) => WireType::Decimal128(precision, scale),
        (Ok(precision @ 39..=76), Ok(scale)) => WireType::Decimal256(precision, scale),
        _ => WireType::DecimalText(scale),
    }
}
