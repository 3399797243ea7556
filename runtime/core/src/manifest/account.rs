//! The account of offsets between two commits: every one is a row, a skipped
//! record, or one at which Kafka had no record.
//!
//! Invariant: what [`Account::seal`] gives begins exactly where the one before
//! ended, and adds up.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Refusal, TopicCommit};
use crate::debezium::Decoded;
use crate::position::{Position, Span, Topic, TopicPartition};

/// What was taken since the last commit.
#[derive(Clone, Debug)]
pub struct Account {
    position: Position,
    topics: BTreeMap<Topic, TopicCommit>,
}

impl Account {
    /// Nothing yet, for a lake that stands at `position`.
    #[must_use]
    pub fn new(position: Position) -> Self {
        Self { position, topics: BTreeMap::new() }
    }

    /// Takes what a decoder gave. Offsets between the lake's position and the
    /// first one consumed count as without a record.
    ///
    /// # Errors
    /// If offsets come again or the counts do not add up (a bug upstream). The
    /// account is of no use afterwards.
    pub fn take(&mut self, decoded: &Decoded) -> Result<(), Refusal> {
        let commit = self.topics.entry(Arc::clone(&decoded.topic)).or_default();
        let mut consumed = 0;
        for (&partition, span) in &decoded.spans {
            let begin = self.position.get(&decoded.topic, partition).unwrap_or(span.from);
            if span.from < begin {
                return Err(Refusal::Overlap {
                    partition: TopicPartition::new(Arc::clone(&decoded.topic), partition),
                    expected: begin,
                    from: span.from,
                });
            }
            consumed += Span::new(begin, span.to).offsets();
            commit.spans.entry(partition).or_insert(Span::new(begin, span.to)).to = span.to;
            self.position.set(&decoded.topic, partition, span.to);
        }
        for (kind, count) in &decoded.skipped {
            *commit.skipped.entry(*kind).or_default() += count;
        }
        commit.unrecorded += consumed.checked_sub(decoded.records).ok_or_else(|| Refusal::Count {
            topic: Arc::clone(&decoded.topic),
            offsets: consumed,
            accounted: decoded.records,
        })?;
        Ok(())
    }

    /// What a manifest is to say of it; the next account begins here.
    pub fn seal(&mut self) -> BTreeMap<Topic, TopicCommit> {
        std::mem::take(&mut self.topics)
    }
}
