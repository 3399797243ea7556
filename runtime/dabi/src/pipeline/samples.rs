//! A few of the newest events of each table, for trying a module before it is
//! switched to.
//!
//! Invariant: what is kept is copied, so that it holds no epoch's memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::UInt32Array;
use arrow::compute::take_record_batch;
use dabi_core::change::ChangeBatch;
use dabi_core::table::SourceTable;
use tokio::time::Instant;

/// Events of one table.
const ROWS_MAX: usize = 256;
/// Copying is cheap, not free.
const EVERY: Duration = Duration::from_secs(1);

/// Shared, cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Samples(Arc<Mutex<BTreeMap<SourceTable, Sample>>>);

struct Sample {
    events: ChangeBatch,
    taken: Instant,
}

impl Samples {
    /// Keeps the end of `batch`, unless a sample of its table is fresh.
    pub(super) fn offer(&self, batch: &ChangeBatch, now: Instant) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if samples.get(batch.table()).is_some_and(|sample| now < sample.taken + EVERY) {
            return;
        }
        if let Some(events) = copy_of_end(batch) {
            samples.insert(batch.table().clone(), Sample { events, taken: now });
        }
    }

    /// What is kept of `table`.
    pub(super) fn of(&self, table: &SourceTable) -> Option<ChangeBatch> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.get(table).map(|sample| sample.events.clone())
    }
}

fn copy_of_end(batch: &ChangeBatch) -> Option<ChangeBatch> {
    let end = u32::try_from(batch.num_rows()).ok()?;
    let from = u32::try_from(batch.num_rows().saturating_sub(ROWS_MAX)).ok()?;
    let rows: UInt32Array = (from..end).collect::<Vec<_>>().into();
    let copied = take_record_batch(batch.record_batch(), &rows).ok()?;
    ChangeBatch::try_new(copied).ok()
}
