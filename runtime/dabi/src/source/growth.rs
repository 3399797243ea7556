//! Partitions added to a topic that is being read.
//!
//! When a topic gets more partitions, keys move: the newer records of a key
//! may lie in a new partition and its older ones in an old. So a raised count
//! is a barrier: the new partitions wait until the old ones are read to where
//! they ended when the growth was seen. Pure: no Kafka in here.

use std::collections::BTreeMap;

use dabi_core::position::{Offset, Position, Topic};

/// The new partitions of one growth, and what they wait for.
#[derive(Debug)]
struct Barrier {
    /// Each new partition with the offset that it will be read from.
    new: Vec<(i32, Offset)>,
    /// Where each older partition ended.
    until: BTreeMap<i32, Offset>,
}

/// All partitions that wait.
#[derive(Debug, Default)]
pub(super) struct Growth {
    // Per topic, in the order seen: a later growth waits for an earlier one.
    barriers: BTreeMap<Topic, Vec<Barrier>>,
}

impl Growth {
    /// Holds `new` partitions of `topic` back until the older ones are read to `until`.
    pub(super) fn hold(&mut self, topic: &Topic, new: Vec<(i32, Offset)>, until: BTreeMap<i32, Offset>) {
        self.barriers.entry(Topic::clone(topic)).or_default().push(Barrier { new, until });
    }

    /// The partitions that `read` lets go, with the offset to begin at.
    pub(super) fn release(&mut self, read: &Position) -> Vec<(Topic, i32, Offset)> {
        let mut released = Vec::new();
        self.barriers.retain(|topic, barriers| {
            while let Some(first) = barriers.first() {
                let reached = |(partition, end): (&i32, &Offset)| {
                    read.get(topic, *partition).is_some_and(|position| position >= *end)
                };
                if !first.until.iter().all(reached) {
                    return true;
                }
                let barrier = barriers.remove(0);
                released.extend(barrier.new.into_iter().map(|(p, from)| (Topic::clone(topic), p, from)));
            }
            false
        });
        released
    }

    /// True while no partition waits.
    pub(super) fn is_idle(&self) -> bool {
        self.barriers.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(offsets: &[(i32, i64)]) -> Position {
        let mut position = Position::default();
        for (partition, next) in offsets {
            position.set(&"t".into(), *partition, Offset(*next));
        }
        position
    }

    fn ends(offsets: &[(i32, i64)]) -> BTreeMap<i32, Offset> {
        offsets.iter().map(|(partition, end)| (*partition, Offset(*end))).collect()
    }

    #[test]
    fn new_partitions_wait_for_every_old_one() {
        let topic: Topic = "t".into();
        let mut growth = Growth::default();
        growth.hold(&topic, vec![(2, Offset(0)), (3, Offset(5))], ends(&[(0, 10), (1, 20)]));
        assert!(growth.release(&read(&[(0, 10), (1, 19)])).is_empty());
        assert!(growth.release(&read(&[(1, 20)])).is_empty(), "partition 0 was never read");
        assert!(!growth.is_idle());
        let released = growth.release(&read(&[(0, 11), (1, 20)]));
        assert_eq!(released, [(topic.clone(), 2, Offset(0)), (topic, 3, Offset(5))]);
        assert!(growth.is_idle());
    }

    #[test]
    fn a_second_growth_waits_for_the_first() {
        let topic: Topic = "t".into();
        let mut growth = Growth::default();
        growth.hold(&topic, vec![(1, Offset(0))], ends(&[(0, 10)]));
        growth.hold(&topic, vec![(2, Offset(0))], ends(&[(0, 12), (1, 3)]));
        assert_eq!(growth.release(&read(&[(0, 12)])), [(topic.clone(), 1, Offset(0))]);
        assert!(growth.release(&read(&[(0, 12), (1, 2)])).is_empty());
        assert_eq!(growth.release(&read(&[(0, 12), (1, 3)])), [(topic, 2, Offset(0))]);
    }
}
