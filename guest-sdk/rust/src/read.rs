//! Reading the fields of a source row out of a batch.
//!
//! Invariant: the host sends each column in the physical form of its declared
//! type, with as many values as rows, offsets that stay inside the data and
//! text that is UTF-8 (`wit/`: the host has checked). Only the last is relied
//! on without a check.

use crate::bindings::types::{self, ColumnData, Values, VarBytes};
use crate::data_type::DataType;
use crate::row::RowError;
use crate::value::{Element, ScalarValue, Value};
use crate::{Date, Decimal, Interval, Json, Time, Timestamp, TimestampTz, Uuid};

/// A field of a source row: something that a column of a batch can be read as.
#[diagnostic::on_unimplemented(
    message = "a source row cannot hold a `{Self}`",
    label = "not a column type",
    note = "column types are bool, i16, i32, i64, u64, f32, f64, String, &str, Vec<u8>, &[u8], Json, Date, \
            Time, Timestamp, TimestampTz, Interval, Uuid, Decimal<P, S>, Vec<T> of these, and Option<T>",
    note = "a row of another table is looked up: put #[lookup(on = \"…\")] on the field"
)]
pub trait SourceField<'a>: Sized {
    /// The type of the column.
    const TYPE: DataType;
    /// May it hold nulls?
    const NULLABLE: bool;
    /// The column, ready to be read row by row.
    type Columns;

    /// The column in this type's form; `None`: it has another.
    fn open(column: &'a types::Column) -> Option<Self::Columns>;

    /// The value of one row.
    ///
    /// # Errors
    /// A list that must hold no nulls holds one.
    fn read(column: &Self::Columns, row: usize) -> Result<Self, RowError>;
}

/// A value that is not null, read by position.
#[diagnostic::on_unimplemented(
    message = "a source row cannot hold a `{Self}`",
    label = "not a column type",
    note = "column types are bool, i16, i32, i64, u64, f32, f64, String, &str, Vec<u8>, &[u8], Json, Date, \
            Time, Timestamp, TimestampTz, Interval, Uuid, Decimal<P, S>, Vec<T> of these, and Option<T>"
)]
pub trait ReadValue<'a>: Value + Sized {
    /// The column, without its nulls.
    type View;

    /// The column in this type's form; `None`: it has another.
    fn view(data: &'a ColumnData) -> Option<Self::View>;

    /// The value at `row`.
    ///
    /// # Errors
    /// A list that must hold no nulls holds one.
    fn value(view: &Self::View, row: usize) -> Result<Self, RowError>;
}

impl<'a, T: ReadValue<'a>> SourceField<'a> for T {
    const TYPE: DataType = <T as Value>::TYPE;
    const NULLABLE: bool = false;
    type Columns = T::View;

    fn open(column: &'a types::Column) -> Option<T::View> {
        T::view(&column.data)
    }

    #[inline(always)]
    fn read(column: &T::View, row: usize) -> Result<T, RowError> {
        T::value(column, row)
    }
}

impl<'a, T: ReadValue<'a>> SourceField<'a> for Option<T> {
    const TYPE: DataType = <T as Value>::TYPE;
    const NULLABLE: bool = true;
    type Columns = (T::View, Option<&'a [u8]>);

    fn open(column: &'a types::Column) -> Option<Self::Columns> {
        Some((T::view(&column.data)?, column.validity.as_deref()))
    }

    #[inline(always)]
    fn read((view, validity): &Self::Columns, row: usize) -> Result<Self, RowError> {
        if is_valid(*validity, row) { T::value(view, row).map(Some) } else { Ok(None) }
    }
}

#[inline(always)]
pub(crate) fn is_valid(validity: Option<&[u8]>, row: usize) -> bool {
    validity.is_none_or(|bits| bits[row / 8] >> (row % 8) & 1 == 1)
}

/// A scalar out of flat values.
pub trait ReadScalar<'a>: ScalarValue + Sized {
    /// The values in this type's form.
    type Slice: Copy;

    /// The values in this type's form; `None`: they have another.
    fn slice(values: &'a Values) -> Option<Self::Slice>;

    /// The value at `index`.
    fn at(slice: Self::Slice, index: usize) -> Self;
}

