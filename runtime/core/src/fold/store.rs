//! The rows that the fold refers to, as the batches they came in.
//!
//! Owns references to rows, and their renewal: when most rows held are dead,
//! those still referred to are copied together and the rest is let go.
//!
//! Invariant: memory is bounded by the rows referred to (about twice their
//! bytes), not by the events applied.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow::compute::{cast, interleave, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};

/// Rows that may be dead before anything is copied.
const SLACK_ROWS: usize = 64 << 10;
/// Rows of a copied batch.
const BATCH_ROWS: usize = 8192;

/// A row of a batch in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct RowRef {
    pub(super) batch: u32,
    pub(super) row: u32,
}

/// Batches by number.
#[derive(Debug, Default)]
pub(super) struct RowStore {
    batches: Vec<RecordBatch>,
    rows: usize,
    /// How many were left by the last renewal.
    rows_renewed: usize,
}

impl RowStore {
    /// Takes a batch; its rows are then `RowRef { batch, row }`.
    pub(super) fn push(&mut self, batch: RecordBatch) -> u32 {
        self.rows += batch.num_rows();
        self.batches.push(batch);
        u32::try_from(self.batches.len() - 1).expect("renewal keeps the number of batches small")
    }

    pub(super) fn batch(&self, row: RowRef) -> &RecordBatch {
        &self.batches[row.batch as usize]
    }

    #[cfg(test)]
    pub(super) fn held_rows(&self) -> usize {
        self.rows
    }

    /// Is it time to let dead rows go? Copying then costs each row a constant.
    pub(super) fn crowded(&self) -> bool {
        self.rows > 2 * self.rows_renewed + SLACK_ROWS
    }

    /// Keeps only the rows that `referred` yields, and gives each reference its
    /// new value.
    pub(super) fn renew(&mut self, referred: &mut [&mut RowRef]) {
        let mut rows: Vec<RowRef> = referred.iter().map(|row| **row).collect();
        rows.sort_unstable();
        rows.dedup();
        let old = std::mem::take(self);
        let mut renewed: Vec<RowRef> = vec![RowRef { batch: 0, row: 0 }; rows.len()];
        for (schema, members) in by_schema(&old, &rows) {
            for chunk in members.chunks(BATCH_ROWS) {
                let picked: Vec<RowRef> = chunk.iter().map(|index| rows[*index]).collect();
                let batch = self.push(old.gather(&schema, &picked));
                for (row, index) in chunk.iter().enumerate() {
                    let row = u32::try_from(row).expect("a chunk is small");
                    renewed[*index] = RowRef { batch, row };
                }
            }
        }
        self.rows_renewed = self.rows;
        for reference in referred {
            let index = rows.binary_search(reference).expect("all references were collected");
            **reference = renewed[index];
        }
    }

    /// Copies rows of batches that have `schema`.
    fn gather(&self, schema: &SchemaRef, rows: &[RowRef]) -> RecordBatch {
        if let Some(first) = rows.first().filter(|first| rows.iter().all(|row| row.batch == first.batch)) {
            let indices: UInt64Array = rows.iter().map(|row| u64::from(row.row)).collect();
            return take_record_batch(self.batch(*first), &indices).expect("rows of this batch");
        }
        let columns =
            (0..schema.fields().len()).map(|column| self.column(rows.iter().map(|row| (*row, column))));
        RecordBatch::try_new(Arc::clone(schema), columns.collect()).expect("columns of this schema")
    }

    /// Copies single values, each given as a row and a column of its batch, all
    /// of one type.
    pub(super) fn column(&self, values: impl Iterator<Item = (RowRef, usize)>) -> ArrayRef {
        let mut arrays: Vec<ArrayRef> = Vec::new();
        let mut known = HashMap::new();
        let mut codes = None;
        let indices: Vec<(usize, usize)> = values
            .map(|(row, column)| {
                let array = *known.entry((row.batch, column)).or_insert_with(|| {
                    let array = self.batch(row).column(column);
                    // put together as they are, dictionaries would repeat
                    // values and run out of codes
                    arrays.push(match array.data_type() {
                        DataType::Dictionary(_, values) => {
                            codes = Some(array.data_type().clone());
                            cast(array, values).expect("a dictionary holds its values")
                        }
                        _ => Arc::clone(array),
                    });
                    arrays.len() - 1
                });
                (array, row.row as usize)
            })
            .collect();
        let arrays: Vec<&dyn Array> = arrays.iter().map(AsRef::as_ref).collect();
        let column = interleave(&arrays, &indices).expect("values of one type");
        codes.map_or_else(|| Arc::clone(&column), |codes| cast(&column, &codes).expect("few distinct values"))
    }
}

/// Indices into `rows`, grouped by the schema of their batch.
fn by_schema(store: &RowStore, rows: &[RowRef]) -> Vec<(SchemaRef, Vec<usize>)> {
    let mut groups: Vec<(SchemaRef, Vec<usize>)> = Vec::new();
    let mut last = None;
    for (index, row) in rows.iter().enumerate() {
        let group = match last {
            Some((batch, group)) if batch == row.batch => group,
            _ => {
                let schema = store.batch(*row).schema_ref();
                let found =
                    groups.iter().position(|(known, _)| Arc::ptr_eq(known, schema) || known == schema);
                found.unwrap_or_else(|| {
                    groups.push((Arc::clone(schema), Vec::new()));
                    groups.len() - 1
                })
            }
        };
        last = Some((row.batch, group));
        groups[group].1.push(index);
    }
    groups
}
