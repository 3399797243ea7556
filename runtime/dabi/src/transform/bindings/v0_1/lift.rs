//! Columns of an answer → Arrow arrays, believing nothing.
//!
//! What is wrong with the column as a whole (a length, an offset, a byte that
//! is not UTF-8) makes the answer unusable; what is wrong with single values (a
//! null where none may be, a decimal too wide) is a [`Fault`] of their rows.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, StringArray,
};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{
    ArrowNativeType, ArrowPrimitiveType, Date32Type, Decimal64Type, Decimal128Type, DurationMicrosecondType,
    Field, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, UInt64Type,
};
use dabi_core::data_type::DataType;

use super::types;

#[cfg(test)]
mod tests;

/// A value that its column cannot hold, by its place among the output rows.
pub(in crate::transform) struct Fault {
    pub row: usize,
    pub code: &'static str,
    pub message: String,
}

/// One column of `rows` values as the array of its declared type.
pub(in crate::transform) fn column(
    name: &str,
    data_type: &DataType,
    rows: usize,
    column: types::ColumnResult,
    faults: &mut Vec<Fault>,
) -> Result<ArrayRef, String> {
    let place = |cause| format!("column {name}: {cause}");
    let nulls = nulls(column.validity, rows).map_err(place)?;
    let array = match (data_type, column.data) {
        (DataType::List(item), types::ColumnDataResult::ListOf(data)) => {
            list(name, item, rows, data, nulls, faults).map_err(place)?
        }
        (DataType::List(_), types::ColumnDataResult::Scalar(_)) => {
            return Err(place("it is not a list".into()));
        }
        (_, types::ColumnDataResult::Scalar(data)) => {
            let array = values(data_type, rows, data, nulls).map_err(place)?;
            check_digits(name, data_type, &array, |value| value, faults);
            array
        }
        (_, types::ColumnDataResult::ListOf(_)) => return Err(place("it is a list".into())),
    };
    Ok(array)
}

fn list(
    name: &str,
    item: &DataType,
    rows: usize,
    list: types::ListColumnResult,
    nulls: Option<NullBuffer>,
    faults: &mut Vec<Fault>,
) -> Result<ArrayRef, String> {
    let offsets = offsets(list.offsets, rows)?;
    let length = end(&offsets);
    let element_nulls =
        self::nulls(list.validity, length).map_err(|cause| format!("its elements: {cause}"))?;
    let elements = values(item, length, list.elements, element_nulls)
        .map_err(|cause| format!("its elements: {cause}"))?;
    // The row of element i is the last one that begins at or before i.
    let row_of = |element: usize| offsets[1..].partition_point(|offset| offset.as_usize() <= element);
    check_digits(name, item, &elements, row_of, faults);
    let field = Arc::new(Field::new_list_field(item.arrow(), true));
    array(ListArray::try_new(field, offsets, elements, nulls))
}

fn values(
    data_type: &DataType,
    length: usize,
    values: types::ValuesResult,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, String> {
    use types::ValuesResult as V;
    match (data_type, values) {
        (DataType::Boolean, V::Bits(bits)) => array(Ok(BooleanArray::new(bitmap(bits, length)?, nulls))),
        (DataType::Int16, V::S16s(values)) => primitive::<Int16Type>(values, length, nulls),
        (DataType::Int32, V::S32s(values)) => primitive::<Int32Type>(values, length, nulls),
        (DataType::Int64, V::S64s(values)) => primitive::<Int64Type>(values, length, nulls),
        (DataType::Uint64, V::U64s(values)) => primitive::<UInt64Type>(values, length, nulls),
        (DataType::Float32, V::F32s(values)) => primitive::<Float32Type>(values, length, nulls),
        (DataType::Float64, V::F64s(values)) => primitive::<Float64Type>(values, length, nulls),
        (DataType::Decimal { .. }, V::S64s(values)) if data_type.is_decimal64() => {
            typed::<Decimal64Type>(data_type, values, length, nulls)
        }
        (DataType::Decimal { .. }, V::Words128(words)) if !data_type.is_decimal64() => {
            typed::<Decimal128Type>(data_type, wide(&words), length, nulls)
        }
        (DataType::Text | DataType::Json, V::VarBytes(bytes)) => {
            let (offsets, data) = var_bytes(bytes, length)?;
            array(StringArray::try_new(offsets, data, nulls))
        }
        (DataType::Bytes, V::VarBytes(bytes)) => {
            let (offsets, data) = var_bytes(bytes, length)?;
            array(BinaryArray::try_new(offsets, data, nulls))
        }
        (DataType::Date, V::S32s(values)) => primitive::<Date32Type>(values, length, nulls),
        (DataType::Time, V::S64s(values)) => primitive::<Time64MicrosecondType>(values, length, nulls),
        (DataType::Timestamp | DataType::TimestampTz, V::S64s(values)) => {
            typed::<TimestampMicrosecondType>(data_type, values, length, nulls)
        }
        (DataType::Interval, V::S64s(values)) => primitive::<DurationMicrosecondType>(values, length, nulls),
        (DataType::Uuid, V::Bytes16(bytes)) => {
            check_length(bytes.len(), length.checked_mul(16))?;
            array(FixedSizeBinaryArray::try_new(16, Buffer::from_vec(bytes), nulls))
        }
        (declared, _) => Err(format!("its values are not in the form of {declared}")),
    }
}

fn array<A: Array + 'static>(array: Result<A, arrow::error::ArrowError>) -> Result<ArrayRef, String> {
    array.map(|array| Arc::new(array) as ArrayRef).map_err(|error| error.to_string())
}

