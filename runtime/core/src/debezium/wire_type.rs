//! What the wire says about a column, and the Arrow type that stores it.
//!
//! Owns the table of types in the documentation of [`debezium`](super). Does not
//! own how values are parsed (`column`) or read as declared types (`reading`).

use arrow::datatypes::{DataType, TimeUnit};

use super::json::{Kind, Lexeme};
use super::number;

/// How the values of a column are read from the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum WireType {
    /// without a schema, and null in every row so far
    Null,
    Boolean,
    Int16,
    /// integers of 32 bits: `Int32`, `Date32` or `Time32`
    Int32(DataType),
    /// integers of 64 bits: `Int64`, a `Timestamp` or a `Time64`
    Int64(DataType),
    Float32,
    Float64,
    /// at most 38 digits
    Decimal128(u8, i8),
    /// at most 76 digits
    Decimal256(u8, i8),
    /// more digits than that, as plain decimal text
    DecimalText(i32),
    /// `VariableScaleDecimal`, as plain decimal text
    VariableDecimal,
    /// an ISO 8601 instant
    ZonedTimestamp,
    Text,
    Bytes,
    List(Box<WireType>),
    /// JSON text as sent
    Json,
}

impl WireType {
    pub(super) fn arrow(&self) -> DataType {
        match self {
            Self::Null => DataType::Null,
            Self::Boolean => DataType::Boolean,
            Self::Int16 => DataType::Int16,
            Self::Int32(data_type) | Self::Int64(data_type) => data_type.clone(),
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
            Self::Decimal256(precision, scale) => DataType::Decimal256(*precision, *scale),
            Self::ZonedTimestamp => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::DecimalText(_) | Self::VariableDecimal | Self::Text | Self::Json => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::List(item) => DataType::new_list(item.arrow(), true),
        }
    }

    /// The type that `value`, sent without a schema, is stored as.
    pub(super) fn untyped(value: Lexeme<'_>) -> Self {
        match value.kind {
            Kind::Absent | Kind::Null => Self::Null,
            Kind::True | Kind::False => Self::Boolean,
            Kind::Integer if number::integer(value.text).is_some() => Self::Int64(DataType::Int64),
            Kind::Plain | Kind::Escaped if value.string().is_some() => Self::Text,
            _ => Self::Json,
        }
    }

    /// Bytes that one row takes, without those of its text; an estimate.
    pub(super) fn fixed_bytes(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Boolean => 1,
            Self::Int16 => 2,
            Self::Int32(_) | Self::Float32 => 4,
            Self::Decimal128(..) => 16,
            Self::Decimal256(..) => 32,
            Self::List(item) => 4 + item.fixed_bytes(),
            _ => 8,
        }
    }
}
