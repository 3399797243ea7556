//! Whatever a module answers, lifting it gives an array as declared or a
//! refusal: it never panics, and never gives an array that breaks Arrow's rules.

use arrow::array::ArrayData;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

fn offsets() -> impl Strategy<Value = Vec<u32>> {
    prop_oneof![
        // mostly right: ascending from 0
        vec(0_u32..3, 0..6).prop_map(|lengths| {
            let ends = lengths.iter().scan(0, |end, length| {
                *end += length;
                Some(*end)
            });
            std::iter::once(0).chain(ends).collect()
        }),
        vec(prop_oneof![0_u32..8, any::<u32>()], 0..6),
    ]
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![vec(any::<u8>(), 0..24), "[aé日🎁]{0,5}".prop_map(String::into_bytes)]
}

fn any_values() -> impl Strategy<Value = types::ValuesResult> {
    use types::ValuesResult as V;
    prop_oneof![
        bytes().prop_map(V::Bits),
        vec(any::<i16>(), 0..6).prop_map(V::S16s),
        vec(any::<i32>(), 0..6).prop_map(V::S32s),
        vec(any::<i64>(), 0..6).prop_map(V::S64s),
        vec(any::<u64>(), 0..6).prop_map(V::U64s),
        vec(any::<f32>(), 0..6).prop_map(V::F32s),
        vec(any::<f64>(), 0..6).prop_map(V::F64s),
        vec(any::<u64>(), 0..11).prop_map(V::Words128),
        (offsets(), bytes()).prop_map(|(offsets, data)| V::VarBytes(types::VarBytesResult { offsets, data })),
        vec(any::<u8>(), 0..50).prop_map(V::Bytes16),
    ]
}

fn any_column() -> impl Strategy<Value = types::ColumnResult> {
    let data = prop_oneof![
        any_values().prop_map(types::ColumnDataResult::Scalar),
        (offsets(), any_values(), option::of(bytes())).prop_map(|(offsets, elements, validity)| {
            types::ColumnDataResult::ListOf(types::ListColumnResult { offsets, elements, validity })
        }),
    ];
    (data, option::of(vec(any::<u8>(), 0..3)))
        .prop_map(|(data, validity)| types::ColumnResult { data, validity })
}

fn any_type() -> impl Strategy<Value = DataType> {
    use DataType as D;
    let scalars = vec![
        D::Boolean,
        D::Int16,
        D::Int32,
        D::Int64,
        D::Uint64,
        D::Float32,
        D::Float64,
        D::Decimal { precision: 3, scale: 1 },
        D::Decimal { precision: 38, scale: 10 },
        D::Text,
        D::Bytes,
        D::Json,
        D::Date,
        D::Time,
        D::Timestamp,
        D::TimestampTz,
        D::Uuid,
        D::Interval,
    ];
    (proptest::sample::select(scalars), any::<bool>())
        .prop_map(|(scalar, list)| if list { D::List(Box::new(scalar)) } else { scalar })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn lifting_is_total(raw in any_column(), data_type in any_type(), rows in 0_usize..6) {
        let mut faults = Vec::new();
        if let Ok(array) = column("c", &data_type, rows, raw, &mut faults) {
            prop_assert_eq!(array.len(), rows);
            prop_assert_eq!(array.data_type(), &data_type.arrow());
            let data: ArrayData = array.to_data();
            prop_assert!(data.validate_full().is_ok(), "{:?}", data.validate_full());
            prop_assert!(faults.iter().all(|fault| fault.row < rows));
        }
    }
}

#[test]
fn a_decimal_in_a_list_is_blamed_on_its_row() {
    let list = types::ListColumnResult {
        offsets: vec![0, 0, 2, 2, 3],
        elements: types::ValuesResult::S64s(vec![999, 1_000, -1_000]),
        validity: None,
    };
    let raw = types::ColumnResult { data: types::ColumnDataResult::ListOf(list), validity: None };
    let item = DataType::Decimal { precision: 3, scale: 0 };
    let mut faults = Vec::new();
    column("c", &DataType::List(Box::new(item)), 4, raw, &mut faults).unwrap();
    let blamed: Vec<_> = faults.iter().map(|fault| (fault.row, fault.code)).collect();
    assert_eq!(blamed, [(1, "decimal-overflow"), (3, "decimal-overflow")]);
}
