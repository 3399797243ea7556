//! The truncates of a source table that are known, and what they cover.

use serde::{Deserialize, Serialize};

use super::Truncate;
use crate::change::{ChangeBatch, Op};

/// The truncates of one source table that can still matter.
///
/// A truncate stands on one partition, unordered against the rows on the
/// others, so it is remembered and held against every later event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Truncates(Vec<Truncate>);

impl Truncates {
    /// Remembers the truncates among `batches`; gives those that are new.
    pub fn learn(&mut self, batches: &[ChangeBatch]) -> Vec<Truncate> {
        let mut fresh = Vec::new();
        for batch in batches {
            for (row, op) in batch.ops().enumerate() {
                if op == Op::Truncate {
                    let truncate = Truncate::at(batch, row);
                    if self.add(truncate) {
                        fresh.push(truncate);
                    }
                }
            }
        }
        fresh
    }

    /// Remembers those that `other` knows, too.
    pub fn merge(&mut self, other: &Self) {
        for truncate in &other.0 {
            self.add(*truncate);
        }
    }

    /// Those that are known.
    pub fn iter(&self) -> impl Iterator<Item = Truncate> + '_ {
        self.0.iter().copied()
    }

    /// Adds one; false if another already covers all that it covers.
    pub(super) fn add(&mut self, truncate: Truncate) -> bool {
        if self.0.iter().any(|known| includes(*known, truncate)) {
            return false;
        }
        self.0.retain(|known| !includes(truncate, *known));
        self.0.push(truncate);
        true
    }

    /// Is a row whose last event has this LSN and commit time (µs) gone?
    #[must_use]
    pub fn cover(&self, lsn: Option<i64>, ts_us: Option<i64>) -> bool {
        self.0.iter().any(|truncate| truncate.covers(lsn, ts_us))
    }
}

/// Does `a` cover every event that `b` covers?
fn includes(a: Truncate, b: Truncate) -> bool {
    a == b
        || matches!((a.lsn, a.ts_us, b.lsn, b.ts_us), (Some(al), Some(at), Some(bl), Some(bt)) if al >= bl && at >= bt)
}
