//! Batches of made-up values, the same for the same seed.

#![expect(clippy::cast_possible_truncation, reason = "any part of a random number is as good as another")]

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, FixedSizeBinaryArray, ListArray, PrimitiveArray, StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, Date32Type, Decimal64Type, Decimal128Type, DurationMicrosecondType, Field,
    Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType, UInt64Type,
};
use dabi::transform::InputBatch;
use dabi_core::data_type::DataType;
use dabi_core::spec::Spec;

/// A small generator (splitmix64): no dependency, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn text(&mut self) -> String {
        const PIECES: [&str; 6] = ["a", "é", "日本", "🎁", "\u{202e}", " \n\""];
        (0..self.below(5)).map(|_| PIECES[self.next() as usize % PIECES.len()]).collect()
    }
}

/// `rows` rows of the columns that a declaration asks for.
pub(crate) fn batch(spec: &Spec, rows: usize, seed: u64) -> InputBatch {
    let mut random = Random(seed);
    let columns = spec
        .inputs()
        .map(|input| match input.column.name.as_str() {
            "action" => Arc::new(StringArray::from(vec![""; rows])) as ArrayRef,
            _ => array(&input.column.data_type, input.can_be_null, rows, &mut random),
        })
        .collect();
    InputBatch { rows, columns }
}

fn array(data_type: &DataType, nullable: bool, rows: usize, random: &mut Random) -> ArrayRef {
    let nulls = nullable.then(|| (0..rows).map(|_| random.below(5) != 0).collect::<NullBuffer>());
    match data_type {
        DataType::Boolean => {
            let values: BooleanArray = (0..rows).map(|_| Some(random.below(2) == 0)).collect();
            Arc::new(BooleanArray::new(values.values().clone(), nulls))
        }
        DataType::Int16 => numbers::<Int16Type>(data_type, nulls, rows, || random.next() as i16),
        DataType::Int32 => numbers::<Int32Type>(data_type, nulls, rows, || random.next() as i32),
        DataType::Int64 => numbers::<Int64Type>(data_type, nulls, rows, || random.next() as i64),
        DataType::Uint64 => numbers::<UInt64Type>(data_type, nulls, rows, || random.next()),
        DataType::Float32 => numbers::<Float32Type>(data_type, nulls, rows, || random.next() as i32 as f32),
        DataType::Float64 => numbers::<Float64Type>(data_type, nulls, rows, || random.next() as i64 as f64),
        DataType::Decimal { precision, .. } if data_type.is_decimal64() => {
            let bound = 10_i64.pow(u32::from(*precision));
            numbers::<Decimal64Type>(data_type, nulls, rows, || random.next() as i64 % bound)
        }
        DataType::Decimal { precision, .. } => {
            let bound = 10_i128.pow(u32::from(*precision));
            let wide =
                |random: &mut Random| i128::from(random.next() as i64) << 64 | i128::from(random.next());
            numbers::<Decimal128Type>(data_type, nulls, rows, || wide(random) % bound)
        }
        DataType::Date => numbers::<Date32Type>(data_type, nulls, rows, || random.next() as i32),
        DataType::Time => {
            numbers::<Time64MicrosecondType>(data_type, nulls, rows, || random.below(86_400_000_000) as i64)
        }
        DataType::Timestamp | DataType::TimestampTz => {
            numbers::<TimestampMicrosecondType>(data_type, nulls, rows, || random.next() as i64)
        }
        DataType::Interval => {
            numbers::<DurationMicrosecondType>(data_type, nulls, rows, || random.next() as i64)
        }
        DataType::Text | DataType::Json => {
            let values: Vec<String> = (0..rows).map(|_| random.text()).collect();
            let values = StringArray::from(values);
            Arc::new(StringArray::new(values.offsets().clone(), values.values().clone(), nulls))
        }
        DataType::Bytes => {
            let values: Vec<Vec<u8>> =
                (0..rows).map(|_| (0..random.below(9)).map(|_| random.next() as u8).collect()).collect();
            let values = BinaryArray::from_iter_values(values);
            Arc::new(BinaryArray::new(values.offsets().clone(), values.values().clone(), nulls))
        }
        DataType::Uuid => {
            let bytes: Vec<u8> = (0..rows * 16).map(|_| random.next() as u8).collect();
            Arc::new(FixedSizeBinaryArray::new(16, Buffer::from_vec(bytes), nulls))
        }
        DataType::List(item) => {
            let lengths: Vec<usize> = (0..rows).map(|_| random.below(4) as usize).collect();
            let elements = array(item, nullable, lengths.iter().sum(), random);
            let field = Arc::new(Field::new_list_field(item.arrow(), true));
            Arc::new(ListArray::new(field, OffsetBuffer::from_lengths(lengths), elements, nulls))
        }
    }
}

fn numbers<T: ArrowPrimitiveType>(
    data_type: &DataType,
    nulls: Option<NullBuffer>,
    rows: usize,
    mut next: impl FnMut() -> T::Native,
) -> ArrayRef {
    let values: Vec<T::Native> = (0..rows).map(|_| next()).collect();
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(data_type.arrow()))
}
