//! The few events that decide the rows of a few keys.
//!
//! Owns which events those are: of the rows themselves, of the rows that they
//! looked up at any time, of the keys that they had before, and truncates.
//!
//! Invariant: folding them gives for those keys the rows that folding all events
//! gives.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::row::{RowConverter, SortField};

use super::RecomputeError;
use super::join::reference;
use super::tables::{key_names, references};
use crate::change::{ChangeBatch, Op};
use crate::fold::Extras;
use crate::fold::key::key_of_header;
use crate::reading::read_column;
use crate::spec::{ColumnSource, Spec};

/// Keys of source rows, as bytes.
pub type Keys = BTreeSet<Box<[u8]>>;

/// Columns of a target's key that are columns of the source row, unchanged: the
/// position in the key, and the input column.
#[must_use]
pub fn passed_key(spec: &Spec, target: usize) -> Vec<(usize, usize)> {
    let target = &spec.targets[target];
    let input = |name: &String| match target.columns.iter().find(|column| column.name == *name)?.source {
        ColumnSource::Input(input) if input < spec.columns.len() => Some(input),
        _ => None,
    };
    let passed = target.key.iter().enumerate();
    passed.filter_map(|(position, name)| Some((position, input(name)?))).collect()
}

/// Keys of the rows of `batch` whose input columns have the given values, each an
/// array of one value in the form of [`DataType::arrow`](crate::data_type::DataType::arrow).
///
/// # Errors
/// If such a column can never be read.
pub fn keys_with(
    batch: &ChangeBatch,
    spec: &Spec,
    values: &[(usize, ArrayRef)],
) -> Result<Keys, RecomputeError> {
    let keys = references(batch, &key_names(batch));
    let found = rows_with(batch, spec, values)?;
    Ok(found.into_iter().filter(|row| keys.is_valid(*row)).map(|row| keys.value(row).into()).collect())
}

/// The rows of `batch` whose input columns have the given values, as for
/// [`keys_with`].
///
/// # Errors
/// If such a column can never be read.
pub fn rows_with(
    batch: &ChangeBatch,
    spec: &Spec,
    values: &[(usize, ArrayRef)],
) -> Result<Vec<usize>, RecomputeError> {
    let types = values.iter().map(|(input, _)| spec.columns[*input].data_type.arrow());
    let converter = RowConverter::new(types.map(SortField::new).collect())?;
    let wanted: Vec<ArrayRef> = values.iter().map(|(_, value)| ArrayRef::clone(value)).collect();
    let wanted = converter.convert_columns(&wanted)?;
    let none = BooleanBuffer::new_unset(batch.num_rows());
    let read = values.iter().map(|(input, _)| read_column(batch, *input, &spec.columns[*input], &none));
    let columns: Vec<ArrayRef> =
        read.map(|reading| Ok(reading?.array)).collect::<Result<_, RecomputeError>>()?;
    let rows = converter.convert_columns(&columns)?;
    let found = rows.iter().enumerate().filter(|(_, values)| *values == wanted.row(0));
    Ok(found.map(|(row, _)| row).collect())
}

/// The events of `batch` that are of `keys`, and its truncates.
#[must_use]
pub fn events_of(batch: &ChangeBatch, keys: &Keys) -> Option<ChangeBatch> {
    let own = references(batch, &key_names(batch));
    let is_wanted = |(row, op): (usize, Op)| {
        Some(op == Op::Truncate || own.is_valid(row) && keys.contains(own.value(row)))
    };
    let wanted: BooleanArray = batch.ops().enumerate().map(is_wanted).collect();
    if wanted.true_count() == 0 {
        return None;
    }
    let rows = filter_record_batch(batch.record_batch(), &wanted).expect("as many as there are rows");
    Some(ChangeBatch::try_new(rows).expect("some rows of a change batch are one"))
}

/// The keys that rows of `events` had before they were given another.
#[must_use]
pub fn former_keys(events: &[ChangeBatch]) -> Keys {
    let mut keys = Keys::new();
    for batch in events {
        let extras = Extras::of(batch);
        let names = key_names(batch);
        let position = |name: &String| batch.row_fields().iter().position(|field| field.name() == name);
        let columns: Vec<usize> = names.iter().filter_map(position).collect();
        let headers = (0..batch.num_rows()).filter_map(|row| extras.oldkey(row));
        keys.extend(headers.filter_map(|header| key_of_header(batch, &columns, header)));
    }
    keys
}

/// The keys that lookup `number` has ever looked for from `events`, which are of
/// the table that it goes on from.
#[must_use]
pub fn looked_for(spec: &Spec, number: usize, events: &[ChangeBatch]) -> Keys {
    let (_, columns) = reference(spec, &spec.lookups[number]);
    let mut keys = Keys::new();
    for batch in events {
        keys.extend(references(batch, &columns).iter().flatten().map(Box::from));
    }
    keys
}

/// Which events lookup `number` goes on from: 0 for the source table, n + 1 for
/// lookup n.
#[must_use]
pub fn goes_on_from(spec: &Spec, number: usize) -> usize {
    reference(spec, &spec.lookups[number]).0
}