macro_rules! read_values {
    ($($type:ty;)*) => {$(
        impl<'a> ReadValue<'a> for $type {
            read_values!(body);
        }
    )*};
    (body) => {
        type View = <Self as ReadScalar<'a>>::Slice;

        fn view(data: &'a ColumnData) -> Option<Self::View> {
            match data {
                ColumnData::Scalar(values) => Self::slice(values),
                ColumnData::ListOf(_) => None,
            }
        }

        #[inline(always)]
        fn value(view: &Self::View, row: usize) -> Result<Self, RowError> {
            Ok(Self::at(*view, row))
        }
    };
}

read_values! {
    bool; i16; i32; i64; u64; f32; f64; String; Vec<u8>; Json;
    Date; Time; Timestamp; TimestampTz; Uuid; Interval;
}

impl<'a> ReadValue<'a> for &'a str {
    read_values!(body);
}
impl<'a> ReadValue<'a> for &'a [u8] {
    read_values!(body);
}
impl<'a> ReadValue<'a> for Json<&'a str> {
    read_values!(body);
}
impl<'a, const P: u8, const S: u8> ReadValue<'a> for Decimal<P, S> {
    read_values!(body);
}

macro_rules! read_fixed {
    ($($type:ty, $form:ident, $raw:ty, |$value:ident| $make:expr;)*) => {$(
        impl<'a> ReadScalar<'a> for $type {
            type Slice = &'a [$raw];

            fn slice(values: &'a Values) -> Option<&'a [$raw]> {
                match values {
                    Values::$form(values) => Some(values),
                    _ => None,
                }
            }

            #[inline(always)]
            fn at(slice: &'a [$raw], index: usize) -> Self {
                let $value = slice[index];
                $make
            }
        }
    )*};
}

read_fixed! {
    i16, S16s, i16, |value| value;
    i32, S32s, i32, |value| value;
    i64, S64s, i64, |value| value;
    u64, U64s, u64, |value| value;
    f32, F32s, f32, |value| value;
    f64, F64s, f64, |value| value;
    Date, S32s, i32, |days| Self::from_days(days);
    Time, S64s, i64, |micros| Self::from_micros(micros);
    Timestamp, S64s, i64, |micros| Self::from_micros(micros);
    TimestampTz, S64s, i64, |micros| Self::from_micros(micros);
    Interval, S64s, i64, |micros| Self::from_micros(micros);
}

impl<'a> ReadScalar<'a> for bool {
    type Slice = &'a [u8];

    fn slice(values: &'a Values) -> Option<&'a [u8]> {
        match values {
            Values::Bits(bits) => Some(bits),
            _ => None,
        }
    }

    #[inline(always)]
    fn at(slice: &'a [u8], index: usize) -> Self {
        slice[index / 8] >> (index % 8) & 1 == 1
    }
}

impl<'a> ReadScalar<'a> for Uuid {
    type Slice = &'a [u8];

    fn slice(values: &'a Values) -> Option<&'a [u8]> {
        match values {
            Values::Bytes16(bytes) => Some(bytes),
            _ => None,
        }
    }

    #[inline(always)]
    fn at(slice: &'a [u8], index: usize) -> Self {
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&slice[index * 16..index * 16 + 16]);
        Self::from_bytes(bytes)
    }
}

/// The two physical forms of decimals; which one is fixed by the precision.
#[derive(Clone, Copy)]
pub enum DecimalSlice<'a> {
    /// up to 18 digits
    Narrow(&'a [i64]),
    /// 19 to 38 digits, two words each
    Wide(&'a [u64]),
}

impl<'a, const P: u8, const S: u8> ReadScalar<'a> for Decimal<P, S> {
    type Slice = DecimalSlice<'a>;

    fn slice(values: &'a Values) -> Option<DecimalSlice<'a>> {
        match values {
            Values::S64s(values) if Self::IS_NARROW => Some(DecimalSlice::Narrow(values)),
            Values::Words128(words) if !Self::IS_NARROW => Some(DecimalSlice::Wide(words)),
            _ => None,
        }
    }

    #[inline(always)]
    fn at(slice: DecimalSlice<'a>, index: usize) -> Self {
        match slice {
            DecimalSlice::Narrow(values) => Self::from_units_unchecked(values[index].into()),
            DecimalSlice::Wide(words) => {
                let (low, high) = (words[2 * index], words[2 * index + 1]);
                Self::from_units_unchecked((u128::from(high) << 64 | u128::from(low)) as i128)
            }
        }
    }
}

/// Variable-length values: offsets and the bytes.
#[derive(Clone, Copy)]
pub struct VarSlice<'a> {
    offsets: &'a [u32],
    data: &'a [u8],
}

impl<'a> VarSlice<'a> {
    fn of(values: &'a Values) -> Option<Self> {
        match values {
            Values::VarBytes(VarBytes { offsets, data }) => Some(Self { offsets, data }),
            _ => None,
        }
    }

    #[inline(always)]
    fn bytes(self, index: usize) -> &'a [u8] {
        &self.data[self.offsets[index] as usize..self.offsets[index + 1] as usize]
    }

    #[inline(always)]
    fn text(self, index: usize) -> &'a str {
        // SAFETY: only text and json columns are read as text, and the contract
        // says that the host has checked each value of those to be UTF-8.
        // Checking again costs a third of the row's time.
        unsafe { str::from_utf8_unchecked(self.bytes(index)) }
    }
}

macro_rules! read_var {
    ($($type:ty, |$slice:ident, $index:ident| $make:expr;)*) => {$(
        impl<'a> ReadScalar<'a> for $type {
            type Slice = VarSlice<'a>;

            fn slice(values: &'a Values) -> Option<VarSlice<'a>> {
                VarSlice::of(values)
            }

            #[inline(always)]
            fn at($slice: VarSlice<'a>, $index: usize) -> Self {
                $make
            }
        }
    )*};
}

read_var! {
    &'a str, |slice, index| slice.text(index);
    String, |slice, index| slice.text(index).to_owned();
    &'a [u8], |slice, index| slice.bytes(index);
    Vec<u8>, |slice, index| slice.bytes(index).to_owned();
    Json<&'a str>, |slice, index| Json(slice.text(index));
    Json, |slice, index| Json(slice.text(index).to_owned());
}

/// An element of a list, or why it cannot be read.
pub trait ReadElement<'a>: Element + Sized {
    /// The scalar of the elements.
    type Scalar: ReadScalar<'a>;

    /// From a scalar, or a null.
    ///
    /// # Errors
    /// It is null, and this type has no null.
    fn element(scalar: Option<Self::Scalar>) -> Result<Self, RowError>;
}

impl<'a, T: ReadScalar<'a>> ReadElement<'a> for T {
    type Scalar = T;

    fn element(scalar: Option<T>) -> Result<T, RowError> {
        scalar.ok_or_else(|| {
            RowError::new(
                "null-element",
                "a list holds a null; read it as Vec<Option<T>> if that is meant to be",
            )
        })
    }
}

impl<'a, T: ReadScalar<'a>> ReadElement<'a> for Option<T> {
    type Scalar = T;

    fn element(scalar: Option<T>) -> Result<Option<T>, RowError> {
        Ok(scalar)
    }
}

/// A list column: offsets, elements, their validity.
pub struct ListView<'a, S> {
    offsets: &'a [u32],
    elements: S,
    validity: Option<&'a [u8]>,
}

impl<'a, T: ReadElement<'a>> ReadValue<'a> for Vec<T> {
    type View = ListView<'a, <T::Scalar as ReadScalar<'a>>::Slice>;

    fn view(data: &'a ColumnData) -> Option<Self::View> {
        match data {
            ColumnData::ListOf(list) => Some(ListView {
                offsets: &list.offsets,
                elements: T::Scalar::slice(&list.elements)?,
                validity: list.validity.as_deref(),
            }),
            ColumnData::Scalar(_) => None,
        }
    }

    fn value(view: &Self::View, row: usize) -> Result<Self, RowError> {
        (view.offsets[row] as usize..view.offsets[row + 1] as usize)
            .map(|index| {
                T::element(is_valid(view.validity, index).then(|| T::Scalar::at(view.elements, index)))
            })
            .collect()
    }
}
