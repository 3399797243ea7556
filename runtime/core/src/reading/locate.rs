//! The array behind a declared name: a column of the row or a pseudo-column.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, make_array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Field, Int8Type};

use super::hints::{DecimalText, Hints};
use super::sent::Source;
use crate::change::{CONNECT_NAME_KEY, ChangeBatch, Wire, meta};
use crate::spec::BEFORE_PREFIX;

/// Rows in which `column` was not sent (unchanged TOAST).
pub(super) fn unavailable(batch: &ChangeBatch, column: &str) -> Vec<usize> {
    let lists = batch.meta(meta::UNAVAILABLE).as_list::<i32>();
    if lists.null_count() == lists.len() {
        return Vec::new();
    }
    let names = |row: usize| lists.is_valid(row).then(|| lists.value(row));
    (0..lists.len())
        .filter(|row| {
            names(*row).is_some_and(|names| names.as_string::<i32>().iter().flatten().any(|n| n == column))
        })
        .collect()
}

/// The array behind a name.
pub(super) struct Found {
    array: ArrayRef,
    wire: Wire,
    name: Option<String>,
}

impl Found {
    pub(super) fn new(batch: &ChangeBatch, name: &str) -> Option<Self> {
        match name {
            meta::OP => Some(Self::typed(Arc::new(letters(batch)))),
            meta::TS | meta::LSN => Some(Self::typed(batch.meta(name).clone())),
            _ => match name.strip_prefix(BEFORE_PREFIX) {
                Some(column) => {
                    let before = batch.before()?;
                    let (position, field) = before.fields().find(column)?;
                    Some(Self::field(field, with_nulls(before.column(position), before.nulls())))
                }
                None => {
                    let position = batch.row_fields().iter().position(|field| field.name() == name)?;
                    Some(Self::field(&batch.row_fields()[position], batch.row_columns()[position].clone()))
                }
            },
        }
    }

    fn typed(array: ArrayRef) -> Self {
        Self { array, wire: Wire::Typed, name: None }
    }

    fn field(field: &Field, array: ArrayRef) -> Self {
        let wire = Wire::of(field).unwrap_or(Wire::Typed);
        Self { array, wire, name: field.metadata().get(CONNECT_NAME_KEY).cloned() }
    }

    pub(super) fn source(&self, mut hints: Hints) -> Source<'_> {
        if self.wire == Wire::Typed {
            // a string that stands for a decimal, in a schema, is a number
            hints.decimal = DecimalText::Number;
        }
        Source { array: &self.array, wire: self.wire, name: self.name.as_deref(), hints }
    }
}

fn letters(batch: &ChangeBatch) -> StringArray {
    let codes = batch.meta(meta::OP).as_dictionary::<Int8Type>();
    StringArray::from_iter(codes.downcast_dict::<StringArray>().into_iter().flatten())
}

/// A child of a struct is null where the struct is.
fn with_nulls(child: &ArrayRef, nulls: Option<&NullBuffer>) -> ArrayRef {
    let nulls = NullBuffer::union(child.nulls(), nulls);
    match child.to_data().into_builder().nulls(nulls).build() {
        Ok(data) => make_array(data),
        Err(_) => child.clone(),
    }
}
