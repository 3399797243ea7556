//! What a module gave for one target: its rows, and those that cannot stand there.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, UInt32Array, new_empty_array};
use arrow::compute::{concat, take};
use arrow::error::ArrowError;
use dabi_core::change::ChangeBatch;
use dabi_core::dead_letter::Stage;
use dabi_core::spec::Target;

use super::{Failure, LiveTransform};
use crate::transform::Applied;

/// Rows of one target.
pub(super) struct LiveRows {
    /// For each row the row of the batch that it comes from.
    pub(super) origins: Vec<u32>,
    pub(super) columns: Vec<ArrayRef>,
}

impl LiveRows {
    /// Keeps the rows of some events.
    pub(super) fn retain(&mut self, is_kept: impl Fn(u32) -> bool) -> Result<(), ArrowError> {
        let places = (0u32..).zip(&self.origins).filter(|(_, origin)| is_kept(**origin));
        let kept: UInt32Array = places.map(|(place, _)| place).collect::<Vec<_>>().into();
        self.columns =
            self.columns.iter().map(|column| take(column, &kept, None)).collect::<Result<_, _>>()?;
        self.origins.retain(|origin| is_kept(*origin));
        Ok(())
    }
}

impl LiveTransform {
    /// What the module gave for a target.
    pub(super) fn given_rows(
        &self,
        target: usize,
        asked: &[u32],
        applied: &Applied,
    ) -> Result<LiveRows, ArrowError> {
        let outputs: Vec<_> = applied.outputs.iter().filter(|output| output.target == target).collect();
        let origins = outputs.iter().flat_map(|output| &output.origin).map(|row| asked[*row as usize]);
        let columns: Vec<ArrayRef> = match outputs.as_slice() {
            [] => empty_columns(&self.spec().targets[target]),
            [output] => output.columns.clone(),
            several => (0..several[0].columns.len())
                .map(|column| {
                    let parts: Vec<_> =
                        several.iter().map(|output| output.columns[column].as_ref()).collect();
                    concat(&parts)
                })
                .collect::<Result<_, _>>()?,
        };
        Ok(LiveRows { origins: origins.collect(), columns })
    }

    /// Takes away the rows of events with a value that ClickHouse cannot hold: from
    /// every target, because an event that failed has no row in any.
    pub(super) fn set_unfit_aside(
        &self,
        batch: &ChangeBatch,
        targets: &mut [LiveRows],
        failures: &mut Vec<Failure>,
    ) -> Result<(), ArrowError> {
        let mut unfit: BTreeMap<u32, String> = BTreeMap::new();
        for (table, live) in self.tables.iter().zip(targets.iter()) {
            for fault in table.out_of_range(&live.columns) {
                unfit.entry(live.origins[fault.row]).or_insert(fault.message);
            }
        }
        if unfit.is_empty() {
            return Ok(());
        }
        for live in targets {
            live.retain(|origin| !unfit.contains_key(&origin))?;
        }
        let failed = unfit.into_iter();
        failures.extend(
            failed.map(|(row, message)| self.failure(batch, row, Stage::Star, "out-of-range", message)),
        );
        Ok(())
    }
}

fn empty_columns(target: &Target) -> Vec<ArrayRef> {
    target.columns.iter().map(|column| new_empty_array(&column.data_type.arrow())).collect()
}
