//! Where in Kafka something stands: topics, partitions, offsets, spans, positions.
//!
//! Owns the arithmetic of offsets. Does not own how a position is made durable
//! (`manifest` for the lake, `_dabi_epochs` for the star).
//!
//! Invariant: a position names, for each partition, the *next* offset to read;
//! everything below it is done.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The name of a Kafka topic; cheap to clone.
pub type Topic = Arc<str>;

/// An offset within one partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Offset(pub i64);

impl Offset {
    /// The offset that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// Topic name.
    pub topic: Topic,
    /// Partition number, from 0.
    pub partition: i32,
}

impl TopicPartition {
    /// The partition `partition` of `topic`.
    pub fn new(topic: impl Into<Topic>, partition: i32) -> Self {
        Self { topic: topic.into(), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]", self.topic, self.partition)
    }
}

/// The half-open range of offsets `[from, to)` of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First offset in the span.
    pub from: Offset,
    /// First offset after the span.
    pub to: Offset,
}

impl Span {
    /// The span from `from` up to, and without, `to`.
    #[must_use]
    pub fn new(from: Offset, to: Offset) -> Self {
        Self { from, to }
    }

    /// How many offsets it covers (some may hold no record: compaction,
    /// transaction markers).
    #[must_use]
    pub fn offsets(self) -> u64 {
        u64::try_from(self.to.0 - self.from.0).unwrap_or(0)
    }
}

/// For each partition, the next offset to read.
///
/// As JSON: `{"topic": {"0": 17, "1": 4}}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(BTreeMap<Topic, BTreeMap<i32, Offset>>);

impl Position {
    /// The next offset of a partition; `None` if nothing of it was ever read.
    #[must_use]
    pub fn get(&self, topic: &str, partition: i32) -> Option<Offset> {
        self.0.get(topic)?.get(&partition).copied()
    }

    /// Moves a partition to `next`, wherever it stood.
    pub fn set(&mut self, topic: &Topic, partition: i32, next: Offset) {
        if let Some(partitions) = self.0.get_mut(topic) {
            partitions.insert(partition, next);
        } else {
            self.0.insert(Arc::clone(topic), BTreeMap::from([(partition, next)]));
        }
    }

    /// Takes over every partition of `later`.
    pub fn merge(&mut self, later: &Self) {
        for (topic, partition, next) in later.iter() {
            self.set(topic, partition, next);
        }
    }

    /// Takes over every partition in which `other` is further.
    pub fn advance(&mut self, other: &Self) {
        for (topic, partition, next) in other.iter() {
            if self.get(topic, partition).is_none_or(|done| done < next) {
                self.set(topic, partition, next);
            }
        }
    }

    /// Every partition with its next offset, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Topic, i32, Offset)> {
        self.0.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, next)| (topic, *partition, *next))
        })
    }

    /// The partitions that both name, each at the lower of its two offsets:
    /// from there on, one of the two still needs the records. (A partition that
    /// only one names is needed from its beginning.)
    #[must_use]
    pub fn meet(&self, other: &Self) -> Self {
        let mut met = Self::default();
        for (topic, partition, next) in self.iter() {
            if let Some(others) = other.get(topic, partition) {
                met.set(topic, partition, next.min(others));
            }
        }
        met
    }

    /// Is every partition of `other` read at least as far here?
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        other
            .iter()
            .all(|(topic, partition, next)| self.get(topic, partition).is_some_and(|have| have >= next))
    }

    /// How many offsets this is ahead of `other`, over all partitions; where
    /// `other` is further, or as far, nothing. A partition that only this one
    /// names counts from 0.
    #[must_use]
    pub fn ahead_of(&self, other: &Self) -> u64 {
        let of_partition = |(topic, partition, next): (&Topic, i32, Offset)| {
            Span::new(other.get(topic, partition).unwrap_or_default(), next).offsets()
        };
        self.iter().map(of_partition).sum()
    }

    /// True if it names no partition.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
