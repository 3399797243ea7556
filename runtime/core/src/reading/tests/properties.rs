//! What holds for every value and every declaration.

use base64::Engine;
use proptest::prelude::*;

use super::*;

fn scalar_type() -> impl Strategy<Value = D> {
    prop_oneof![
        proptest::sample::select(vec![
            D::Boolean,
            D::Int16,
            D::Int32,
            D::Int64,
            D::Uint64,
            D::Float32,
            D::Float64,
            D::Text,
            D::Bytes,
            D::Json,
            D::Date,
            D::Time,
            D::Timestamp,
            D::TimestampTz,
            D::Uuid,
            D::Interval,
        ]),
        (1u8..=38).prop_flat_map(|p| (Just(p), 0..=p)).prop_map(|(p, s)| DECIMAL(p, s)),
    ]
}

fn any_type() -> impl Strategy<Value = D> {
    prop_oneof![3 => scalar_type(), 1 => scalar_type().prop_map(|item| D::List(Box::new(item)))]
}

fn any_column() -> impl Strategy<Value = (ArrayRef, Wire)> {
    let json =
        r#"("[^"\\]{0,6}"|-?[0-9]{1,25}(\.[0-9]{1,5})?(e[+-]?[0-9]{1,3})?|true|null|\[[0-9,]{0,6}\]|.{0,8})"#;
    let text = prop_oneof![
        ".{0,12}",
        "[A-Za-z0-9+/]{0,24}={0,2}",
        "[+-]?[0-9]{0,30}(\\.[0-9]{0,30})?(e[+-]?[0-9]{1,12})?",
        "[+-]?[0-9]{4,9}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-5][0-9](:[0-5][0-9](\\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}(:?[0-9]{2})?)?)?",
        "-?P([0-9]{1,18}[YMWD]){0,3}(T(-?[0-9]{1,18}[HMS]){0,3})?",
    ];
    let array = |a: ArrayRef, wire| (a, wire);
    let rows = 1..5usize;
    prop_oneof![
        proptest::collection::vec(proptest::option::of(text), rows.clone())
            .prop_flat_map(move |v| (Just(v), proptest::sample::select(vec![Wire::Typed, Wire::Untyped])))
            .prop_map(move |(v, wire)| array(Arc::new(StringArray::from(v)), wire)),
        proptest::collection::vec(proptest::option::of(json), rows.clone())
            .prop_map(move |v| array(Arc::new(StringArray::from(v)), Wire::Json)),
        proptest::collection::vec(any::<Option<i64>>(), rows.clone())
            .prop_flat_map(move |v| {
                let as_type = [
                    Arrow::Int64,
                    Arrow::Timestamp(TimeUnit::Millisecond, None),
                    Arrow::Timestamp(TimeUnit::Microsecond, None),
                    Arrow::Timestamp(TimeUnit::Nanosecond, None),
                    Arrow::Time64(TimeUnit::Microsecond),
                    Arrow::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
                    Arrow::Time64(TimeUnit::Nanosecond),
                ];
                (Just(v), proptest::sample::select(as_type.to_vec()))
            })
            .prop_map(move |(v, as_type)| {
                let data = Int64Array::from(v).into_data().into_builder().data_type(as_type).build().unwrap();
                array(make_array(data), Wire::Typed)
            }),
        proptest::collection::vec(any::<Option<i32>>(), rows.clone())
            .prop_map(move |v| array(Arc::new(Date32Array::from(v)), Wire::Typed)),
        proptest::collection::vec(any::<Option<i32>>(), rows.clone())
            .prop_map(move |v| array(Arc::new(Time32MillisecondArray::from(v)), Wire::Typed)),
        proptest::collection::vec(any::<Option<f64>>(), rows.clone())
            .prop_map(move |v| array(Arc::new(Float64Array::from(v)), Wire::Typed)),
        (proptest::collection::vec(any::<Option<i128>>(), rows), 0i8..=38).prop_map(move |(v, scale)| {
            let v = Decimal128Array::from(v).with_data_type(Arrow::Decimal128(38, scale));
            array(Arc::new(v), Wire::Typed)
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever was sent and whatever is declared: an array of the declared
    /// type with a value, a null or a fault per row; and reading row by row
    /// gives the same.
    #[test]
    fn reading_is_total_and_rowwise((array, wire) in any_column(), declared in any_type(), unit in "(us|ms|ns)") {
        let whole = batch(array, wire, None);
        let as_ = with_option(declared.clone(), "unit", &unit);
        if let Ok(reading) = read(&whole, &as_, &all(whole.num_rows())) {
            prop_assert_eq!(reading.array.data_type(), &declared.arrow());
            prop_assert_eq!(reading.array.len(), whole.num_rows());
            reading.array.to_data().validate_full().unwrap();
            prop_assert!(reading.faults.iter().all(|fault| reading.array.is_null(fault.row)));
            for row in 0..whole.num_rows() {
                let single = read(&whole.slice(row, 1), &as_, &all(1)).unwrap();
                prop_assert_eq!(&single.array.to_data(), &reading.array.slice(row, 1).to_data());
                let fault = reading.faults.iter().find(|fault| fault.row == row);
                prop_assert_eq!(single.faults.first().map(|f| &f.message), fault.map(|f| &f.message));
            }
        }
    }

    /// What a decimal is sent as, in any of its forms, does not change it.
    #[test]
    fn decimals_round_trip(value in any::<i64>(), scale in 0u8..=18) {
        let declared = DECIMAL(38, scale);
        let base64 = base64::engine::general_purpose::STANDARD.encode(minimal(value));
        let number = decimal::plain(&value.to_string(), scale.into());
        let object = format!(r#"{{"scale": {scale}, "value": "{base64}"}}"#);
        let value_of = |array: ArrayRef, wire, option: &str| {
            let batch = batch(array, wire, None);
            let reading = read(&batch, &with_option(declared.clone(), "decimal", option), &all(1)).unwrap();
            reading.array.as_primitive::<Decimal128Type>().iter().next().unwrap()
        };
        let value = Some(i128::from(value));
        prop_assert_eq!(value_of(Arc::new(StringArray::from(vec![base64.as_str()])), Wire::Untyped, "base64"), value);
        prop_assert_eq!(value_of(Arc::new(StringArray::from(vec![number.as_str()])), Wire::Untyped, "string"), value);
        prop_assert_eq!(value_of(Arc::new(StringArray::from(vec![object.as_str()])), Wire::Json, "base64"), value);
        // without the option: right or refused, never wrong
        for text in [&base64, &number] {
            let guessed = value_of(Arc::new(StringArray::from(vec![text.as_str()])), Wire::Untyped, "");
            prop_assert!(guessed.is_none() || guessed == value, "{} as {:?}", text, guessed);
        }
    }

    #[test]
    fn moments_round_trip_through_text(moment in -210_866_803_200_000_000..i64::MAX / 2) {
        let zoned: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![moment]).with_timezone("UTC"));
        let text = read(&batch(zoned, Wire::Typed, None), &column(D::Text), &all(1)).unwrap().array;
        assert_eq!(micros(text, Wire::Untyped, &column(D::TimestampTz)), [Some(moment)]);
    }
}

/// What Java's `BigInteger.toByteArray` gives.
fn minimal(value: i64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let redundant = (0..7).take_while(|at| {
        let sign = if value < 0 { 0xff } else { 0 };
        bytes[*at] == sign && (bytes[at + 1] >= 0x80) == (value < 0)
    });
    bytes[redundant.count()..].to_vec()
}
