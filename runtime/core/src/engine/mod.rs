//! The stateless engine: which events of an epoch decide the star, and the
//! star rows that follow from what the transform made of them.
//!
//! Owns the rule "the last event of a key decides, unless a truncate covers
//! it", and tombstones. Does not own reading columns (`reading`), calling the
//! transform, or table layout (`star`).
//!
//! Invariant: for each key that occurs in an epoch exactly one row leaves for
//! each target: what `apply` gave, or a tombstone. So an epoch may be applied
//! again, whole or in part, under a higher version, and the star ends the same.
//! Of an append target the change is part of the key (`star::change_keys`), so
//! there each event decides for itself, and nothing that comes later takes its
//! rows away.

pub(crate) mod rows;
pub mod state;
pub mod stateful;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::ArrayRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use xxhash_rust::xxh3::xxh3_128;

use crate::change::{ChangeBatch, Op};
pub use crate::fold::Truncates;
use crate::spec::Spec;
pub use rows::{EvaluatedBatch, star_rows};

/// What becomes of one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A later event of the epoch decides its key, it is a truncate, or its
    /// operation is none that the targets keep.
    Superseded,
    /// Its key has a star row if the transform gives one.
    Evaluate,
    /// Its key has no star row: deleted, or covered by a truncate.
    Tombstone,
}

/// The verdict on each row of each batch of an epoch, for one source table.
#[derive(Debug)]
pub struct Verdicts(Vec<Vec<Verdict>>);

impl Verdicts {
    /// Judges `batches`, which stand in the order in which they were read.
    ///
    /// `keys` has for each batch the target's key columns, as the transform
    /// declares them (so that a key means the same before and after its wire
    /// type changed). `truncates` already holds those of this epoch.
    ///
    /// # Errors
    /// If a key column has a type that cannot be compared (none that a spec allows).
    pub fn judge(
        batches: &[ChangeBatch],
        keys: &[Vec<ArrayRef>],
        truncates: &Truncates,
    ) -> Result<Self, ArrowError> {
        let mut verdicts: Vec<Vec<Verdict>> = Vec::with_capacity(batches.len());
        let rows = batches.iter().map(ChangeBatch::num_rows).sum();
        let mut last = LastOfKey::with_capacity_and_hasher(rows, BuildHasherDefault::default());
        for (index, (batch, keys)) in batches.iter().zip(keys).enumerate() {
            let hashes = key_hashes(keys)?;
            let mut own = Vec::with_capacity(batch.num_rows());
            let (lsns, times, offsets) = (batch.lsns(), batch.commit_ts(), batch.offsets().values());
            for (row, op) in batch.ops().enumerate() {
                if op == Op::Truncate {
                    own.push(Verdict::Superseded);
                    continue;
                }
                let (lsn, ts) = (value(lsns, row), value(times, row));
                let gone = op == Op::Delete || truncates.cover(lsn, ts);
                own.push(if gone { Verdict::Tombstone } else { Verdict::Evaluate });
                let place = Place { batch: index, row, partition: batch.partition(), offset: offsets[row] };
                let Some(earlier) = last.insert(hashes[row], place) else { continue };
                // Two schemas of one partition interleave: there the offset
                // decides. Between partitions (their number was raised) the
                // order of reading does.
                let loser = if earlier.partition == place.partition && earlier.offset > place.offset {
                    last.insert(hashes[row], earlier);
                    place
                } else {
                    earlier
                };
                let losing = if loser.batch == index { &mut own } else { &mut verdicts[loser.batch] };
                losing[loser.row] = Verdict::Superseded;
            }
            verdicts.push(own);
        }
        Ok(Self(verdicts))
    }

    /// As [`Verdicts::judge`], for a transform that keeps changes: every event
    /// counts for itself, whatever came of its key since.
    #[must_use]
    pub fn of_changes(batches: &[ChangeBatch], spec: &Spec) -> Self {
        let verdict = |op| if spec.is_called_for(op) { Verdict::Evaluate } else { Verdict::Superseded };
        Self(batches.iter().map(|batch| batch.ops().map(verdict).collect()).collect())
    }

    /// The rows of batch `index` that got `verdict`, ascending.
    #[must_use]
    pub fn rows(&self, index: usize, verdict: Verdict) -> Vec<u32> {
        (0u32..).zip(&self.0[index]).filter(|(_, own)| **own == verdict).map(|(row, _)| row).collect()
    }
}

#[derive(Clone, Copy)]
struct Place {
    batch: usize,
    row: usize,
    partition: i32,
    offset: i64,
}

/// Keys by their 128-bit hash: two keys of one epoch that collide are not to be
/// expected before the sun burns out.
type LastOfKey = HashMap<u128, Place, BuildHasherDefault<Hashed>>;

/// The hash of a value that is a hash.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.0 ^= u64::from_le_bytes(word);
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "either half of a hash is a hash")]
    fn write_u128(&mut self, hash: u128) {
        self.0 = hash as u64;
    }
}

fn key_hashes(keys: &[ArrayRef]) -> Result<Vec<u128>, ArrowError> {
    let fields = keys.iter().map(|key| SortField::new(key.data_type().clone())).collect();
    let rows = RowConverter::new(fields)?.convert_columns(keys)?;
    Ok(rows.iter().map(|row| xxh3_128(row.as_ref())).collect())
}

fn value<T: arrow::datatypes::ArrowPrimitiveType>(
    array: &arrow::array::PrimitiveArray<T>,
    row: usize,
) -> Option<T::Native> {
    use arrow::array::Array;
    array.is_valid(row).then(|| array.value(row))
}

#[cfg(test)]
mod tests;
