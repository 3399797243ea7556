//! Which Rust types may stand in a row, and what column type each means.
//!
//! Owns the mapping from Rust types to column types. Reading them from a batch
//! is `read`, writing them into one is `write`.

use crate::data_type::{DataType, Scalar};
use crate::{Date, Decimal, Interval, Json, Time, Timestamp, TimestampTz, Uuid};

/// A value that is not null.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a column",
    label = "not a column type",
    note = "column types are bool, i16, i32, i64, u64, f32, f64, String, &str, Vec<u8>, &[u8], Json, Date, \
            Time, Timestamp, TimestampTz, Interval, Uuid, Decimal<P, S>, Vec<T> of these, and Option<T>"
)]
pub trait Value {
    /// The column type that it stands for.
    const TYPE: DataType;
}

/// A value or a null: what a field of a row may be.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the type of a column",
    label = "not a column type",
    note = "column types are bool, i16, i32, i64, u64, f32, f64, String, &str, Vec<u8>, &[u8], Json, Date, \
            Time, Timestamp, TimestampTz, Interval, Uuid, Decimal<P, S>, Vec<T> of these, and Option<T>"
)]
pub trait Field {
    /// The column type that it stands for.
    const TYPE: DataType;
    /// May the column hold nulls?
    const NULLABLE: bool;
}

impl<T: Value> Field for T {
    const TYPE: DataType = T::TYPE;
    const NULLABLE: bool = false;
}

impl<T: Value> Field for Option<T> {
    const TYPE: DataType = T::TYPE;
    const NULLABLE: bool = true;
}

/// A value without parts. Sealed in spirit: the contract knows no others.
pub trait ScalarValue {
    /// The column type that it stands for.
    const SCALAR: Scalar;
}

/// An element of a list: a scalar, or a scalar or null.
pub trait Element {
    /// The type of the elements.
    const SCALAR: Scalar;
}

impl<T: ScalarValue> Element for T {
    const SCALAR: Scalar = T::SCALAR;
}

impl<T: ScalarValue> Element for Option<T> {
    const SCALAR: Scalar = T::SCALAR;
}

impl<T: Element> Value for Vec<T> {
    const TYPE: DataType = DataType::List(T::SCALAR);
}

// Not a blanket `impl<T: ScalarValue> Value for T`: it would overlap with lists,
// because Vec<u8> is a scalar (bytes).
macro_rules! scalars {
    ($($type:ty => $scalar:ident;)*) => {$(
        impl ScalarValue for $type {
            const SCALAR: Scalar = Scalar::$scalar;
        }
        impl Value for $type {
            const TYPE: DataType = DataType::Scalar(Scalar::$scalar);
        }
    )*};
}

scalars! {
    bool => Boolean;
    i16 => Int16;
    i32 => Int32;
    i64 => Int64;
    u64 => Uint64;
    f32 => Float32;
    f64 => Float64;
    String => Text;
    &str => Text;
    Vec<u8> => Bytes;
    &[u8] => Bytes;
    Json => Json;
    Json<&str> => Json;
    Date => Date;
    Time => Time;
    Timestamp => Timestamp;
    TimestampTz => TimestampTz;
    Uuid => Uuid;
    Interval => Interval;
}

impl<const P: u8, const S: u8> ScalarValue for Decimal<P, S> {
    const SCALAR: Scalar = Decimal::<P, S>::SCALAR;
}

impl<const P: u8, const S: u8> Value for Decimal<P, S> {
    const TYPE: DataType = DataType::Scalar(Decimal::<P, S>::SCALAR);
}