fn primitive<T: ArrowPrimitiveType>(
    values: Vec<T::Native>,
    length: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, String> {
    check_length(values.len(), Some(length))?;
    array(PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), nulls))
}

/// As `primitive`, with the parameters (precision, scale, zone) of the type.
fn typed<T: ArrowPrimitiveType>(
    data_type: &DataType,
    values: Vec<T::Native>,
    length: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, String> {
    check_length(values.len(), Some(length))?;
    let values =
        PrimitiveArray::<T>::try_new(ScalarBuffer::from(values), nulls).map_err(|error| error.to_string())?;
    Ok(Arc::new(values.with_data_type(data_type.arrow())))
}

/// Pairs of words as 128-bit values; half a pair makes the length wrong.
fn wide(words: &[u64]) -> Vec<i128> {
    words
        .chunks(2)
        .map(|pair| {
            let (low, high) = (pair[0], pair.get(1).copied().unwrap_or_default());
            (u128::from(high) << 64 | u128::from(low)).cast_signed()
        })
        .collect()
}

fn check_length(length: usize, wanted: Option<usize>) -> Result<(), String> {
    if Some(length) == wanted {
        Ok(())
    } else {
        Err(format!("it has {length} values instead of {}", wanted.unwrap_or(usize::MAX)))
    }
}

fn var_bytes(bytes: types::VarBytesResult, length: usize) -> Result<(OffsetBuffer<i32>, Buffer), String> {
    let offsets = offsets(bytes.offsets, length)?;
    if end(&offsets) != bytes.data.len() {
        return Err(format!("its offsets end at {}, its data at {}", end(&offsets), bytes.data.len()));
    }
    Ok((offsets, Buffer::from_vec(bytes.data)))
}

fn end(offsets: &OffsetBuffer<i32>) -> usize {
    offsets[offsets.len() - 1].as_usize()
}

/// Offsets that begin at 0, never fall, and stay below 2 GiB.
fn offsets(offsets: Vec<u32>, length: usize) -> Result<OffsetBuffer<i32>, String> {
    if offsets.len() != length + 1 {
        return Err(format!("it has {} offsets for {length} values", offsets.len()));
    }
    if offsets[0] != 0 {
        return Err(format!("its offsets begin at {} instead of 0", offsets[0]));
    }
    if offsets.windows(2).any(|pair| pair[1] < pair[0]) {
        return Err("its offsets fall".into());
    }
    if i32::try_from(offsets[length]).is_err() {
        return Err(format!("its offsets reach {}; a column of one batch is below 2 GiB", offsets[length]));
    }
    let count = offsets.len();
    Ok(OffsetBuffer::new(ScalarBuffer::new(Buffer::from_vec(offsets), 0, count)))
}

fn bitmap(bits: Vec<u8>, length: usize) -> Result<BooleanBuffer, String> {
    if bits.len() != length.div_ceil(8) {
        return Err(format!("its bitmap has {} bytes for {length} values", bits.len()));
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(bits), 0, length))
}

fn nulls(validity: Option<Vec<u8>>, length: usize) -> Result<Option<NullBuffer>, String> {
    let Some(validity) = validity else { return Ok(None) };
    let bits = bitmap(validity, length).map_err(|cause| format!("validity: {cause}"))?;
    Ok(Some(NullBuffer::new(bits)).filter(|nulls| nulls.null_count() > 0))
}

/// Finds the decimals that have more digits than declared.
fn check_digits(
    name: &str,
    data_type: &DataType,
    values: &ArrayRef,
    row_of: impl Fn(usize) -> usize,
    faults: &mut Vec<Fault>,
) {
    use arrow::array::AsArray;

    let DataType::Decimal { precision, .. } = data_type else { return };
    let limit = 10_u128.pow(u32::from(*precision));
    let mut check = |index: usize, magnitude: u128| {
        if magnitude >= limit && values.is_valid(index) {
            faults.push(Fault {
                row: row_of(index),
                code: "decimal-overflow",
                message: format!("column {name}: a value has more digits than {data_type} can hold"),
            });
        }
    };
    if data_type.is_decimal64() {
        let values = values.as_primitive::<Decimal64Type>().values();
        values.iter().enumerate().for_each(|(index, value)| check(index, value.unsigned_abs().into()));
    } else {
        let values = values.as_primitive::<Decimal128Type>().values();
        values.iter().enumerate().for_each(|(index, value)| check(index, value.unsigned_abs()));
    }
}
