//! Arrow arrays → the columns of a call, borrowed where Arrow's layout is the
//! contract's, realigned where an array is a slice that begins inside a byte or
//! has offsets that do not begin at 0.

use arrow::array::{Array, AsArray};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType as Arrow, Date32Type, Decimal64Type, Decimal128Type,
    DurationMicrosecondType, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type,
    Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
};
use dabi_core::spec::{Input, Spec};

use super::types;
use crate::transform::InputBatch;

/// The columns of a batch that enter the module, in the contract's layout.
pub(in crate::transform) struct Batch {
    rows: u32,
    columns: Vec<Column>,
}

struct Column {
    data: ColumnData,
    validity: Option<Buffer>,
}

enum ColumnData {
    Scalar(Values),
    List { offsets: Buffer, elements: Values, validity: Option<Buffer> },
}

enum Values {
    Bits(Buffer),
    S16s(Buffer),
    S32s(Buffer),
    S64s(Buffer),
    U64s(Buffer),
    F32s(Buffer),
    F64s(Buffer),
    Words128(Buffer),
    VarBytes { offsets: Buffer, data: Buffer },
    Bytes16(Buffer),
}

impl Batch {
    /// Checks a batch against the declaration and lays it out.
    pub(in crate::transform) fn new(spec: &Spec, input: &InputBatch) -> Result<Self, String> {
        let rows = u32::try_from(input.rows).map_err(|_| format!("{} rows in one batch", input.rows))?;
        let declared = spec.inputs();
        let wanted = declared.len();
        if input.columns.len() != wanted {
            return Err(format!("{} columns instead of {wanted}", input.columns.len()));
        }
        let mut columns = Vec::with_capacity(wanted);
        for (declared, array) in declared.zip(&input.columns) {
            check(declared, array, input.rows)?;
            if declared.column.read {
                columns.push(Column { data: ColumnData::of(array)?, validity: validity(array.nulls()) });
            }
        }
        Ok(Self { rows, columns })
    }

    /// Bytes that the call copies into the module.
    pub(in crate::transform) fn bytes(&self) -> usize {
        self.columns
            .iter()
            .map(|column| column.data.bytes() + column.validity.as_ref().map_or(0, Buffer::len))
            .sum()
    }

    /// Calls `code` with the argument of `apply`.
    pub(in crate::transform) fn with_params<T>(&self, code: impl FnOnce(types::Batch<'_>) -> T) -> T {
        let columns: Vec<_> = self.columns.iter().map(Column::param).collect();
        code(types::Batch { rows: self.rows, columns: &columns })
    }
}

fn check(declared: Input<'_>, array: &dyn Array, rows: usize) -> Result<(), String> {
    let wanted = declared.column.data_type.arrow();
    if *array.data_type() != wanted {
        return Err(format!("column {declared} is {} instead of {wanted}", array.data_type()));
    }
    if array.len() != rows {
        return Err(format!("column {declared} has {} values for {rows} rows", array.len()));
    }
    if !declared.can_be_null && array.null_count() > 0 {
        return Err(format!("column {declared} is declared non-null and has {} nulls", array.null_count()));
    }
    Ok(())
}

impl Column {
    fn param(&self) -> types::ColumnParam<'_> {
        types::ColumnParam {
            data: match &self.data {
                ColumnData::Scalar(values) => types::ColumnDataParam::Scalar(values.param()),
                ColumnData::List { offsets, elements, validity } => {
                    types::ColumnDataParam::ListOf(types::ListColumnParam {
                        offsets: offsets.typed_data(),
                        elements: elements.param(),
                        validity: validity.as_deref(),
                    })
                }
            },
            validity: self.validity.as_deref(),
        }
    }
}

impl ColumnData {
    fn of(array: &dyn Array) -> Result<Self, String> {
        let Arrow::List(_) = array.data_type() else { return Ok(Self::Scalar(Values::of(array)?)) };
        let list = array.as_list::<i32>();
        let (offsets, start, length) = offsets(list.offsets());
        let elements = list.values().slice(start, length);
        Ok(Self::List { offsets, elements: Values::of(&elements)?, validity: validity(elements.nulls()) })
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Scalar(values) => values.bytes(),
            Self::List { offsets, elements, validity } => {
                offsets.len() + elements.bytes() + validity.as_ref().map_or(0, Buffer::len)
            }
        }
    }
}

