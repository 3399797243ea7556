//! Checkpoints: runs of manifests in one object, so that reading a lake's
//! history does not cost a request per commit.
//!
//! Invariant: a checkpoint repeats manifests, it never replaces them; a missing
//! or overlapping one costs requests, not correctness.

use serde::{Deserialize, Serialize};

use super::{Manifest, ManifestNumber};

/// A checkpoint is written after every so many manifests.
pub const CHECKPOINT_EVERY: u64 = 256;

/// The manifests `first..=last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CheckpointRange {
    /// First manifest in it.
    pub first: ManifestNumber,
    /// Last manifest in it.
    pub last: ManifestNumber,
}

/// What a checkpoint object holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The manifests of its range, in order, as they were committed.
    pub manifests: Vec<Manifest>,
}

/// One object to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadStep {
    /// A checkpoint, from which manifests below `from` are to be dropped.
    Checkpoint {
        /// Its range.
        range: CheckpointRange,
        /// The first manifest wanted of it.
        from: ManifestNumber,
    },
    /// A single manifest.
    Manifest(ManifestNumber),
}

/// The fewest objects, in order, that hold each of the manifests `1..=head`
/// once, given the checkpoints that exist.
#[must_use]
pub fn plan_reading(checkpoints: &[CheckpointRange], head: ManifestNumber) -> Vec<ReadStep> {
    let mut by_first: Vec<CheckpointRange> =
        checkpoints.iter().copied().filter(|range| range.last <= head).collect();
    by_first.sort_unstable();
    let mut steps = Vec::new();
    let mut candidates = by_first.into_iter().peekable();
    let mut furthest: Option<CheckpointRange> = None;
    let mut next = ManifestNumber::FIRST;
    while next <= head {
        while let Some(range) = candidates.next_if(|range| range.first <= next) {
            if furthest.is_none_or(|best| range.last > best.last) {
                furthest = Some(range);
            }
        }
        match furthest.filter(|range| range.last >= next) {
            Some(range) => {
                steps.push(ReadStep::Checkpoint { range, from: next });
                next = range.last.next();
            }
            None => {
                steps.push(ReadStep::Manifest(next));
                next = next.next();
            }
        }
    }
    steps
}
