//! Writing the fields of star rows into the columns of an answer.

use crate::bindings::types::{self, ColumnData, ListColumn, Values, VarBytes};
use crate::data_type::DataType;
use crate::value::{Element, ScalarValue, Value};
use crate::{Date, Decimal, Interval, Json, Time, Timestamp, TimestampTz, Uuid};

/// A field of a star row: something that can be written into a column.
#[diagnostic::on_unimplemented(
    message = "a star row cannot hold a `{Self}`",
    label = "not a column type",
    note = "column types are bool, i16, i32, i64, u64, f32, f64, String, &str, Vec<u8>, &[u8], Json, Date, \
            Time, Timestamp, TimestampTz, Interval, Uuid, Decimal<P, S>, Vec<T> of these, Option<T>, and \
            Passed<T> for a column that the host takes from the source row"
)]
pub trait StarField {
    /// The type of the column.
    const TYPE: DataType;
    /// May it hold nulls?
    const NULLABLE: bool;
    /// Does the host fill it from the source row?
    const PASSED: bool;
    /// The column while rows are written.
    type Builder;

    /// An empty column with room for `rows`.
    fn builder(rows: usize) -> Self::Builder;
    /// Appends this value.
    fn write(self, builder: &mut Self::Builder);
    /// The column; `None`: the host fills it.
    fn finish(builder: Self::Builder) -> Option<types::Column>;
}

impl<T: WriteValue> StarField for T {
    const TYPE: DataType = <T as Value>::TYPE;
    const NULLABLE: bool = false;
    const PASSED: bool = false;
    type Builder = T::Buffer;

    fn builder(rows: usize) -> T::Buffer {
        T::buffer(rows)
    }

    #[inline(always)]
    fn write(self, builder: &mut T::Buffer) {
        self.push_to(builder);
    }

    fn finish(builder: T::Buffer) -> Option<types::Column> {
        Some(types::Column { data: T::data(builder), validity: None })
    }
}

impl<T: WriteValue> StarField for Option<T> {
    const TYPE: DataType = <T as Value>::TYPE;
    const NULLABLE: bool = true;
    const PASSED: bool = false;
    type Builder = (T::Buffer, Validity);

    fn builder(rows: usize) -> Self::Builder {
        (T::buffer(rows), Validity::default())
    }

    #[inline(always)]
    fn write(self, (buffer, validity): &mut Self::Builder) {
        match self {
            Some(value) => {
                value.push_to(buffer);
                validity.push(true);
            }
            None => {
                T::push_null(buffer);
                validity.push(false);
            }
        }
    }

    fn finish((buffer, validity): Self::Builder) -> Option<types::Column> {
        Some(types::Column { data: T::data(buffer), validity: validity.finish() })
    }
}

/// A bitmap that is only made once a null comes.
#[derive(Default)]
pub struct Validity {
    rows: usize,
    bits: Option<Bits>,
}

impl Validity {
    #[inline(always)]
    fn push(&mut self, is_valid: bool) {
        if let Some(bits) = &mut self.bits {
            bits.push(is_valid);
        } else if !is_valid {
            let mut bits = Bits { bytes: vec![0xff; self.rows / 8], len: self.rows / 8 * 8 };
            for _ in 0..self.rows % 8 {
                bits.push(true);
            }
            bits.push(false);
            self.bits = Some(bits);
        }
        self.rows += 1;
    }

    fn finish(self) -> Option<Vec<u8>> {
        self.bits.map(|bits| bits.bytes)
    }
}

/// A growing bitmap, least significant bit first.
#[derive(Default)]
pub struct Bits {
    bytes: Vec<u8>,
    len: usize,
}

impl Bits {
    #[inline(always)]
    fn push(&mut self, bit: bool) {
        let place = self.len % 8;
        if place == 0 {
            self.bytes.push(u8::from(bit));
        } else if let Some(last) = self.bytes.last_mut() {
            *last |= u8::from(bit) << place;
        }
        self.len += 1;
    }
}

/// A value that is not null, written one after the other.
#[diagnostic::on_unimplemented(
    message = "a star row cannot hold a `{Self}`",
    label = "not a column type",
    note = "column types are bool, i16, i32, i64, u64, f32, f64, String, &str, Vec<u8>, &[u8], Json, Date, \
            Time, Timestamp, TimestampTz, Interval, Uuid, Decimal<P, S>, Vec<T> of these, Option<T>, and \
            Passed<T> for a column that the host takes from the source row"
)]
pub trait WriteValue: Value + Sized {
    /// The values so far.
    type Buffer;

