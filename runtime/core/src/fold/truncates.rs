//! The truncates of a source table that are known, and what they cover.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Truncate;
use super::snapshots::{Resnapshot, Snapshots};
use crate::change::{ChangeBatch, Op};

/// The truncates of one source table that can still matter.
///
/// A truncate stands on one partition, unordered against the rows on the
/// others, so it is remembered and held against every later event. A snapshot
/// that is taken again acts as truncates do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Truncates {
    known: Vec<Truncate>,
    snapshots: Snapshots,
}

impl Truncates {
    /// Remembers what `batches` remove, which follow those of their partitions that
    /// were given before; gives what is new.
    pub fn learn<'a>(&mut self, batches: impl IntoIterator<Item = &'a ChangeBatch>) -> Vec<Truncate> {
        let mut fresh = Vec::new();
        let mut partitions: BTreeMap<(&str, i32), Vec<&ChangeBatch>> = BTreeMap::new();
        for batch in batches {
            partitions.entry((&**batch.topic(), batch.partition())).or_default().push(batch);
            for (row, op) in batch.ops().enumerate() {
                if op == Op::Truncate {
                    self.add_to(&mut fresh, Truncate::at(batch, row));
                }
            }
        }
        partitions.values().for_each(|batches| self.snapshots.learn(batches));
        self.take_up(&mut fresh);
        fresh
    }

    /// Remembers what `earlier` knows, too, which has seen each partition up to
    /// where this began, or beyond.
    pub fn merge(&mut self, earlier: &Self) {
        for truncate in &earlier.known {
            self.add(*truncate);
        }
        self.snapshots.merge(&earlier.snapshots);
        self.take_up(&mut Vec::new());
    }

    /// Remembers a snapshot that was taken again.
    pub(super) fn end_snapshot(&mut self, snapshot: &Resnapshot) {
        for truncate in snapshot.truncates() {
            self.add(truncate);
        }
    }

    /// Those that are known.
    pub fn iter(&self) -> impl Iterator<Item = Truncate> + '_ {
        self.known.iter().copied()
    }

    /// The snapshots among them; they are in [`Truncates::iter`], too.
    pub fn resnapshots(&self) -> impl Iterator<Item = Resnapshot> + '_ {
        self.snapshots.resnapshots()
    }

    fn take_up(&mut self, fresh: &mut Vec<Truncate>) {
        let resnapshots: Vec<Resnapshot> = self.resnapshots().collect();
        for truncate in resnapshots.iter().flat_map(Resnapshot::truncates) {
            self.add_to(fresh, truncate);
        }
    }

    fn add_to(&mut self, fresh: &mut Vec<Truncate>, truncate: Truncate) {
        if self.add(truncate) {
            fresh.push(truncate);
        }
    }

    /// Adds one; false if another already covers all that it covers.
    fn add(&mut self, truncate: Truncate) -> bool {
        if self.known.iter().any(|known| includes(*known, truncate)) {
            return false;
        }
        self.known.retain(|known| !includes(truncate, *known));
        self.known.push(truncate);
        true
    }

    /// Is a row whose last event has this LSN and commit time (µs) gone?
    #[must_use]
    pub fn cover(&self, lsn: Option<i64>, ts_us: Option<i64>) -> bool {
        self.known.iter().any(|truncate| truncate.covers(lsn, ts_us))
    }
}

/// Does `a` cover every event that `b` covers?
fn includes(a: Truncate, b: Truncate) -> bool {
    a == b
        || matches!((a.lsn, a.ts_us, b.lsn, b.ts_us), (Some(al), Some(at), Some(bl), Some(bt)) if al >= bl && at >= bt)
}
