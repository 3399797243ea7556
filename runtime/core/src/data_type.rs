//! The logical types of the boundary: what a transform may ask for and give.
//!
//! Owns the mapping from a logical type to its one Arrow form inside dabi.
//! Does not own the wire's types (`debezium`), reading the one as the other
//! (`reading`) or ClickHouse's types (`star`).

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType as Arrow, Field, TimeUnit};
use serde::{Deserialize, Serialize};

/// A logical column type. The physical form is [`DataType::arrow`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataType {
    /// true or false
    Boolean,
    /// 16-bit signed
    Int16,
    /// 32-bit signed
    Int32,
    /// 64-bit signed
    Int64,
    /// 64-bit unsigned
    Uint64,
    /// IEEE single
    Float32,
    /// IEEE double
    Float64,
    /// exact decimal; `precision` 1 to 38, `scale` 0 to `precision`
    Decimal {
        /// all digits
        precision: u8,
        /// digits after the point
        scale: u8,
    },
    /// UTF-8
    Text,
    /// any bytes
    Bytes,
    /// UTF-8 that is known to be JSON
    Json,
    /// days since 1970-01-01, proleptic Gregorian
    Date,
    /// microseconds since midnight; 24:00 is allowed
    Time,
    /// microseconds since 1970-01-01T00:00:00, no zone
    Timestamp,
    /// microseconds since 1970-01-01T00:00:00Z
    TimestampTz,
    /// 16 bytes in the order they are printed
    Uuid,
    /// microseconds (Debezium counts a month as 30.4375 days)
    Interval,
    /// a list of scalars
    List(Box<DataType>),
}

impl DataType {
    /// The widest decimal whose values fit one 64-bit word.
    pub const DECIMAL64_PRECISION_MAX: u8 = 18;
    /// The widest decimal of the boundary.
    pub const DECIMAL_PRECISION_MAX: u8 = 38;

    /// Is it a decimal whose values fit one 64-bit word?
    #[must_use]
    pub fn is_decimal64(&self) -> bool {
        matches!(self, Self::Decimal { precision, .. } if *precision <= Self::DECIMAL64_PRECISION_MAX)
    }

    /// The one Arrow type that carries this type inside dabi.
    #[must_use]
    pub fn arrow(&self) -> Arrow {
        match self {
            Self::Boolean => Arrow::Boolean,
            Self::Int16 => Arrow::Int16,
            Self::Int32 => Arrow::Int32,
            Self::Int64 => Arrow::Int64,
            Self::Uint64 => Arrow::UInt64,
            Self::Float32 => Arrow::Float32,
            Self::Float64 => Arrow::Float64,
            #[expect(clippy::cast_possible_wrap, reason = "scale is at most 38")]
            Self::Decimal { precision, scale } if *precision <= Self::DECIMAL64_PRECISION_MAX => {
                Arrow::Decimal64(*precision, *scale as i8)
            }
            #[expect(clippy::cast_possible_wrap, reason = "scale is at most 38")]
            Self::Decimal { precision, scale } => Arrow::Decimal128(*precision, *scale as i8),
            Self::Text | Self::Json => Arrow::Utf8,
            Self::Bytes => Arrow::Binary,
            Self::Date => Arrow::Date32,
            Self::Time => Arrow::Time64(TimeUnit::Microsecond),
            Self::Timestamp => Arrow::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => Arrow::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
            Self::Uuid => Arrow::FixedSizeBinary(16),
            Self::Interval => Arrow::Duration(TimeUnit::Microsecond),
            Self::List(item) => Arrow::List(Arc::new(Field::new_list_field(item.arrow(), true))),
        }
    }
}

impl fmt::Display for DataType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Self::Boolean => "boolean",
            Self::Int16 => "int16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint64 => "uint64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Decimal { precision, scale } => return write!(f, "decimal({precision},{scale})"),
            Self::Text => "text",
            Self::Bytes => "bytes",
            Self::Json => "json",
            Self::Date => "date",
            Self::Time => "time",
            Self::Timestamp => "timestamp",
            Self::TimestampTz => "timestamptz",
            Self::Uuid => "uuid",
            Self::Interval => "interval",
            Self::List(item) => return write!(f, "list<{item}>"),
        };
        f.write_str(name)
    }
}