    /// No values yet, with room for `rows`.
    fn buffer(rows: usize) -> Self::Buffer;
    /// Appends this value.
    fn push_to(self, buffer: &mut Self::Buffer);
    /// Appends the slot of a null.
    fn push_null(buffer: &mut Self::Buffer);
    /// The values in the form of the contract.
    fn data(buffer: Self::Buffer) -> ColumnData;
}

/// A scalar appended to flat values.
pub trait WriteScalar: ScalarValue + Sized {
    /// The values so far.
    type Flat;

    /// No values yet, with room for `rows`.
    fn flat(rows: usize) -> Self::Flat;
    /// Appends this value.
    fn append_to(self, flat: &mut Self::Flat);
    /// Appends the slot of a null.
    fn append_null(flat: &mut Self::Flat);
    /// The values in the form of the contract.
    fn values(flat: Self::Flat) -> Values;
}

macro_rules! write_values {
    ($($type:ty;)*) => {$(
        impl WriteValue for $type {
            write_values!(body);
        }
    )*};
    (body) => {
        type Buffer = <Self as WriteScalar>::Flat;

        fn buffer(rows: usize) -> Self::Buffer {
            Self::flat(rows)
        }

        #[inline(always)]
        fn push_to(self, buffer: &mut Self::Buffer) {
            self.append_to(buffer);
        }

        #[inline(always)]
        fn push_null(buffer: &mut Self::Buffer) {
            Self::append_null(buffer);
        }

        fn data(buffer: Self::Buffer) -> ColumnData {
            ColumnData::Scalar(Self::values(buffer))
        }
    };
}

write_values! {
    bool; i16; i32; i64; u64; f32; f64; String; &str; Vec<u8>; &[u8]; Json; Json<&str>;
    Date; Time; Timestamp; TimestampTz; Uuid; Interval;
}

impl<const P: u8, const S: u8> WriteValue for Decimal<P, S> {
    write_values!(body);
}

macro_rules! write_fixed {
    ($($type:ty, $form:ident, $raw:ty, |$value:ident| $make:expr;)*) => {$(
        impl WriteScalar for $type {
            type Flat = Vec<$raw>;

            fn flat(rows: usize) -> Vec<$raw> {
                Vec::with_capacity(rows)
            }

            #[inline(always)]
            fn append_to(self, flat: &mut Vec<$raw>) {
                let $value = self;
                flat.push($make);
            }

            #[inline(always)]
            fn append_null(flat: &mut Vec<$raw>) {
                flat.push(<$raw>::default());
            }

            fn values(flat: Vec<$raw>) -> Values {
                Values::$form(flat)
            }
        }
    )*};
}

write_fixed! {
    i16, S16s, i16, |value| value;
    i32, S32s, i32, |value| value;
    i64, S64s, i64, |value| value;
    u64, U64s, u64, |value| value;
    f32, F32s, f32, |value| value;
    f64, F64s, f64, |value| value;
    Date, S32s, i32, |date| date.days();
    Time, S64s, i64, |time| time.micros();
    Timestamp, S64s, i64, |timestamp| timestamp.micros();
    TimestampTz, S64s, i64, |timestamp| timestamp.micros();
    Interval, S64s, i64, |interval| interval.micros();
}

impl WriteScalar for bool {
    type Flat = Bits;

    fn flat(rows: usize) -> Bits {
        Bits { bytes: Vec::with_capacity(rows.div_ceil(8)), len: 0 }
    }

    #[inline(always)]
    fn append_to(self, flat: &mut Bits) {
        flat.push(self);
    }

    #[inline(always)]
    fn append_null(flat: &mut Bits) {
        flat.push(false);
    }

    fn values(flat: Bits) -> Values {
        Values::Bits(flat.bytes)
    }
}

impl WriteScalar for Uuid {
    type Flat = Vec<u8>;

    fn flat(rows: usize) -> Vec<u8> {
        Vec::with_capacity(rows * 16)
    }

    #[inline(always)]
    fn append_to(self, flat: &mut Vec<u8>) {
        flat.extend_from_slice(&self.to_bytes());
    }

    #[inline(always)]
    fn append_null(flat: &mut Vec<u8>) {
        flat.extend_from_slice(&[0; 16]);
    }

    fn values(flat: Vec<u8>) -> Values {
        Values::Bytes16(flat)
    }
}

/// The two physical forms of decimals; which one is fixed by the precision.
pub enum DecimalFlat {
    /// up to 18 digits
    Narrow(Vec<i64>),
    /// 19 to 38 digits, two words each
    Wide(Vec<u64>),
}

