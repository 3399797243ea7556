//! Which row changes when.
//!
//! Owns the mix of operations (60 % inserts, 30 % updates, 8 % snapshot reads,
//! 2 % deletes) and the choice of keys: inserts take the next line of the next
//! order, updates and deletes favour young rows, as in a real shop.
//!
//! Invariant: only a row that exists is updated or deleted, and a deleted key
//! does not return; each partition is a sequence of its own, so that partitions
//! can be rendered in parallel and still come out the same.

use std::iter::Take;

use crate::order_item::Key;

/// Partitions of a topic.
pub const PARTITIONS: i32 = 3;

/// What happened to a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "Debezium's own names")]
pub enum Op {
    Read,
    Create,
    Update,
    Delete,
}

impl Op {
    /// Debezium's code.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Read => "r",
            Self::Create => "c",
            Self::Update => "u",
            Self::Delete => "d",
        }
    }
}

/// One change event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub op: Op,
    /// To which row.
    pub key: Key,
    /// How often that row was updated, this change included.
    pub updates: u32,
    /// The place of this change among those of all partitions.
    pub sequence: u64,
}

struct LiveRow {
    key: Key,
    updates: u32,
}

/// The changes of one partition, without end.
pub struct Shard {
    partition: u8,
    snapshot: u64,
    emitted: u64,
    next: Key,
    live: Vec<LiveRow>,
    rng: fastrand::Rng,
}

const LINES_MAX: u8 = 6;
/// Of the changes after the snapshot, out of 92.
const CREATES: u8 = 60;
const UPDATES: u8 = 30;
const STREAMED: u8 = 92;

impl Shard {
    /// The first `events` changes, by partition.
    #[must_use]
    pub fn split(seed: u64, events: u64) -> Vec<Take<Self>> {
        let partitions = u64::from(PARTITIONS.unsigned_abs());
        let shards = (0..).zip(0..partitions).map(|(partition, place)| {
            let share = events / partitions + u64::from(place < events % partitions);
            Self::new(seed, partition, share).take(usize::try_from(share).unwrap_or(usize::MAX))
        });
        shards.collect()
    }

    /// The shard of `partition` (below [`PARTITIONS`]), with a snapshot of 8 %
    /// of `events` before the changes begin.
    #[must_use]
    pub fn new(seed: u64, partition: u8, events: u64) -> Self {
        Self {
            partition,
            snapshot: events * 8 / 100,
            emitted: 0,
            next: Key { order_id: 1, line_no: 0 },
            live: Vec::new(),
            rng: fastrand::Rng::with_seed(seed.wrapping_add(partition.into())),
        }
    }

    fn insert(&mut self, op: Op) -> (Op, Key, u32) {
        loop {
            self.next.line_no += 1;
            if self.next.line_no > lines(self.next.order_id) {
                self.next = Key { order_id: self.next.order_id + 1, line_no: 1 };
            }
            if partition_of(self.next) == self.partition {
                self.live.push(LiveRow { key: self.next, updates: 0 });
                return (op, self.next, 0);
            }
        }
    }

    /// The place of a live row: the square of a uniform age, so that half of
    /// the changes go to the youngest quarter.
    fn pick(&mut self) -> usize {
        let age = self.rng.f64();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a random place, below the length"
        )]
        let age = (age * age * self.live.len() as f64) as usize;
        self.live.len().saturating_sub(1 + age)
    }
}

impl Iterator for Shard {
    type Item = Change;

    fn next(&mut self) -> Option<Change> {
        let roll = self.rng.u8(..STREAMED);
        let (op, key, updates) = if self.emitted < self.snapshot {
            self.insert(Op::Read)
        } else if roll < CREATES || self.live.is_empty() {
            self.insert(Op::Create)
        } else {
            let at = self.pick();
            if roll < CREATES + UPDATES {
                let row = &mut self.live[at];
                row.updates += 1;
                (Op::Update, row.key, row.updates)
            } else {
                let row = self.live.swap_remove(at);
                (Op::Delete, row.key, row.updates)
            }
        };
        let sequence = self.emitted * u64::from(PARTITIONS.unsigned_abs()) + u64::from(self.partition);
        self.emitted += 1;
        Some(Change { op, key, updates, sequence })
    }
}

fn mixed(key: u64) -> u64 {
    fastrand::Rng::with_seed(key).u64(..)
}

fn lines(order_id: u32) -> u8 {
    u8::try_from(mixed(order_id.into()) % u64::from(LINES_MAX)).map_or(1, |lines| lines + 1)
}

/// Stands in for the producer's hash of the key's bytes: what matters is that
/// the same key always goes to the same partition.
fn partition_of(key: Key) -> u8 {
    let hash = mixed(u64::from(key.order_id) << 8 | u64::from(key.line_no));
    u8::try_from(hash % u64::from(PARTITIONS.unsigned_abs())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    const EVENTS: usize = 100_000;

    #[test]
    fn only_living_rows_change_and_keys_stay_in_their_partition() {
        let mut owner: HashMap<Key, u8> = HashMap::new();
        for partition in 0..3 {
            let mut live = HashSet::new();
            for change in Shard::new(1, partition, EVENTS as u64).take(EVENTS) {
                match change.op {
                    Op::Read | Op::Create => assert!(live.insert(change.key), "{change:?}"),
                    Op::Update => assert!(live.contains(&change.key), "{change:?}"),
                    Op::Delete => assert!(live.remove(&change.key), "{change:?}"),
                }
                assert_eq!(*owner.entry(change.key).or_insert(partition), partition);
            }
        }
    }

    #[test]
    fn the_mix_is_as_stated() {
        let count =
            |op| Shard::new(1, 0, EVENTS as u64).take(EVENTS).filter(|change| change.op == op).count();
        for (op, percent) in [(Op::Create, 60), (Op::Update, 30), (Op::Read, 8), (Op::Delete, 2)] {
            let (got, expected) = (count(op), EVENTS * percent / 100);
            assert!(got.abs_diff(expected) < EVENTS / 200, "{op:?}: {got} of {EVENTS}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_changes() {
        assert!(Shard::new(5, 1, 10_000).take(10_000).eq(Shard::new(5, 1, 10_000).take(10_000)));
        assert!(!Shard::new(5, 1, 10_000).take(10_000).eq(Shard::new(6, 1, 10_000).take(10_000)));
    }
}