impl Values {
    fn of(array: &dyn Array) -> Result<Self, String> {
        use arrow::datatypes::TimeUnit::Microsecond;
        Ok(match array.data_type() {
            Arrow::Boolean => Self::Bits(bits(array.as_boolean().values())),
            Arrow::Int16 => Self::S16s(raw::<Int16Type>(array)),
            Arrow::Int32 => Self::S32s(raw::<Int32Type>(array)),
            Arrow::Date32 => Self::S32s(raw::<Date32Type>(array)),
            Arrow::Int64 => Self::S64s(raw::<Int64Type>(array)),
            Arrow::Decimal64(..) => Self::S64s(raw::<Decimal64Type>(array)),
            Arrow::Time64(Microsecond) => Self::S64s(raw::<Time64MicrosecondType>(array)),
            Arrow::Timestamp(Microsecond, _) => Self::S64s(raw::<TimestampMicrosecondType>(array)),
            Arrow::Duration(Microsecond) => Self::S64s(raw::<DurationMicrosecondType>(array)),
            Arrow::UInt64 => Self::U64s(raw::<UInt64Type>(array)),
            Arrow::Float32 => Self::F32s(raw::<Float32Type>(array)),
            Arrow::Float64 => Self::F64s(raw::<Float64Type>(array)),
            // On a little-endian machine an i128 is the low word, then the high.
            Arrow::Decimal128(..) => Self::Words128(raw::<Decimal128Type>(array)),
            Arrow::Utf8 => {
                let text = array.as_string::<i32>();
                var_bytes(text.offsets(), text.values())
            }
            Arrow::Binary => {
                let bytes = array.as_binary::<i32>();
                var_bytes(bytes.offsets(), bytes.values())
            }
            Arrow::FixedSizeBinary(16) => Self::Bytes16(array.as_fixed_size_binary().values().clone()),
            other => return Err(format!("{other} is not a form of the contract")),
        })
    }

    fn param(&self) -> types::ValuesParam<'_> {
        match self {
            Self::Bits(buffer) => types::ValuesParam::Bits(buffer),
            Self::S16s(buffer) => types::ValuesParam::S16s(buffer.typed_data()),
            Self::S32s(buffer) => types::ValuesParam::S32s(buffer.typed_data()),
            Self::S64s(buffer) => types::ValuesParam::S64s(buffer.typed_data()),
            Self::U64s(buffer) => types::ValuesParam::U64s(buffer.typed_data()),
            Self::F32s(buffer) => types::ValuesParam::F32s(buffer.typed_data()),
            Self::F64s(buffer) => types::ValuesParam::F64s(buffer.typed_data()),
            Self::Words128(buffer) => types::ValuesParam::Words128(buffer.typed_data()),
            Self::VarBytes { offsets, data } => {
                types::ValuesParam::VarBytes(types::VarBytesParam { offsets: offsets.typed_data(), data })
            }
            Self::Bytes16(buffer) => types::ValuesParam::Bytes16(buffer),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Bits(buffer)
            | Self::S16s(buffer)
            | Self::S32s(buffer)
            | Self::S64s(buffer)
            | Self::U64s(buffer)
            | Self::F32s(buffer)
            | Self::F64s(buffer)
            | Self::Words128(buffer)
            | Self::Bytes16(buffer) => buffer.len(),
            Self::VarBytes { offsets, data } => offsets.len() + data.len(),
        }
    }
}

fn raw<T: ArrowPrimitiveType>(array: &dyn Array) -> Buffer {
    array.as_primitive::<T>().values().inner().clone()
}

fn var_bytes(offsets_array: &OffsetBuffer<i32>, values: &Buffer) -> Values {
    let (offsets, start, length) = offsets(offsets_array);
    Values::VarBytes { offsets, data: values.slice_with_length(start, length) }
}

/// Offsets that begin at 0, as unsigned, and which values they span. An offset
/// is never negative, so the bytes are the same.
fn offsets(offsets: &OffsetBuffer<i32>) -> (Buffer, usize, usize) {
    let (start, end) = (offsets[0], offsets[offsets.len() - 1]);
    let buffer = if start == 0 {
        offsets.inner().inner().clone()
    } else {
        Buffer::from_iter(offsets.iter().map(|offset| offset - start))
    };
    (buffer, start.unsigned_abs() as usize, (end - start).unsigned_abs() as usize)
}

/// The bits from bit 0 on, and no bytes beyond them.
fn bits(bits: &BooleanBuffer) -> Buffer {
    bits.sliced().slice_with_length(0, bits.len().div_ceil(8))
}

fn validity(nulls: Option<&NullBuffer>) -> Option<Buffer> {
    nulls.filter(|nulls| nulls.null_count() > 0).map(|nulls| bits(nulls.inner()))
}