impl<const P: u8, const S: u8> WriteScalar for Decimal<P, S> {
    type Flat = DecimalFlat;

    fn flat(rows: usize) -> DecimalFlat {
        if Self::IS_NARROW {
            DecimalFlat::Narrow(Vec::with_capacity(rows))
        } else {
            DecimalFlat::Wide(Vec::with_capacity(rows * 2))
        }
    }

    #[inline(always)]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "words are the two's complement of the units; up to 18 digits fit one"
    )]
    fn append_to(self, flat: &mut DecimalFlat) {
        match flat {
            DecimalFlat::Narrow(values) => values.push(self.units() as i64),
            DecimalFlat::Wide(words) => {
                words.extend_from_slice(&[self.units() as u64, (self.units() >> 64) as u64]);
            }
        }
    }

    #[inline(always)]
    fn append_null(flat: &mut DecimalFlat) {
        Self::ZERO.append_to(flat);
    }

    fn values(flat: DecimalFlat) -> Values {
        match flat {
            DecimalFlat::Narrow(values) => Values::S64s(values),
            DecimalFlat::Wide(words) => Values::Words128(words),
        }
    }
}

/// A place in a column.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the memory of a module is below 4 GiB")]
fn offset(length: usize) -> u32 {
    length as u32
}

/// Offsets and bytes of variable-length values.
pub struct VarFlat {
    offsets: Vec<u32>,
    data: Vec<u8>,
}

impl VarFlat {
    fn with_capacity(rows: usize) -> Self {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        Self { offsets, data: Vec::new() }
    }

    #[inline(always)]
    fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.offsets.push(offset(self.data.len()));
    }
}

macro_rules! write_var {
    ($($type:ty, |$value:ident| $bytes:expr;)*) => {$(
        impl WriteScalar for $type {
            type Flat = VarFlat;

            fn flat(rows: usize) -> VarFlat {
                VarFlat::with_capacity(rows)
            }

            #[inline(always)]
            fn append_to(self, flat: &mut VarFlat) {
                let $value = self;
                flat.push($bytes);
            }

            #[inline(always)]
            fn append_null(flat: &mut VarFlat) {
                flat.push(&[]);
            }

            fn values(flat: VarFlat) -> Values {
                Values::VarBytes(VarBytes { offsets: flat.offsets, data: flat.data })
            }
        }
    )*};
}

write_var! {
    String, |text| text.as_bytes();
    &str, |text| text.as_bytes();
    Vec<u8>, |bytes| &bytes;
    &[u8], |bytes| bytes;
    Json, |json| json.0.as_bytes();
    Json<&str>, |json| json.0.as_bytes();
}

/// An element of a list, or a null.
pub trait WriteElement: Element {
    /// The scalar of the elements.
    type Scalar: WriteScalar;

    /// `None`: a null.
    fn scalar(self) -> Option<Self::Scalar>;
}

impl<T: WriteScalar> WriteElement for T {
    type Scalar = T;

    fn scalar(self) -> Option<T> {
        Some(self)
    }
}

impl<T: WriteScalar> WriteElement for Option<T> {
    type Scalar = T;

    fn scalar(self) -> Option<T> {
        self
    }
}

/// A growing list column.
pub struct ListFlat<F> {
    offsets: Vec<u32>,
    elements: F,
    validity: Validity,
}

impl<T: WriteElement> WriteValue for Vec<T> {
    type Buffer = ListFlat<<T::Scalar as WriteScalar>::Flat>;

    fn buffer(rows: usize) -> Self::Buffer {
        let mut offsets = Vec::with_capacity(rows + 1);
        offsets.push(0);
        ListFlat { offsets, elements: T::Scalar::flat(rows), validity: Validity::default() }
    }

    fn push_to(self, buffer: &mut Self::Buffer) {
        for element in self {
            match element.scalar() {
                Some(scalar) => {
                    scalar.append_to(&mut buffer.elements);
                    buffer.validity.push(true);
                }
                None => {
                    T::Scalar::append_null(&mut buffer.elements);
                    buffer.validity.push(false);
                }
            }
        }
        buffer.offsets.push(offset(buffer.validity.rows));
    }

    fn push_null(buffer: &mut Self::Buffer) {
        buffer.offsets.push(offset(buffer.validity.rows));
    }

    fn data(buffer: Self::Buffer) -> ColumnData {
        ColumnData::ListOf(ListColumn {
            offsets: buffer.offsets,
            elements: T::Scalar::values(buffer.elements),
            validity: buffer.validity.finish(),
        })
    }
}
