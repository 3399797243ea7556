//! One column under construction: JSON values in, an Arrow array out.
//!
//! Owns the parsing of a value as its wire type. Does not own what happens when
//! one does not fit (`layout`). Invariant: an append either adds exactly one
//! row or, failing, leaves what [`Column::truncate`] removes.

use std::sync::Arc;

use arrow::array::{
    ArrayData, ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, ListArray, NullArray,
    NullBufferBuilder, StringArray, make_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, i256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::json::{self, Kind, Lexeme};
use super::wire_type::WireType;
use super::{decimal, number, time};

/// The value cannot be stored as the column's type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit;

/// See the module.
#[derive(Debug)]
pub(super) struct Column {
    ty: WireType,
    nulls: NullBufferBuilder,
    values: Values,
}

#[derive(Debug)]
enum Values {
    /// nothing but nulls
    None,
    Bits(BooleanBufferBuilder),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I128(Vec<i128>),
    I256(Vec<i256>),
    /// text or bytes, with offsets
    Bytes(Vec<u8>, Vec<i32>),
    /// items, with offsets
    List(Box<Column>, Vec<i32>),
}

impl Values {
    fn new(ty: &WireType) -> Self {
        match ty {
            WireType::Null => Self::None,
            WireType::Boolean => Self::Bits(BooleanBufferBuilder::new(0)),
            WireType::Int16 => Self::I16(Vec::new()),
            WireType::Int32(_) => Self::I32(Vec::new()),
            WireType::Int64(_) | WireType::ZonedTimestamp => Self::I64(Vec::new()),
            WireType::Float32 => Self::F32(Vec::new()),
            WireType::Float64 => Self::F64(Vec::new()),
            WireType::Decimal128(..) => Self::I128(Vec::new()),
            WireType::Decimal256(..) => Self::I256(Vec::new()),
            WireType::DecimalText(_)
            | WireType::VariableDecimal
            | WireType::Text
            | WireType::Bytes
            | WireType::Json => Self::Bytes(Vec::new(), vec![0]),
            WireType::List(item) => Self::List(Box::new(Column::new(item)), vec![0]),
        }
    }

    fn truncate(&mut self, rows: usize) {
        let end = |offsets: &mut Vec<i32>| {
            offsets.truncate(rows + 1);
            offsets.last().map_or(0, |end| usize::try_from(*end).unwrap_or(0))
        };
        match self {
            Self::None => {}
            Self::Bits(bits) => bits.truncate(rows),
            Self::I16(values) => values.truncate(rows),
            Self::I32(values) => values.truncate(rows),
            Self::I64(values) => values.truncate(rows),
            Self::F32(values) => values.truncate(rows),
            Self::F64(values) => values.truncate(rows),
            Self::I128(values) => values.truncate(rows),
            Self::I256(values) => values.truncate(rows),
            Self::Bytes(bytes, offsets) => bytes.truncate(end(offsets)),
            Self::List(items, offsets) => items.truncate(end(offsets)),
        }
    }
}

impl Column {
    pub(super) fn new(ty: &WireType) -> Self {
        Self { ty: ty.clone(), nulls: NullBufferBuilder::new(1024), values: Values::new(ty) }
    }

    pub(super) fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Do its values vary in length?
    pub(super) fn has_text(&self) -> bool {
        matches!(self.values, Values::Bytes(..) | Values::List(..))
    }

    /// Bytes of variable length held so far.
    pub(super) fn text_bytes(&self) -> usize {
        match &self.values {
            Values::Bytes(bytes, _) => bytes.len(),
            Values::List(items, _) => items.len() * items.ty.fixed_bytes() + items.text_bytes(),
            _ => 0,
        }
    }

    /// Gives a column of nulls the type that its first value asks for.
    pub(super) fn retype(&mut self, ty: &WireType) {
        let rows = self.len();
        *self = Self::new(ty);
        for _ in 0..rows {
            self.append_null();
        }
    }

    /// Forgets the rows from `rows` on.
    pub(super) fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        self.values.truncate(rows);
    }

    pub(super) fn append_null(&mut self) {
        self.nulls.append_null();
        match &mut self.values {
            Values::None => {}
            Values::Bits(bits) => bits.append(false),
            Values::I16(values) => values.push(0),
            Values::I32(values) => values.push(0),
            Values::I64(values) => values.push(0),
            Values::F32(values) => values.push(0.0),
            Values::F64(values) => values.push(0.0),
            Values::I128(values) => values.push(0),
            Values::I256(values) => values.push(i256::ZERO),
            Values::Bytes(_, offsets) | Values::List(_, offsets) => {
                offsets.push(offsets.last().copied().unwrap_or(0));
            }
        }
    }

    /// Appends `value`; an absent one is a null.
    ///
    /// # Errors
    /// If it does not fit the column; the row must then be truncated.
    #[inline]
    pub(super) fn append(&mut self, value: Lexeme<'_>) -> Result<(), Misfit> {
        if value.is_null() {
            self.append_null();
            return Ok(());
        }
        self.append_value(value).ok_or(Misfit)?;
        self.nulls.append_non_null();
        Ok(())
    }

    #[inline]
    fn append_value(&mut self, value: Lexeme<'_>) -> Option<()> {
        let integer = || if value.kind == Kind::Integer { number::integer(value.text) } else { None };
        match (&mut self.values, &self.ty) {
            (Values::None, _) => return None,
            (Values::Bits(bits), _) => bits.append(match value.kind {
                Kind::True => true,
                Kind::False => false,
                _ => return None,
            }),
            (Values::I16(values), _) => values.push(i16::try_from(integer()?).ok()?),
            (Values::I32(values), _) => values.push(i32::try_from(integer()?).ok()?),
            (Values::I64(values), WireType::ZonedTimestamp) => values.push(match value.kind {
                Kind::Plain => time::zoned_us(value.body())?,
                _ => return None,
            }),
            (Values::I64(values), _) => values.push(integer()?),
            (Values::F32(values), _) => values.push(number::float32(value)?),
            (Values::F64(values), _) => values.push(number::float64(value)?),
            (Values::I128(values), WireType::Decimal128(precision, scale)) => {
                values.push(decimal::decimal128(value, *precision, *scale)?);
            }
            (Values::I256(values), WireType::Decimal256(precision, scale)) => {
                values.push(decimal::decimal256(value, *precision, *scale)?);
            }
            (Values::Bytes(bytes, offsets), ty) => {
                append_bytes(bytes, ty, value)?;
                offsets.push(i32::try_from(bytes.len()).ok()?);
            }
            (Values::List(items, offsets), _) => {
                if value.kind != Kind::Array {
                    return None;
                }
                for item in json::items(value.text).ok()? {
                    items.append(Lexeme::of(item.get())).ok()?;
                }
                offsets.push(i32::try_from(items.len()).ok()?);
            }
            (Values::I128(_) | Values::I256(_), _) => unreachable!("the storage follows the type"),
        }
        Some(())
    }

    /// Appends text, or a null, to a column of text.
    pub(super) fn append_text(&mut self, value: Option<&str>) {
        match (&mut self.values, value) {
            (Values::Bytes(bytes, offsets), Some(value)) => {
                bytes.extend_from_slice(value.as_bytes());
                offsets
                    .push(i32::try_from(bytes.len()).expect("a batch is closed long before 2 GiB of text"));
                self.nulls.append_non_null();
            }
            _ => self.append_null(),
        }
    }

    /// The array of all rows.
    pub(super) fn finish(self) -> ArrayRef {
        let rows = self.len();
        let nulls = self.nulls.build().filter(|nulls| nulls.null_count() > 0);
        let data_type = self.ty.arrow();
        match self.values {
            Values::None => Arc::new(NullArray::new(rows)),
            Values::Bits(bits) => Arc::new(BooleanArray::new(bits.build(), nulls)),
            Values::I16(values) => primitive(data_type, rows, Buffer::from_vec(values), nulls),
            Values::I32(values) => primitive(data_type, rows, Buffer::from_vec(values), nulls),
            Values::I64(values) => primitive(data_type, rows, Buffer::from_vec(values), nulls),
            Values::F32(values) => primitive(data_type, rows, Buffer::from_vec(values), nulls),
            Values::F64(values) => primitive(data_type, rows, Buffer::from_vec(values), nulls),
            Values::I128(values) => primitive(data_type, rows, Buffer::from_vec(values), nulls),
            Values::I256(values) => primitive(data_type, rows, Buffer::from_vec(values), nulls),
            Values::Bytes(bytes, offsets) if data_type == DataType::Binary => {
                Arc::new(BinaryArray::new(OffsetBuffer::new(offsets.into()), Buffer::from_vec(bytes), nulls))
            }
            Values::Bytes(bytes, offsets) => text(bytes, offsets, nulls),
            Values::List(items, offsets) => {
                let field = Arc::new(Field::new_list_field(items.ty.arrow(), true));
                Arc::new(ListArray::new(field, OffsetBuffer::new(offsets.into()), items.finish(), nulls))
            }
        }
    }
}

