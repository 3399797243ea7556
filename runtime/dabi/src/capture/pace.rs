//! How far a player may be ahead of the reader.
//!
//! The embedded broker forgets what lies beyond 5 MB or 100,000 batches of a
//! partition. So on each partition a player has at most [`BYTES_MAX`] and
//! [`RECORDS_MAX`] outstanding: written, and not yet read. Pure but for the
//! position, which it asks for.

use std::collections::{BTreeMap, VecDeque};

use dabi_core::position::{Offset, Position, TopicPartition};

/// Bytes of keys, values and headers outstanding on a partition.
const BYTES_MAX: usize = 2 << 20;
/// Records outstanding on a partition.
const RECORDS_MAX: usize = 50_000;

/// Who sets the pace of a player.
pub enum Pace<'a> {
    /// Nobody: the broker keeps everything.
    Free,
    /// The reader, whose position is asked for when a partition is full.
    Reader(&'a dyn Fn() -> anyhow::Result<Position>),
}

/// What is outstanding on each partition.
#[derive(Debug, Default)]
pub(super) struct Outstanding {
    partitions: BTreeMap<TopicPartition, Partition>,
}

#[derive(Debug)]
struct Partition {
    /// The offset of the first record in `sizes`.
    from: Offset,
    sizes: VecDeque<usize>,
    bytes: usize,
}

impl Outstanding {
    /// May a record of `size` bytes go to this partition, which ended at `end`
    /// before the first record was written to it?
    pub(super) fn admits(&self, partition: &TopicPartition, size: usize) -> bool {
        // A record larger than the limit goes alone.
        self.partitions.get(partition).is_none_or(|p| {
            p.sizes.is_empty() || (p.bytes + size <= BYTES_MAX && p.sizes.len() < RECORDS_MAX)
        })
    }

    /// Has the reader read everything?
    pub(super) fn is_empty(&self) -> bool {
        self.partitions.values().all(|partition| partition.sizes.is_empty())
    }

    /// Notes a record written to the partition; `end` tells where the
    /// partition ended before the first.
    pub(super) fn written<E>(
        &mut self,
        partition: &TopicPartition,
        size: usize,
        end: impl FnOnce() -> Result<Offset, E>,
    ) -> Result<(), E> {
        let known = match self.partitions.get_mut(partition) {
            Some(known) => known,
            None => {
                let new = Partition { from: end()?, sizes: VecDeque::new(), bytes: 0 };
                self.partitions.entry(partition.clone()).or_insert(new)
            }
        };
        known.sizes.push_back(size);
        known.bytes += size;
        Ok(())
    }

    /// Forgets what the reader has read.
    pub(super) fn read(&mut self, position: &Position) {
        for (TopicPartition { topic, partition }, outstanding) in &mut self.partitions {
            let Some(next) = position.get(topic, *partition) else { continue };
            while outstanding.from < next {
                let Some(size) = outstanding.sizes.pop_front() else { break };
                outstanding.bytes -= size;
                outstanding.from = outstanding.from.next();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_partition_waits_for_the_reader() {
        let partition = TopicPartition::new("t", 0);
        let mut outstanding = Outstanding::default();
        let write = |outstanding: &mut Outstanding, size| {
            outstanding.written(&partition, size, || Ok::<_, ()>(Offset(10))).expect("known end");
        };
        assert!(outstanding.admits(&partition, 5 * BYTES_MAX), "a large record goes alone");
        write(&mut outstanding, BYTES_MAX - 1);
        assert!(outstanding.admits(&partition, 1) && !outstanding.admits(&partition, 2));
        assert!(outstanding.admits(&TopicPartition::new("t", 1), 2), "partitions do not share a limit");

        let mut position = Position::default();
        position.set(&"t".into(), 0, Offset(10));
        outstanding.read(&position);
        assert!(!outstanding.admits(&partition, 2), "offset 10 is the next to read");
        position.set(&"t".into(), 0, Offset(11));
        outstanding.read(&position);
        assert!(outstanding.admits(&partition, 2));

        for _ in 0..RECORDS_MAX {
            assert!(outstanding.admits(&partition, 0));
            write(&mut outstanding, 0);
        }
        assert!(!outstanding.admits(&partition, 0));
    }
}
