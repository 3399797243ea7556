//! A star key that a person writes: `17,3`.
//!
//! Owns reading it as the types of the target's key.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, FixedSizeBinaryArray, RecordBatch, StringArray, make_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use dabi_core::spec::TargetKind;
use dabi_core::star::TargetTable;

/// A key that is none of the target's.
#[derive(Debug, thiserror::Error)]
#[error(
    "{text:?} is no key of {target}: {reason}; write its values with commas between them, in the order {order}"
)]
pub struct InvalidKey {
    text: String,
    target: String,
    order: String,
    reason: String,
}

/// A key of a target.
pub(super) struct StarKey {
    /// The values as they were written, in the order of the key.
    pub(super) texts: Vec<String>,
    /// The values, likewise; one each, in the types in which they are sent.
    pub(super) values: Vec<ArrayRef>,
    /// Positions of the key's columns.
    columns: Vec<usize>,
    converter: RowConverter,
    row: OwnedRow,
}

impl StarKey {
    /// A key of `table`, which `kind` gives parts of its own.
    pub(super) fn read(table: &TargetTable, kind: TargetKind, text: &str) -> Result<Self, InvalidKey> {
        let invalid = |reason: String| InvalidKey {
            text: text.to_owned(),
            target: table.view_name().to_owned(),
            order: table.key().join(","),
            reason,
        };
        let texts = split(text);
        let added = kind.automatic_columns().iter().filter(|column| column.identifies).count();
        // The last part of a version's key, its beginning, may be left out: all versions
        // of a row have the rest.
        let natural = table.key().len() - added;
        if texts.len() != table.key().len() && texts.len() != natural {
            return Err(invalid(format!("it has {} values", texts.len())));
        }
        let names: Vec<&str> = table.column_names().collect();
        let position = |key: &String| names.iter().position(|name| name == key);
        let columns: Vec<usize> = table.key().iter().take(texts.len()).filter_map(position).collect();
        let schema = table.insert_schema();
        let mut values = Vec::with_capacity(columns.len());
        for (column, text) in columns.iter().zip(&texts) {
            let value = value(text, schema.field(*column).data_type());
            values.push(value.map_err(|error| invalid(error.to_string()))?);
        }
        let fields = values.iter().map(|value| SortField::new(value.data_type().clone())).collect();
        let convert = || -> Result<(RowConverter, OwnedRow), ArrowError> {
            let converter = RowConverter::new(fields)?;
            let row = converter.convert_columns(&values)?.row(0).owned();
            Ok((converter, row))
        };
        let (converter, row) = convert().map_err(|error| invalid(error.to_string()))?;
        Ok(Self { texts, values, columns, converter, row })
    }

    /// The rows of `rows`, which are of the target, that have this key.
    pub(super) fn rows_of(&self, rows: &RecordBatch) -> Result<Vec<usize>, ArrowError> {
        let key: Vec<ArrayRef> = self.columns.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        let keys = self.converter.convert_columns(&key)?;
        Ok((0..rows.num_rows()).filter(|row| keys.row(*row) == self.row.row()).collect())
    }
}

/// At commas; one in a text is written between double quotes.
fn split(text: &str) -> Vec<String> {
    let (mut values, mut value, mut quoted) = (Vec::new(), String::new(), false);
    for char in text.chars() {
        match char {
            '"' => quoted = !quoted,
            ',' if !quoted => values.push(std::mem::take(&mut value)),
            char => value.push(char),
        }
    }
    values.push(value);
    values.into_iter().map(|value| value.trim().to_owned()).collect()
}

fn value(text: &str, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    if let DataType::FixedSizeBinary(16) = data_type {
        let digits: String = text.chars().filter(|char| *char != '-').collect();
        let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
        let number = number.ok_or_else(|| ArrowError::CastError(format!("{text} is no UUID")))?;
        return Ok(Arc::new(FixedSizeBinaryArray::try_from_iter([number.to_be_bytes()].into_iter())?));
    }
    let exact = CastOptions { safe: false, ..CastOptions::default() };
    let cast = |data_type: &DataType| cast_with_options(&StringArray::from(vec![text]), data_type, &exact);
    match data_type {
        // Read as UTC, which Arrow does only without a zone.
        DataType::Timestamp(unit, Some(_)) => {
            let data = cast(&DataType::Timestamp(*unit, None))?.to_data();
            Ok(make_array(data.into_builder().data_type(data_type.clone()).build()?))
        }
        _ => cast(data_type),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_text_is_quoted() {
        assert_eq!(split("17, 3"), ["17", "3"]);
        assert_eq!(split(r#""a, b",2"#), ["a, b", "2"]);
        assert_eq!(split(""), [""]);
    }

    #[test]
    fn values_are_read_as_their_types() {
        let uuid = value("00000000-0000-0000-0000-0000000000ff", &DataType::FixedSizeBinary(16)).unwrap();
        assert_eq!(uuid.data_type(), &DataType::FixedSizeBinary(16));
        assert!(value("not a number", &DataType::Int64).is_err());
        assert!(value("abc", &DataType::FixedSizeBinary(16)).is_err());
        assert!(value("2025-11-26", &DataType::Date32).is_ok());
        let utc = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(value("2025-11-26T00:00:00Z", &utc).unwrap().data_type(), &utc);
    }
}
