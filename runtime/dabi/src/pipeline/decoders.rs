//! One decoder per partition, fed in parallel.
//!
//! Owns which decoder a message goes to. Does not own decoding, or the cut at a
//! sink's start ([`PartitionDecoder`]).

use std::collections::HashMap;

use dabi_core::debezium::{Decoded, PartitionDecoder};
use dabi_core::position::{Position, Topic};
use rayon::prelude::*;

use crate::source::Message;
use crate::telemetry::{Metrics, Stage};

/// Below this many messages, handing them to other threads costs more than it gains.
const PARALLEL_MESSAGES_MIN: usize = 1024;

/// The decoders of every partition seen so far.
pub(super) struct Decoders {
    by_partition: HashMap<(Topic, i32), usize>,
    partitions: Vec<Partition>,
    sink_starts: Vec<Position>,
    metrics: Metrics,
}

struct Partition {
    decoder: PartitionDecoder,
    inbox: Vec<Message>,
    topic: Topic,
    number: i32,
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
            metrics.timed(Stage::Decode, || busy.for_each(Partition::decode));
        }
    }

    fn index_of(&mut self, message: &Message) -> usize {
        let key = (Topic::clone(message.topic()), message.partition());
        let (partitions, starts) = (&mut self.partitions, &self.sink_starts);
        *self.by_partition.entry(key).or_insert_with_key(|(topic, number)| {
            partitions.push(Partition {
                decoder: PartitionDecoder::new(topic, *number, starts),
                inbox: Vec::new(),
                topic: Topic::clone(topic),
                number: *number,
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
        self.partitions.iter().any(|partition| partition.decoder.has_records())
    }

    /// Everything decoded since the last call, in the order of reading within
    /// each partition.
    pub(super) fn drain(&mut self) -> Vec<Decoded> {
        self.partitions.iter_mut().flat_map(|partition| partition.decoder.drain()).collect()
    }
}

impl Partition {
    fn decode(&mut self) {
        for message in self.inbox.drain(..) {
            self.decoder.push(&message.as_record());
        }
    }

    fn reads(&self, message: &Message) -> bool {
        self.number == message.partition() && Topic::ptr_eq(&self.topic, message.topic())
    }
}
