//! What a snapshot that is taken again tells: the rows that it has not read are
//! gone, although nobody sent their deletion.
//!
//! Owns which rows those are. They are older than the snapshot twice over:
//! - their LSN is below the snapshot's, which all rows that it reads share; and
//! - they were committed no later than some event of the table that stands before
//!   the snapshot on its partition.
//!
//! The LSN alone would not do: a transaction that was open when the snapshot was
//! taken has changes with lower LSNs, commits later, and is streamed behind the
//! snapshot, which has not seen it. Its commit time tells it apart, by the
//! database's own clock.
//!
//! What a partition without rows of the snapshot had last may so stay, rather than
//! a row that is there go. A snapshot that was broken off, and the first one of a
//! table, remove nothing.
//!
//! Invariant: what is known depends on each partition's events, not on how
//! partitions interleave; events that come again change nothing.

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::Int8Type;
use serde::{Deserialize, Serialize};

use super::Truncate;
use crate::change::{ChangeBatch, Op, meta};
use crate::position::Topic;

/// Snapshots that were begun and not ended, of which the latest so many are kept.
const UNFINISHED_MAX: usize = 16;

/// The snapshots of one source table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Snapshots {
    partitions: BTreeMap<Topic, BTreeMap<i32, Passed>>,
    /// By their LSN.
    taken: BTreeMap<i64, Taken>,
}

/// What of a partition was passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Passed {
    latest: Option<Commit>,
    /// The last snapshot that has rows here.
    snapshot: Option<i64>,
}

/// A place in the order of commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Commit {
    ts_us: i64,
    /// Of a row that was read the greatest: reading is no commit, of which a part
    /// could still come.
    lsn: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Taken {
    /// The last commit that is known to come before it.
    before: Option<Commit>,
    /// When it was taken; known once its end has come.
    at_us: Option<i64>,
}

/// A whole snapshot of a table of which rows were known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resnapshot {
    /// Log sequence number, which all rows that it has read share.
    pub lsn: i64,
    before: Commit,
    /// When it was taken, µs since 1970.
    pub at_us: i64,
}

impl Resnapshot {
    #[cfg(test)]
    pub(crate) fn new((at_us, lsn): (i64, i64), (ts_us, before): (i64, i64)) -> Self {
        Self { lsn, before: Commit { ts_us, lsn: before }, at_us }
    }

    /// The truncates that together remove the same rows. Of the last transaction
    /// before the snapshot only what is known to come before it: where streaming
    /// pauses for a snapshot, the rest comes after.
    pub(super) fn truncates(&self) -> [Truncate; 2] {
        let Commit { ts_us, lsn } = self.before;
        [
            Truncate { lsn: Some(self.lsn.min(lsn.saturating_add(1))), ts_us: Some(ts_us) },
            Truncate { lsn: Some(self.lsn), ts_us: Some(ts_us.saturating_sub(1)) },
        ]
    }

    /// Does it remove a row whose last event has this LSN and commit time (µs)?
    #[must_use]
    pub fn covers(&self, lsn: Option<i64>, ts_us: Option<i64>) -> bool {
        self.truncates().iter().any(|truncate| truncate.covers(lsn, ts_us))
    }
}

impl Snapshots {
    /// Takes in events of one partition.
    pub(super) fn learn(&mut self, batches: &[&ChangeBatch]) {
        let Some(first) = batches.first() else { return };
        let partitions = self.partitions.entry(Topic::clone(first.topic())).or_default();
        let passed = partitions.entry(first.partition()).or_default();
        let reads: Vec<Reads> = batches.iter().map(|batch| Reads::of(batch)).collect();
        if reads.iter().all(|reads| reads.0.is_empty()) {
            let latest = batches.iter().filter_map(|batch| latest(batch)).max();
            passed.latest = passed.latest.max(latest);
            return;
        }
        // Batches of several schemas may interleave.
        let rows = |(number, batch): (usize, &&ChangeBatch)| -> Vec<(i64, usize, usize)> {
            (0..).zip(batch.offsets().values()).map(|(row, offset)| (*offset, number, row)).collect()
        };
        let mut events: Vec<(i64, usize, usize)> = batches.iter().enumerate().flat_map(rows).collect();
        events.sort_unstable();
        let ops: Vec<Vec<Op>> = batches.iter().map(|batch| batch.ops().collect()).collect();
        for (_, number, row) in events {
            let at = Truncate::at(batches[number], row);
            let op = ops[number][row];
            if let (Op::Read, Some(lsn), Some(marker)) = (op, at.lsn, reads[number].marker(row)) {
                let snapshot = self.taken.entry(lsn).or_default();
                if passed.snapshot.is_none_or(|last| last < lsn) {
                    snapshot.before = snapshot.before.max(passed.latest);
                    passed.snapshot = Some(lsn);
                }
                if marker == Marker::End {
                    snapshot.at_us = snapshot.at_us.or(at.ts_us);
                }
            }
            passed.latest = passed.latest.max(commit(at, op));
        }
        self.forget_unfinished();
    }

