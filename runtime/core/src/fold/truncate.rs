//! What a TRUNCATE removes.

use arrow::array::Array as _;
use serde::{Deserialize, Serialize};

use crate::change::ChangeBatch;

/// A TRUNCATE of a source table.
///
/// It lands on one partition, unordered against the rows on the others; so
/// what it removes is a question of log position and commit time, not of
/// arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truncate {
    /// Log sequence number; `None` if not sent.
    pub lsn: Option<i64>,
    /// Commit time, µs since 1970; `None` if not sent.
    pub ts_us: Option<i64>,
}

impl Truncate {
    /// The truncate event in `row` of `batch`.
    #[must_use]
    pub fn at(batch: &ChangeBatch, row: usize) -> Self {
        let (lsns, times) = (batch.lsns(), batch.commit_ts());
        Self {
            lsn: lsns.is_valid(row).then(|| lsns.value(row)),
            ts_us: times.is_valid(row).then(|| times.value(row)),
        }
    }

    /// Does it remove a row whose last event has this LSN and commit time (µs)?
    ///
    /// Where either LSN is missing (reads of an incremental snapshot have
    /// none), commit times alone decide; where those are missing too, nothing
    /// is removed.
    #[must_use]
    pub fn covers(&self, lsn: Option<i64>, ts_us: Option<i64>) -> bool {
        let earlier_lsn = match (self.lsn, lsn) {
            (Some(truncate), Some(event)) => Some(event < truncate),
            _ => None,
        };
        let not_later = match (self.ts_us, ts_us) {
            (Some(truncate), Some(event)) => Some(event <= truncate),
            _ => None,
        };
        match (earlier_lsn, not_later) {
            (Some(lsn), Some(ts)) => lsn && ts,
            (Some(decides), None) | (None, Some(decides)) => decides,
            (None, None) => false,
        }
    }
}
