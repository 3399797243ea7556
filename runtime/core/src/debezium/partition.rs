//! The records of one partition, cut where a sink began.
//!
//! Owns the cut: a drained [`Decoded`] lies entirely below or entirely at and
//! above the offset at which a sink starts, so that the sink can skip what it
//! has. Does not own decoding ([`TopicDecoder`]).

#[cfg(test)]
mod tests;

use super::{Decoded, Record, TopicDecoder};
use crate::position::{Offset, Position, Topic};

/// Decodes the records of one partition.
pub struct PartitionDecoder {
    decoder: TopicDecoder,
    /// Offsets at which a sink began and which are still ahead.
    cuts: Vec<Offset>,
    drained: Vec<Decoded>,
    /// Records read and not drained.
    pending: u64,
}

impl PartitionDecoder {
    /// A decoder of partition `partition` of `topic`, for sinks that begin at
    /// `starts`.
    #[must_use]
    pub fn new(topic: &Topic, partition: i32, starts: &[Position]) -> Self {
        Self {
            decoder: TopicDecoder::new(Topic::clone(topic)),
            cuts: starts.iter().filter_map(|start| start.get(topic, partition)).collect(),
            drained: Vec::new(),
            pending: 0,
        }
    }

    /// Decodes one record; they come in offset order.
    pub fn push(&mut self, record: &Record<'_>) {
        self.pending += 1;
        if self.cuts.iter().any(|cut| *cut <= record.offset) {
            self.cuts.retain(|cut| *cut > record.offset);
            let below = self.decoder.finish();
            if below.records > 0 {
                self.drained.push(below);
            }
        }
        self.decoder.push(record);
    }

    /// Rows pushed and not yet drained; those below the last cut are not counted.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.decoder.rows()
    }

    /// What these rows take in memory; an estimate.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.decoder.bytes()
    }

    /// Has any record been pushed since the last drain, event or not?
    #[must_use]
    pub fn has_records(&self) -> bool {
        self.pending > 0
    }

    /// Everything pushed since the last call, in the order of reading.
    pub fn drain(&mut self) -> Vec<Decoded> {
        let mut drained = std::mem::take(&mut self.drained);
        self.pending = 0;
        let rest = self.decoder.finish();
        if rest.records > 0 {
            drained.push(rest);
        }
        drained
    }
}

impl Decoded {
    /// Moves `position` over it. The spans stay as they are: what lies between two
    /// holds no record (compaction, transaction markers), and may lie on both sides
    /// of where a sink begins.
    pub fn advance(&self, position: &mut Position) {
        for (partition, span) in &self.spans {
            position.set(&self.topic, *partition, span.to);
        }
    }

    /// Does a sink that begins at `start` not have it yet?
    #[must_use]
    pub fn is_new_to(&self, start: &Position) -> bool {
        self.spans
            .iter()
            .any(|(partition, span)| start.get(&self.topic, *partition).is_none_or(|from| from < span.to))
    }
}