fn append_bytes(bytes: &mut Vec<u8>, ty: &WireType, value: Lexeme<'_>) -> Option<()> {
    match (ty, value.kind) {
        (WireType::Text, Kind::Plain) => bytes.extend_from_slice(value.body()),
        (WireType::Text, Kind::Escaped) => json::unescape(value.body(), bytes)?,
        (WireType::Bytes, Kind::Plain) => STANDARD.decode_vec(value.body(), bytes).ok()?,
        (WireType::VariableDecimal, _) => decimal::variable_scale_text(value, bytes)?,
        (WireType::DecimalText(scale), _) => decimal::fixed_scale_text(value, *scale, bytes)?,
        (WireType::Json, _) => bytes.extend_from_slice(value.text),
        _ => return None,
    }
    Some(())
}

fn primitive(data_type: DataType, rows: usize, values: Buffer, nulls: Option<NullBuffer>) -> ArrayRef {
    let data = ArrayData::builder(data_type).len(rows).add_buffer(values).nulls(nulls).build();
    make_array(data.expect("the buffer holds one value of the type's width for each row"))
}

/// Text, with offsets.
pub(super) fn text(bytes: Vec<u8>, offsets: Vec<i32>, nulls: Option<NullBuffer>) -> ArrayRef {
    let array = StringArray::try_new(OffsetBuffer::new(offsets.into()), Buffer::from_vec(bytes), nulls);
    Arc::new(array.expect("lexemes are UTF-8, and are cut at characters"))
}
