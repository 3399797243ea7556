//! A row as JSON, for people and scripts to look at.
//!
//! Owns the form: numbers and booleans as such, decimals and times as text,
//! bytes in hexadecimal. Nothing is read back from it.

use arrow::array::{Array, ArrayRef, AsArray, make_array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde_json::{Map, Value};

/// Row `row` of `columns`, each under its name.
#[must_use]
pub fn row_json<'a>(columns: impl IntoIterator<Item = (&'a str, &'a ArrayRef)>, row: usize) -> Value {
    let values = columns.into_iter().map(|(name, array)| (name.to_owned(), value(array, row)));
    Value::Object(values.collect::<Map<_, _>>())
}

fn value(array: &ArrayRef, row: usize) -> Value {
    if array.is_null(row) {
        return Value::Null;
    }
    match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => array.as_primitive::<Int8Type>().value(row).into(),
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).into(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
        DataType::UInt8 => array.as_primitive::<UInt8Type>().value(row).into(),
        DataType::UInt16 => array.as_primitive::<UInt16Type>().value(row).into(),
        DataType::UInt32 => array.as_primitive::<UInt32Type>().value(row).into(),
        DataType::UInt64 => array.as_primitive::<UInt64Type>().value(row).into(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).into(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).into(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            (0..items.len()).map(|item| value(&items, item)).collect()
        }
        DataType::Struct(_) => {
            let fields = array.as_struct();
            row_json(fields.fields().iter().map(|field| field.name().as_str()).zip(fields.columns()), row)
        }
        // Arrow shows only zones that are offsets; ours is always UTC.
        DataType::Timestamp(unit, Some(_)) => {
            let utc = DataType::Timestamp(*unit, Some("+00:00".into()));
            match array.slice(row, 1).to_data().into_builder().data_type(utc).build() {
                Ok(data) => displayed(&make_array(data), 0),
                Err(error) => format!("not shown: {error}").into(),
            }
        }
        DataType::Dictionary(_, values) => match cast(&array.slice(row, 1), values) {
            Ok(plain) => value(&plain, 0),
            Err(error) => format!("not shown: {error}").into(),
        },
        _ => displayed(array, row),
    }
}

fn displayed(array: &ArrayRef, row: usize) -> Value {
    match ArrayFormatter::try_new(array, &FormatOptions::default()) {
        Ok(formatter) => formatter.value(row).to_string().into(),
        Err(error) => format!("not shown: {error}").into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, Decimal128Array, DictionaryArray, Float64Array, Int64Array, ListArray, StringArray,
        StructArray, TimestampMicrosecondArray,
    };
    use arrow::datatypes::Field;
    use serde_json::json;

    use super::*;

    #[test]
    fn every_kind_of_value_is_shown() {
        let number: ArrayRef = Arc::new(Int64Array::from(vec![i64::MAX]));
        let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some([Some(1), None])]);
        let decimal = Decimal128Array::from(vec![-1234]).with_precision_and_scale(12, 2).unwrap();
        let time = TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC");
        let nested =
            StructArray::from(vec![(Arc::new(Field::new("n", DataType::Int64, true)), Arc::clone(&number))]);
        let columns: [(&str, ArrayRef); 9] = [
            ("number", number),
            ("none", Arc::new(StringArray::from(vec![None::<&str>]))),
            ("nan", Arc::new(Float64Array::from(vec![f64::NAN]))),
            ("decimal", Arc::new(decimal)),
            ("time", Arc::new(time)),
            ("bytes", Arc::new(BinaryArray::from_vec(vec![b"\x00\xff"]))),
            ("list", Arc::new(list)),
            ("code", Arc::new([Some("t")].into_iter().collect::<DictionaryArray<Int8Type>>())),
            ("nested", Arc::new(nested)),
        ];
        let shown = row_json(columns.iter().map(|(name, array)| (*name, array)), 0);
        assert_eq!(
            shown,
            json!({
                "number": i64::MAX, "none": null, "nan": null, "decimal": "-12.34",
                "time": "1970-01-01T00:00:00.000001Z", "bytes": "00ff", "list": [1, null], "code": "t",
                "nested": {"n": i64::MAX},
            })
        );
    }
}
