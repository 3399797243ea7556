//! Rows of a target as ClickHouse gives them back.
//!
//! Owns the way of each type out of ClickHouse, so that what is read can be
//! compared with what was sent, value by value. Does not own the comparison.
//!
//! Invariant: a batch read back has the columns of the insert's schema in the
//! insert's types, or is an error; nothing is coerced in silence.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType as Arrow, Schema};
use arrow::error::ArrowError;

use super::{DELETED, StarColumn, TargetTable, VERSION, quote};

/// What must be set for the answer to be as [`TargetTable::read_back`] takes it.
pub const READ_SETTINGS: [(&str, &str); 3] = [
    ("output_format_arrow_string_as_string", "0"),
    ("output_format_arrow_low_cardinality_as_dictionary", "0"),
    ("optimize_move_to_prewhere_if_final", "0"),
];

impl TargetTable {
    /// Every row that readers see of which `condition` holds, with its `_version`;
    /// to be asked for as ArrowStream with [`READ_SETTINGS`].
    #[must_use]
    pub fn read_sql(&self, database: &str, condition: &str) -> String {
        let columns = self.columns.iter().map(|column| {
            let name = quote(&column.name);
            let form = column.read_form(&format!("t.{name}"));
            format!("{form} AS {name}")
        });
        let columns: Vec<String> = columns.collect();
        format!(
            "SELECT {}, t.{VERSION} AS {VERSION} FROM {} AS t FINAL WHERE t.{DELETED} = 0 AND {condition}",
            columns.join(", "),
            self.qualified(database)
        )
    }

    /// The target's columns of a batch that [`TargetTable::read_sql`] gave, in the
    /// insert's types.
    ///
    /// # Errors
    /// If a column is missing, or holds a value that its type does not have.
    pub fn read_back(&self, batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let exact = CastOptions { safe: false, ..CastOptions::default() };
        let column = |column: &StarColumn| -> Result<ArrayRef, ArrowError> {
            let found = batch.column_by_name(&column.name).ok_or_else(|| {
                ArrowError::SchemaError(format!("ClickHouse's answer has no column {}", column.name))
            })?;
            cast_with_options(found, &column.sql_type.insert_type(), &exact)
        };
        let columns: Vec<ArrayRef> = self.columns.iter().map(column).collect::<Result<_, _>>()?;
        let fields: Vec<_> = self.insert_schema().fields().iter().take(columns.len()).cloned().collect();
        RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
    }
}

impl StarColumn {
    /// The expression that gives `name` in a form that Arrow has.
    fn read_form(&self, name: &str) -> String {
        match self.sql_type.insert_type() {
            // Its labels, and not their numbers.
            Arrow::Utf8 if self.sql_type.labels().is_some() => format!("toString({name})"),
            // ClickHouse's own bytes of a UUID have their halves turned round.
            Arrow::FixedSizeBinary(_) => format!("UUIDStringToNum(toString({name}))"),
            Arrow::List(item) if matches!(item.data_type(), Arrow::FixedSizeBinary(_)) => {
                format!("arrayMap(item -> UUIDStringToNum(toString(item)), {name})")
            }
            _ => name.to_owned(),
        }
    }
}
