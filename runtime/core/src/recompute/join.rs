//! The columns that a transform gets for some source rows.
//!
//! Owns the definition of a lookup: the row of that key, or what the missing
//! policy says; behind a row that is not there only the policy for that one
//! counts.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::interleave;
use arrow::error::ArrowError;

use super::tables::{RowPlace, TableRows, references};
use super::{Fault, RecomputeError, Stop};
use crate::change::{ChangeBatch, meta};
use crate::dead_letter::Stage;
use crate::reading::{RowFault, read_column};
use crate::spec::{InputColumn, Lookup, MissingPolicy, Spec};
use crate::table::SourceTable;

/// Source rows with everything that the transform asks for.
pub(super) struct Joined {
    /// Every input column.
    pub(super) columns: Vec<ArrayRef>,
    /// For each source row and lookup the row that was found.
    pub(super) found: Vec<Vec<Option<RowPlace>>>,
    /// For each source row why the transform is not called.
    pub(super) stops: Vec<Option<Stop>>,
}

impl Joined {
    /// The first reason counts.
    fn stop(&mut self, row: usize, reason: impl FnOnce() -> Stop) {
        self.stops[row].get_or_insert_with(reason);
    }
}

/// Joins the rows at `places` of `source`, the table of `spec`.
pub(super) fn join(
    spec: &Spec,
    tables: &BTreeMap<SourceTable, TableRows>,
    source: &TableRows,
    places: &[RowPlace],
) -> Result<Joined, RecomputeError> {
    let rows = places.len();
    let mut joined = Joined { columns: Vec::new(), found: vec![Vec::new(); rows], stops: vec![None; rows] };
    let places: Vec<Option<RowPlace>> = places.iter().copied().map(Some).collect();
    joined.take(source, &spec.columns, &places)?;
    let none = TableRows::default();
    let mut steps: Vec<(&TableRows, Vec<Option<RowPlace>>)> = vec![(source, places)];
    for lookup in &spec.lookups {
        let (from, columns) = reference(spec, lookup);
        let table = tables.get(&lookup.table).unwrap_or(&none);
        let (from_table, from_places) = &steps[from];
        let found = joined.look_up(lookup, &columns, from_table, from_places, table);
        joined.take(table, &lookup.columns, &found)?;
        steps.push((table, found));
    }
    Ok(joined)
}

/// Which step a lookup goes on from, and the columns there that hold its key, in
/// the order of the key's names.
pub(super) fn reference(spec: &Spec, lookup: &Lookup) -> (usize, Vec<String>) {
    let references = spec.references(lookup);
    let from = references.first().and_then(|first| first.lookup).map_or(0, |earlier| earlier + 1);
    let mut pairs: Vec<(&String, &str)> =
        lookup.key.iter().zip(references.iter().map(|reference| reference.column)).collect();
    pairs.sort_unstable();
    (from, pairs.into_iter().map(|(_, column)| column.to_owned()).collect())
}

impl Joined {
    /// The rows of `table` that `lookup` finds from `columns` of the rows at
    /// `places` of `from`.
    fn look_up(
        &mut self,
        lookup: &Lookup,
        columns: &[String],
        from: &TableRows,
        places: &[Option<RowPlace>],
        table: &TableRows,
    ) -> Vec<Option<RowPlace>> {
        let keys: Vec<BinaryArray> = from.batches().iter().map(|batch| references(batch, columns)).collect();
        let mut found = Vec::with_capacity(places.len());
        for (row, place) in places.iter().enumerate() {
            let Some(place) = place else {
                self.found[row].push(None);
                found.push(None);
                continue;
            };
            let unsent = unsent(&from.batches()[place.batch], place.row);
            if columns.iter().any(|column| unsent.contains(column)) {
                self.stop(row, || {
                    letter("unavailable", format!("{}: it was not sent", lookup.on.join(", ")))
                });
            }
            let keys = &keys[place.batch];
            let there = keys.is_valid(place.row).then(|| table.find(keys.value(place.row))).flatten();
            if there.is_none() {
                self.stop_for_missing(lookup, row);
            }
            self.found[row].push(there);
            found.push(there);
        }
        found
    }

    fn stop_for_missing(&mut self, lookup: &Lookup, row: usize) {
        match lookup.missing {
            MissingPolicy::Nulls => {}
            MissingPolicy::Hold => self.stop(row, || Stop::Held(lookup.name.clone())),
            MissingPolicy::Reject => self.stop(row, || {
                letter(
                    "lookup-missing",
                    format!("lookup {}: there is no row of {}", lookup.name, lookup.table),
                )
            }),
        }
    }

    /// Adds `columns` of the rows at `places`; where there is none, nulls.
    fn take(
        &mut self,
        table: &TableRows,
        columns: &[InputColumn],
        places: &[Option<RowPlace>],
    ) -> Result<(), RecomputeError> {
        let mut faults: HashMap<RowPlace, RowFault> = HashMap::new();
        for (position, column) in columns.iter().enumerate() {
            let mut arrays = Vec::with_capacity(table.batches().len() + 1);
            for (number, batch) in table.batches().iter().enumerate() {
                let all = BooleanBuffer::new_set(batch.num_rows());
                let reading = read_column(batch, position, column, &all)?;
                for fault in reading.faults {
                    faults.entry(RowPlace { batch: number, row: fault.row }).or_insert(fault);
                }
                arrays.push(reading.array);
            }
            self.columns.push(gather(arrays, column, places)?);
        }
        for (row, place) in places.iter().enumerate() {
            if let Some(fault) = place.and_then(|place| faults.get(&place)) {
                self.stop(row, || letter(fault.code, fault.message.clone()));
            }
        }
        Ok(())
    }
}

/// One value for each place, from arrays by batch.
fn gather(
    mut arrays: Vec<ArrayRef>,
    column: &InputColumn,
    places: &[Option<RowPlace>],
) -> Result<ArrayRef, ArrowError> {
    let none = (arrays.len(), 0);
    arrays.push(new_null_array(&column.data_type.arrow(), 1));
    let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
    let picked: Vec<(usize, usize)> =
        places.iter().map(|place| place.map_or(none, |place| (place.batch, place.row))).collect();
    interleave(&arrays, &picked)
}

/// Names of the columns that the row was sent without and nothing before it had.
fn unsent(batch: &ChangeBatch, row: usize) -> Vec<String> {
    let lists = batch.meta(meta::UNAVAILABLE).as_list::<i32>();
    if lists.is_null(row) {
        return Vec::new();
    }
    lists.value(row).as_string::<i32>().iter().flatten().map(str::to_owned).collect()
}

fn letter(code: &str, message: String) -> Stop {
    Stop::Letter(Fault::new(Stage::Read, code, message))
}
