//! The row that each of many events left its key, and not only the last.
//!
//! Owns that a row is whole: a value that was not sent is found as the fold finds
//! it, in the row before, or after a key change in that of the old key. Does not
//! own the order in which events count (`recompute::history`).

use super::{Extras, Fold, RowRef, without_before};
use crate::change::{ChangeBatch, Op};
use crate::fold::key::key_of;
use crate::table::SourceTable;

/// Position of an event: its batch, and its row there.
pub(crate) type EventAt = (usize, usize);

/// The rows that the events at `order` left, if they come in that order, whatever
/// truncates removed. They are as [`Fold::rows`] gives rows; an event without a row
/// or without a key left none.
pub(crate) fn every_row(table: &SourceTable, batches: &[ChangeBatch], order: &[EventAt]) -> Vec<ChangeBatch> {
    let mut fold = Fold::new(table.clone());
    let numbers: Vec<u32> = batches.iter().map(|batch| fold.store.push(without_before(batch))).collect();
    let extras: Vec<Extras<'_>> = batches.iter().map(Extras::of).collect();
    let ops: Vec<Vec<Op>> = batches.iter().map(|batch| batch.ops().collect()).collect();
    let mut all = Vec::with_capacity(order.len());
    for (number, row) in order {
        let (batch, extras) = (&batches[*number], &extras[*number]);
        match ops[*number][*row] {
            Op::Truncate => {}
            Op::Delete => fold.delete(batch, *row, extras),
            op @ (Op::Create | Op::Read | Op::Update) => {
                let Some(key) = key_of(batch, *row) else { continue };
                let place = u32::try_from(*row).expect("a batch has fewer than 2^32 rows");
                fold.put(batch, *row, op, RowRef { batch: numbers[*number], row: place }, extras);
                all.extend(fold.keyed.get(&key).map(|row| row.kept.clone()));
            }
        }
    }
    fold.batches_of(all.iter())
}