    /// Takes in what `earlier` knows, which has seen each partition up to where this
    /// began, or beyond.
    pub(super) fn merge(&mut self, earlier: &Self) {
        for (lsn, known) in &earlier.taken {
            let own = self.taken.entry(*lsn).or_default();
            own.before = own.before.max(known.before);
            own.at_us = own.at_us.or(known.at_us);
        }
        for (topic, partitions) in &earlier.partitions {
            for (partition, known) in partitions {
                let own = self.partitions.entry(Topic::clone(topic)).or_default();
                let own = own.entry(*partition).or_default();
                if let Some(lsn) = own.snapshot.filter(|_| known.snapshot < own.snapshot) {
                    let begun = self.taken.entry(lsn).or_default();
                    begun.before = begun.before.max(known.latest);
                }
                own.latest = own.latest.max(known.latest);
                own.snapshot = own.snapshot.max(known.snapshot);
            }
        }
        self.forget_unfinished();
    }

    /// Those that are whole and not the first.
    pub(super) fn resnapshots(&self) -> impl Iterator<Item = Resnapshot> + '_ {
        self.taken.iter().filter_map(|(lsn, taken)| {
            Some(Resnapshot { lsn: *lsn, before: taken.before?, at_us: taken.at_us? })
        })
    }

    /// A connector that never comes to the end of its snapshot begins many.
    fn forget_unfinished(&mut self) {
        let unfinished = self.taken.iter().filter(|(_, taken)| taken.at_us.is_none());
        let old: Vec<i64> = unfinished.map(|(lsn, _)| *lsn).rev().skip(UNFINISHED_MAX).collect();
        self.taken.retain(|lsn, _| !old.contains(lsn));
    }
}

/// What `source.snapshot` says of a row that a snapshot has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    Within,
    /// The last row of the table.
    End,
}

impl Marker {
    fn of(snapshot: &str) -> Option<Self> {
        match snapshot {
            "true" | "first" | "first_in_data_collection" => Some(Self::Within),
            "last" | "last_in_data_collection" => Some(Self::End),
            _ => None,
        }
    }
}

/// The markers of a batch's rows; without any, nothing.
struct Reads(Vec<Option<Marker>>);

impl Reads {
    fn of(batch: &ChangeBatch) -> Self {
        let column = batch.meta(meta::SNAPSHOT).as_dictionary::<Int8Type>();
        let names = column.values().as_string::<i32>();
        let markers: Vec<Option<Marker>> = names.iter().map(|name| Marker::of(name?)).collect();
        if markers.iter().all(Option::is_none) {
            return Self(Vec::new());
        }
        let marker = |row: usize| *markers.get(column.key(row)?)?;
        Self((0..batch.num_rows()).map(marker).collect())
    }

    fn marker(&self, row: usize) -> Option<Marker> {
        self.0.get(row).copied().flatten()
    }
}

fn commit(at: Truncate, op: Op) -> Option<Commit> {
    let lsn = if op == Op::Read { i64::MAX } else { at.lsn.unwrap_or(i64::MIN) };
    Some(Commit { ts_us: at.ts_us?, lsn })
}

fn latest(batch: &ChangeBatch) -> Option<Commit> {
    batch.ops().enumerate().filter_map(|(row, op)| commit(Truncate::at(batch, row), op)).max()
}
