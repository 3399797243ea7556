//! Taking up topics that are found, and partitions that are added to them.
//!
//! Owns from where each partition is read, and what it means that a topic is gone or
//! not what it was. Does not own who waits for whom (`growth`).

use std::sync::Arc;
use std::time::Instant;

use dabi_core::position::{Offset, Position, Span, Topic, TopicPartition};
use rdkafka::error::KafkaError;

use super::{CONNECT_WITHIN, GONE_AFTER, Source};
use crate::source::discovery::Topics;
use crate::source::error::SourceError;
use crate::source::former_end::former_ends;
use crate::source::growth::Ends;
use crate::source::settings::KafkaSettings;

impl Source {
    pub(super) fn take_up_found(&mut self, found: Topics) -> Result<(), SourceError> {
        self.missing.retain(|topic, _| !found.contains_key(topic));
        for topic in self.known.keys().filter(|topic| !found.contains_key(*topic)) {
            let since = self.missing.entry(Arc::clone(topic)).or_insert_with(Instant::now);
            // A broker that restarts does not know its topics for a moment.
            if since.elapsed() >= GONE_AFTER {
                return Err(SourceError::TopicGone { topic: topic.to_string() });
            }
            self.consumer.status().doubt();
        }
        for (topic, partitions) in found {
            if self.known.get(&topic).is_some_and(|known| *known >= partitions) {
                continue;
            }
            match self.take_up_topic(&topic, partitions) {
                Err(TakeUpError::NoAnswer(error)) => {
                    tracing::warn!(%topic, %error, "new partitions found, but not their ends; trying again");
                }
                Err(TakeUpError::Halt(error)) => return Err(error),
                Ok(()) if self.known.get(&topic) == Some(&partitions) => {
                    tracing::info!(%topic, partitions, "reads new partitions");
                }
                Ok(()) => {}
            }
        }
        Ok(())
    }

    /// Takes up a topic, or the partitions that were added to one. Those that are
    /// added to one that is read are left for later while none of them has a record:
    /// only such a record tells when keys began to move.
    pub(super) fn take_up_topic(&mut self, topic: &Topic, partitions: i32) -> Result<(), TakeUpError> {
        let known = self.known.get(topic).copied().unwrap_or(0);
        let former = if known == 0 { partitions_of(&self.start, topic) } else { known };
        if known == 0 {
            self.check_no_partition_went(topic, partitions)?;
        }
        let (mut older, mut added) = (Vec::new(), Vec::new());
        for partition in 0..partitions {
            let span = self.span(topic, partition).map_err(TakeUpError::NoAnswer)?;
            if partition < former { older.push((partition, span)) } else { added.push((partition, span)) }
        }
        let mut begin = Vec::new();
        if known == 0 {
            for (partition, span) in &older {
                begin.push((Arc::clone(topic), *partition, self.first(topic, *partition, *span)?));
            }
        }
        let is_early = known > 0 && added.iter().all(|(_, span)| span.offsets() == 0);
        if former == 0 {
            let from_oldest = |(partition, span): (i32, Span)| (Arc::clone(topic), partition, span.from);
            begin.extend(added.into_iter().map(from_oldest));
        } else if !is_early && !added.is_empty() {
            self.hold(topic, &older, &added, &begin).map_err(TakeUpError::NoAnswer)?;
        }
        let taken_up = if is_early { former } else { partitions };
        self.known.insert(Arc::clone(topic), taken_up);
        self.assign(&begin).map_err(TakeUpError::Halt)
    }

    fn check_no_partition_went(&self, topic: &Topic, partitions: i32) -> Result<(), SourceError> {
        let went = self.start.iter().find(|(have, partition, _)| *have == topic && *partition >= partitions);
        match went {
            Some((topic, partition, position)) => Err(SourceError::PositionBeyondEnd {
                partition: TopicPartition::new(Arc::clone(topic), partition),
                position,
                high: Offset(0),
            }),
            None => Ok(()),
        }
    }

    /// What the broker has of a partition.
    fn span(&self, topic: &Topic, partition: i32) -> Result<Span, KafkaError> {
        let (low, high) = self.consumer.client().fetch_watermarks(topic, partition, CONNECT_WITHIN)?;
        Ok(Span::new(Offset(low), Offset(high)))
    }

    /// Where a partition that was there before is read from at start.
    fn first(&self, topic: &Topic, partition: i32, span: Span) -> Result<Offset, SourceError> {
        let Some(position) = self.start.get(topic, partition) else { return Ok(span.from) };
        let partition = TopicPartition::new(Arc::clone(topic), partition);
        if position < span.from {
            return Err(SourceError::PositionLost { partition, position, low: span.from });
        }
        if position > span.to {
            return Err(SourceError::PositionBeyondEnd { partition, position, high: span.to });
        }
        Ok(position)
    }

    /// Has `added` partitions of a topic wait for `older` ones, and these for each
    /// other. `begin` is what is about to be read.
    fn hold(
        &mut self,
        topic: &Topic,
        older: &[(i32, Span)],
        added: &[(i32, Span)],
        begin: &[(Topic, i32, Offset)],
    ) -> Result<(), KafkaError> {
        let ends: Ends = older.iter().map(|(partition, span)| (*partition, span.to)).collect();
        let written = added.iter().filter(|(_, span)| span.offsets() > 0);
        let written: Vec<_> = written.map(|(partition, span)| (*partition, span.from)).collect();
        let steps = former_ends(&self.consumer, &self.config, topic, &written, &ends, CONNECT_WITHIN)?;
        let mut read = self.position.clone();
        for (topic, partition, from) in begin {
            read.set(topic, *partition, *from);
        }
        let new = added.iter().map(|(partition, span)| (*partition, span.from)).collect();
        self.growth.hold(topic, steps, new, ends, &read);
        Ok(())
    }
}

/// How many partitions a topic had, going by the last one that `position` names.
fn partitions_of(position: &Position, topic: &Topic) -> i32 {
    let partitions = position.iter().filter(|(have, ..)| *have == topic);
    partitions.map(|(_, partition, _)| partition.saturating_add(1)).max().unwrap_or(0)
}

/// Why a topic could not be taken up.
pub(super) enum TakeUpError {
    /// The broker did not answer: later, perhaps.
    NoAnswer(KafkaError),
    /// It cannot be read on.
    Halt(SourceError),
}

impl From<SourceError> for TakeUpError {
    fn from(error: SourceError) -> Self {
        Self::Halt(error)
    }
}

impl TakeUpError {
    pub(super) fn at_start(self, settings: &KafkaSettings) -> SourceError {
        match self {
            Self::NoAnswer(error) => SourceError::Connect {
                brokers: settings.brokers.clone(),
                waited: CONNECT_WITHIN,
                reason: format!("it lists the topics, but does not tell their ends: {error}"),
            },
            Self::Halt(error) => error,
        }
    }
}
