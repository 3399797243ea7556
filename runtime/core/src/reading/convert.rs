//! A whole wire column as a declared type.
//!
//! Owns which conversion belongs to which type, and when none is needed.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, BooleanBufferBuilder, NullBufferBuilder,
};
use arrow::datatypes::{
    Date32Type, Decimal64Type, Decimal128Type, DurationMicrosecondType, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
};

use super::fault::Fault;
use super::sent::{Faults, Sent, Source, primitive};
use super::{decimal, list, number, temporal, text};
use crate::change::Wire;
use crate::data_type::DataType;

/// Reads a column as `declared`; `None` if none of its values could ever be.
pub(super) fn convert(source: &Source<'_>, declared: &DataType) -> Option<(ArrayRef, Faults)> {
    if !source.readable(declared) {
        return None;
    }
    if is_as_declared(source, declared) {
        return Some((source.array.clone(), Vec::new()));
    }
    let hints = source.hints;
    let nanos = source.name == Some("io.debezium.time.NanoDuration");
    let mut faults = Vec::new();
    let f = &mut faults;
    let array: ArrayRef = match declared {
        DataType::Boolean => Arc::new(booleans(source, f)),
        DataType::Int16 => numbers::<Int16Type>(source, declared, f, |v| number::integer(v, hints)),
        DataType::Int32 => numbers::<Int32Type>(source, declared, f, |v| number::integer(v, hints)),
        DataType::Int64 => numbers::<Int64Type>(source, declared, f, |v| number::integer(v, hints)),
        DataType::Uint64 => numbers::<UInt64Type>(source, declared, f, |v| number::unsigned(v, hints)),
        DataType::Float32 => numbers::<Float32Type>(source, declared, f, |v| number::single(v, hints)),
        DataType::Float64 => numbers::<Float64Type>(source, declared, f, |v| number::double(v, hints)),
        DataType::Decimal { precision, scale } if *precision <= DataType::DECIMAL64_PRECISION_MAX => {
            numbers::<Decimal64Type>(source, declared, f, |v| {
                let value = decimal::decimal(v, *precision, *scale, hints)?;
                i64::try_from(value).map_err(|_| Fault::out_of_range(v, "it has more than 18 digits"))
            })
        }
        DataType::Decimal { precision, scale } => {
            numbers::<Decimal128Type>(source, declared, f, |v| decimal::decimal(v, *precision, *scale, hints))
        }
        DataType::Date => numbers::<Date32Type>(source, declared, f, temporal::date),
        DataType::Time => numbers::<Time64MicrosecondType>(source, declared, f, |v| temporal::time(v, hints)),
        DataType::Timestamp => {
            numbers::<TimestampMicrosecondType>(source, declared, f, |v| temporal::timestamp(v, hints))
        }
        DataType::TimestampTz => {
            numbers::<TimestampMicrosecondType>(source, declared, f, |v| temporal::timestamptz(v, hints))
        }
        DataType::Interval => {
            numbers::<DurationMicrosecondType>(source, declared, f, |v| temporal::interval(v, nanos))
        }
        DataType::Text => Arc::new(text::texts(source, f)),
        DataType::Json => Arc::new(text::jsons(source, f)),
        DataType::Bytes => Arc::new(text::bytes(source, f)),
        DataType::Uuid => Arc::new(text::uuids(source, f)),
        DataType::List(item) => Arc::new(list::lists(source, item, f)?),
    };
    faults.sort_by_key(|(row, _)| *row);
    Some((array, faults))
}

/// Whether the array is the reading, without a look at single values.
fn is_as_declared(source: &Source<'_>, declared: &DataType) -> bool {
    let array = source.array;
    if source.wire == Wire::Json || *array.data_type() != declared.arrow() {
        return false;
    }
    match declared {
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Text
        | DataType::Bytes => true,
        // slots of nulls are looked at too, and are zero where dabi wrote them
        DataType::Date => temporal::are_plain_dates(array.as_primitive::<Date32Type>().values()),
        DataType::Time => temporal::are_plain_times(array.as_primitive::<Time64MicrosecondType>().values()),
        DataType::Timestamp | DataType::TimestampTz => {
            temporal::are_plain_timestamps(array.as_primitive::<TimestampMicrosecondType>().values())
        }
        DataType::Decimal { .. }
        | DataType::Uint64
        | DataType::Json
        | DataType::Uuid
        | DataType::Interval
        | DataType::List(_) => false,
    }
}

fn numbers<T: ArrowPrimitiveType>(
    source: &Source<'_>,
    declared: &DataType,
    faults: &mut Faults,
    read: impl Fn(Sent<'_>) -> Result<T::Native, Fault>,
) -> ArrayRef {
    // the declared type only adds precision, scale or zone to T
    Arc::new(primitive::<T>(source, faults, read).with_data_type(declared.arrow()))
}

fn booleans(source: &Source<'_>, faults: &mut Faults) -> BooleanArray {
    let mut values = BooleanBufferBuilder::new(source.array.len());
    let mut nulls = NullBufferBuilder::new(source.array.len());
    source.visit(|sent| {
        let row = values.len();
        let value = sent.and_then(|v| number::boolean(v).map_err(|fault| faults.push((row, fault))).ok());
        values.append(value.unwrap_or_default());
        nulls.append(value.is_some());
    });
    BooleanArray::new(values.finish(), nulls.finish())
}
