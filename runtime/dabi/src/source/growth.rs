//! Partitions added to a topic that is being read.
//!
//! When a topic gets more partitions, keys move: the newer records of a key may lie
//! in another partition, new or old, than its older ones. So a raised count is a
//! barrier: the older partitions to their former end first. Pure: no Kafka in here.
//!
//! Kafka keeps no record of that end, and a producer learns of new partitions some
//! time after they were made. What can be known is when the first record of a new
//! one was written: by then the producer had learned, and only what it wrote between
//! the two is taken for older than it is. So the older partitions are held together,
//! ever more closely up to that time ([`STEPS_MS`]); from there on they are free, and
//! the new ones follow once the older are read to where they end when it is seen.

use std::collections::{BTreeMap, BTreeSet};

use dabi_core::position::{Offset, Position, Topic};

/// How long before the first record of a new partition the older ones wait for each
/// other, ms. Two records of one key that are so written that a step lies between
/// them keep their order.
pub(super) const STEPS_MS: [i64; 9] = [16_384, 4_096, 1_024, 256, 64, 16, 4, 1, 0];

/// Where each of some partitions of a topic is to be read to.
pub(super) type Ends = BTreeMap<i32, Offset>;

/// What waits until some partitions are read so far.
#[derive(Debug)]
enum Waiting {
    /// They themselves: none goes further before the others are there.
    Older,
    /// New ones, each with the offset that it will be read from.
    New(Vec<(i32, Offset)>),
}

#[derive(Debug)]
struct Barrier {
    until: Ends,
    waiting: Waiting,
}

/// All partitions that wait.
#[derive(Debug, Default)]
pub(super) struct Growth {
    // Per topic, in the order in which they are to be passed.
    barriers: BTreeMap<Topic, Vec<Barrier>>,
}

/// What was let go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Released {
    /// New partitions, with the offset to begin at.
    pub(super) new: Vec<(Topic, i32, Offset)>,
    /// Have older ones waited for each other? What comes now is to stand behind
    /// all that came before.
    pub(super) is_turn: bool,
}

impl Growth {
    /// Holds the older partitions of `topic` together at each of `steps`, and `new`
    /// ones back until the older are read to `ends`.
    pub(super) fn hold(
        &mut self,
        topic: &Topic,
        mut steps: Vec<Ends>,
        new: Vec<(i32, Offset)>,
        ends: Ends,
        read: &Position,
    ) {
        // Where all are further already, nobody is left to wait.
        steps.retain(|step| !is_read(step, topic, read));
        steps.dedup();
        let barriers = self.barriers.entry(Topic::clone(topic)).or_default();
        barriers.extend(steps.into_iter().map(|until| Barrier { until, waiting: Waiting::Older }));
        barriers.push(Barrier { until: ends, waiting: Waiting::New(new) });
    }

    /// Lets go whoever waits no more, now that everything below `read` was read.
    pub(super) fn release(&mut self, read: &Position) -> Released {
        let mut released = Released::default();
        self.barriers.retain(|topic, barriers| {
            while let Some(first) = barriers.first() {
                if !is_read(&first.until, topic, read) {
                    return true;
                }
                match barriers.remove(0).waiting {
                    Waiting::Older => released.is_turn = true,
                    Waiting::New(new) => {
                        released.new.extend(new.into_iter().map(|(p, from)| (Topic::clone(topic), p, from)));
                    }
                }
            }
            false
        });
        released
    }

    /// Where a partition has to stop for now.
    pub(super) fn limit(&self, topic: &str, partition: i32) -> Option<Offset> {
        let first = self.barriers.get(topic)?.first()?;
        if matches!(first.waiting, Waiting::New(_)) {
            return None;
        }
        first.until.get(&partition).copied()
    }

    /// The partitions that are where they have to stop, or further.
    pub(super) fn stopped(&self, read: &Position) -> BTreeSet<(Topic, i32)> {
        let firsts = self.barriers.iter().filter_map(|(topic, barriers)| Some((topic, barriers.first()?)));
        let held = firsts.filter(|(_, first)| matches!(first.waiting, Waiting::Older));
        let partitions = held.flat_map(|(topic, first)| first.until.iter().map(move |end| (topic, end)));
        let stopped = partitions.filter(|(topic, end)| reaches(read, topic, *end));
        stopped.map(|(topic, (partition, _))| (Topic::clone(topic), *partition)).collect()
    }

