//! The types that a column may have, as constants that the macros can compare
//! while a transform is compiled.

use crate::bindings::types;

/// A type without parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar {
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
    /// exact decimal
    Decimal {
        /// all digits, 1 to 38
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
    /// days since 1970-01-01
    Date,
    /// microseconds since midnight
    Time,
    /// microseconds since 1970-01-01T00:00:00, no zone
    Timestamp,
    /// microseconds since 1970-01-01T00:00:00Z
    TimestampTz,
    /// 16 bytes
    Uuid,
    /// microseconds
    Interval,
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataType {
    /// one value
    Scalar(Scalar),
    /// a list whose elements may be null
    List(Scalar),
}

impl Scalar {
    /// `a == b`, for constants.
    pub(crate) const fn same(self, other: Self) -> bool {
        match (self, other) {
            (
                Self::Decimal { precision: a, scale: b },
                Self::Decimal { precision: precision_other, scale: scale_other },
            ) => a == precision_other && b == scale_other,
            _ => self.tag() == other.tag(),
        }
    }

    const fn tag(self) -> u8 {
        match self {
            Self::Boolean => 0,
            Self::Int16 => 1,
            Self::Int32 => 2,
            Self::Int64 => 3,
            Self::Uint64 => 4,
            Self::Float32 => 5,
            Self::Float64 => 6,
            Self::Decimal { .. } => 7,
            Self::Text => 8,
            Self::Bytes => 9,
            Self::Json => 10,
            Self::Date => 11,
            Self::Time => 12,
            Self::Timestamp => 13,
            Self::TimestampTz => 14,
            Self::Uuid => 15,
            Self::Interval => 16,
        }
    }

    /// The Rust type that stands for it, for messages.
    pub(crate) const fn rust_name(self) -> &'static str {
        match self {
            Self::Boolean => "bool",
            Self::Int16 => "i16",
            Self::Int32 => "i32",
            Self::Int64 => "i64",
            Self::Uint64 => "u64",
            Self::Float32 => "f32",
            Self::Float64 => "f64",
            Self::Decimal { .. } => "Decimal",
            Self::Text => "String",
            Self::Bytes => "Vec<u8>",
            Self::Json => "Json",
            Self::Date => "Date",
            Self::Time => "Time",
            Self::Timestamp => "Timestamp",
            Self::TimestampTz => "TimestampTz",
            Self::Uuid => "Uuid",
            Self::Interval => "Interval",
        }
    }

    fn to_wit(self) -> types::ScalarType {
        match self {
            Self::Boolean => types::ScalarType::Boolean,
            Self::Int16 => types::ScalarType::Int16,
            Self::Int32 => types::ScalarType::Int32,
            Self::Int64 => types::ScalarType::Int64,
            Self::Uint64 => types::ScalarType::Uint64,
            Self::Float32 => types::ScalarType::Float32,
            Self::Float64 => types::ScalarType::Float64,
            Self::Decimal { precision, scale } => {
                types::ScalarType::Decimal(types::DecimalType { precision, scale })
            }
            Self::Text => types::ScalarType::Text,
            Self::Bytes => types::ScalarType::Bytes,
            Self::Json => types::ScalarType::Json,
            Self::Date => types::ScalarType::Date,
            Self::Time => types::ScalarType::Time,
            Self::Timestamp => types::ScalarType::Timestamp,
            Self::TimestampTz => types::ScalarType::Timestamptz,
            Self::Uuid => types::ScalarType::Uuid,
            Self::Interval => types::ScalarType::Interval,
        }
    }
}

impl DataType {
    /// `a == b`, for constants.
    pub(crate) const fn same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Scalar(a), Self::Scalar(b)) | (Self::List(a), Self::List(b)) => a.same(b),
            _ => false,
        }
    }

    pub(crate) fn to_wit(self) -> types::DataType {
        match self {
            Self::Scalar(scalar) => types::DataType::Scalar(scalar.to_wit()),
            Self::List(scalar) => types::DataType::ListOf(scalar.to_wit()),
        }
    }
}
