//! One decoder per partition, fed in parallel.
//!
//! Owns which decoder a message goes to, and the cut at a sink's start: a
//! drained [`Decoded`] lies entirely below or entirely at and above the
//! position at which a sink began, so that a sink can skip what it has.

use std::collections::HashMap;

use dabi_core::debezium::{Decoded, TopicDecoder};
use dabi_core::position::{Position, Topic};
use rayon::prelude::*;

use crate::source::Message;
use crate::telemetry::{Metrics, Stage};

/// Below this many messages, handing them to other threads costs more than it gains.
const PARALLEL_MESSAGES_MIN: usize = 1024;

/// The decoders of every partition seen so far.
pub(super) struct Decoders {
    by_partition: HashMap<(Topic, i32), usize>,
    partitions: Vec<PartitionDecoder>,
    sink_starts: Vec<Position>,
    metrics: Metrics,
}

struct PartitionDecoder {
    decoder: TopicDecoder,
    /// Offsets at which a sink began and which are still ahead.
    cuts: Vec<i64>,
    drained: Vec<Decoded>,
    inbox: Vec<Message>,
    topic: Topic,
    partition: i32,
    /// Records read and not drained.
    pending: u64,
}

impl Decoders {
    /// Decoders for sinks that begin at `sink_starts`.
    pub(super) fn new(sink_starts: Vec<Position>, metrics: Metrics) -> Self {
        Self { by_partition: HashMap::new(), partitions: Vec::new(), sink_starts, metrics }
    }

    /// Decodes `messages`, which stand in offset order within each partition.
    pub(super) fn push(&mut self, messages: Vec<Message>) {
        let parallel = messages.len() >= PARALLEL_MESSAGES_MIN;
        let mut last: Option<usize> = None;
        for message in messages {
            let index = match last {
                Some(index) if self.partitions[index].reads(&message) => index,
                _ => self.index_of(&message),
            };
            self.partitions[index].inbox.push(message);
            last = Some(index);
        }
        let metrics = &self.metrics;
        let busy = self.partitions.iter_mut().filter(|partition| !partition.inbox.is_empty());
        if parallel {
            let busy: Vec<_> = busy.collect();
            busy.into_par_iter().for_each(|partition| metrics.timed(Stage::Decode, || partition.decode()));
        } else {
            metrics.timed(Stage::Decode, || busy.for_each(PartitionDecoder::decode));
        }
    }

    fn index_of(&mut self, message: &Message) -> usize {
        let key = (Topic::clone(message.topic()), message.partition());
        let (partitions, starts) = (&mut self.partitions, &self.sink_starts);
        *self.by_partition.entry(key).or_insert_with_key(|(topic, partition)| {
            let cuts = starts.iter().filter_map(|start| Some(start.get(topic, *partition)?.0)).collect();
            partitions.push(PartitionDecoder {
                decoder: TopicDecoder::new(Topic::clone(topic)),
                cuts,
                drained: Vec::new(),
                inbox: Vec::new(),
                topic: Topic::clone(topic),
                partition: *partition,
                pending: 0,
            });
            partitions.len() - 1
        })
    }

    /// Events decoded and not drained.
    pub(super) fn rows(&self) -> usize {
        self.partitions.iter().map(|partition| partition.decoder.rows()).sum()
    }

    /// Their size in memory, about.
    pub(super) fn bytes(&self) -> usize {
        self.partitions.iter().map(|partition| partition.decoder.bytes()).sum()
    }

    /// Has any record been read since the last drain, event or not?
    pub(super) fn has_records(&self) -> bool {
        self.partitions.iter().any(|partition| partition.pending > 0)
    }

    /// Everything decoded since the last call, in the order of reading within
    /// each partition.
    pub(super) fn drain(&mut self) -> Vec<Decoded> {
        let finish = |partition: &mut PartitionDecoder| {
            let mut drained = std::mem::take(&mut partition.drained);
            partition.pending = 0;
            let rest = partition.decoder.finish();
            if rest.records > 0 {
                drained.push(rest);
            }
            drained
        };
        self.partitions.iter_mut().flat_map(finish).collect()
    }
}

impl PartitionDecoder {
    fn decode(&mut self) {
        for message in self.inbox.drain(..) {
            let offset = message.offset().0;
            self.pending += 1;
            if self.cuts.iter().any(|cut| *cut <= offset) {
                self.cuts.retain(|cut| *cut > offset);
                let below = self.decoder.finish();
                if below.records > 0 {
                    self.drained.push(below);
                }
            }
            self.decoder.push(&message.as_record());
        }
    }

    fn reads(&self, message: &Message) -> bool {
        self.partition == message.partition() && Topic::ptr_eq(&self.topic, message.topic())
    }
}