    /// True while no partition waits.
    pub(super) fn is_idle(&self) -> bool {
        self.barriers.is_empty()
    }
}

fn is_read(until: &Ends, topic: &str, read: &Position) -> bool {
    until.iter().all(|end| reaches(read, topic, end))
}

fn reaches(read: &Position, topic: &str, (partition, end): (&i32, &Offset)) -> bool {
    read.get(topic, *partition).is_some_and(|position| position >= *end)
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

    fn ends(offsets: &[(i32, i64)]) -> Ends {
        offsets.iter().map(|(partition, end)| (*partition, Offset(*end))).collect()
    }

    fn begin(partitions: &[(i32, i64)]) -> Released {
        let new = partitions.iter().map(|(partition, from)| ("t".into(), *partition, Offset(*from)));
        Released { new: new.collect(), is_turn: false }
    }

    #[test]
    fn new_partitions_wait_for_every_old_one() {
        let (topic, nothing) = ("t".into(), Released::default());
        let mut growth = Growth::default();
        let new = vec![(2, Offset(0)), (3, Offset(5))];
        growth.hold(&topic, Vec::new(), new, ends(&[(0, 10), (1, 20)]), &read(&[]));
        assert_eq!(growth.release(&read(&[(0, 10), (1, 19)])), nothing);
        assert_eq!(growth.release(&read(&[(1, 20)])), nothing, "partition 0 was never read");
        assert!(!growth.is_idle() && growth.limit("t", 0).is_none(), "older ones are free");
        assert_eq!(growth.release(&read(&[(0, 11), (1, 20)])), begin(&[(2, 0), (3, 5)]));
        assert!(growth.is_idle());
    }

    #[test]
    fn a_second_growth_waits_for_the_first() {
        let topic = "t".into();
        let mut growth = Growth::default();
        growth.hold(&topic, Vec::new(), vec![(1, Offset(0))], ends(&[(0, 10)]), &read(&[]));
        growth.hold(&topic, Vec::new(), vec![(2, Offset(0))], ends(&[(0, 12), (1, 3)]), &read(&[]));
        assert_eq!(growth.release(&read(&[(0, 12)])), begin(&[(1, 0)]));
        assert_eq!(growth.release(&read(&[(0, 12), (1, 2)])), Released::default());
        assert_eq!(growth.release(&read(&[(0, 12), (1, 3)])), begin(&[(2, 0)]));
    }

    #[test]
    fn older_partitions_wait_for_each_other_at_every_step() {
        let topic: Topic = "t".into();
        let mut growth = Growth::default();
        let steps = [&[(0, 2), (1, 1)], &[(0, 5), (1, 4)], &[(0, 5), (1, 4)], &[(0, 6), (1, 4)]]
            .map(|step| ends(step));
        growth.hold(
            &topic,
            steps.into(),
            vec![(2, Offset(0))],
            ends(&[(0, 9), (1, 9)]),
            &read(&[(0, 3), (1, 1)]),
        );
        // All are beyond the first; the next two are one.
        assert_eq!((growth.limit("t", 0), growth.limit("t", 1)), (Some(Offset(5)), Some(Offset(4))));
        let turn = Released { new: Vec::new(), is_turn: true };
        let half = read(&[(0, 5), (1, 3)]);
        assert_eq!(growth.release(&half), Released::default());
        assert_eq!(growth.stopped(&half), BTreeSet::from([(Topic::clone(&topic), 0)]));
        let both = read(&[(0, 5), (1, 4)]);
        assert_eq!(growth.release(&both), turn);
        // One goes on, the other is where it has to stop.
        assert_eq!(growth.stopped(&both), BTreeSet::from([(topic, 1)]));
        assert_eq!(growth.release(&read(&[(0, 6), (1, 4)])), turn);
        assert!(growth.limit("t", 0).is_none() && growth.stopped(&read(&[(0, 6), (1, 4)])).is_empty());
        assert_eq!(growth.release(&read(&[(0, 9), (1, 9)])), begin(&[(2, 0)]));
    }
}
