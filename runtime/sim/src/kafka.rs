//! Kafka: partitions of records, and the connector that fills them.
//!
//! Owns which partition a record lies on, offsets without a record, and what is
//! sent again after the connector restarts. Does not own who reads when.

use std::collections::BTreeMap;

use dabi_core::position::{Offset, Position, Topic};
use fastrand::Rng;

use crate::database::Change;
use crate::schema::Schema;
use crate::wire::{self, Message};

/// The offsets of a partition, from 0; `None` where there is no record (the
/// marker of a transaction, or what compaction took).
pub(crate) type Partition = Vec<Option<Message>>;

/// All topics.
pub(crate) struct Kafka {
    pub(crate) topics: BTreeMap<Topic, Vec<Partition>>,
}

/// Sends the database's log.
pub(crate) struct Connector {
    /// The next entry of the log.
    next: usize,
}

impl Kafka {
    pub(crate) fn new(schema: &Schema) -> Self {
        let topics =
            schema.tables.iter().map(|table| (table.topic(), vec![Partition::new(); table.partitions]));
        Self { topics: topics.collect() }
    }

    /// Every partition that has a record, by topic and number.
    pub(crate) fn ends(&self) -> Position {
        let mut ends = Position::default();
        for (topic, number, partition) in self.partitions() {
            if let Some(last) = partition.iter().rposition(Option::is_some) {
                ends.set(topic, number, Offset(offset(last) + 1));
            }
        }
        ends
    }

    pub(crate) fn partition(&self, topic: &Topic, number: i32) -> &Partition {
        &self.topics[topic][usize::try_from(number).expect("not negative")]
    }

    pub(crate) fn partitions(&self) -> impl Iterator<Item = (&Topic, i32, &Partition)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            (0_i32..).zip(partitions).map(move |(number, p)| (topic, number, p))
        })
    }
}

impl Connector {
    pub(crate) fn new() -> Self {
        Self { next: 0 }
    }

    pub(crate) fn is_done(&self, log: &[Change]) -> bool {
        self.next == log.len()
    }

    /// What it sends next.
    pub(crate) fn upcoming<'a>(&self, log: &'a [Change]) -> Option<&'a Change> {
        log.get(self.next)
    }

    /// Sends the next entry; now and then restarts and sends some again.
    pub(crate) fn send(
        &mut self,
        schema: &Schema,
        log: &[Change],
        kafka: &mut Kafka,
        restarts: bool,
        rng: &mut Rng,
    ) {
        let Some(change) = self.upcoming(log) else { return };
        let table = &schema.tables[change.table];
        let partitions = kafka.topics.get_mut(&table.topic()).expect("a topic of each table");
        let id = wire::key_of(change).map_or(0, |key| usize::try_from(key.id).expect("ids are not negative"));
        let partition = &mut partitions[id % table.partitions];
        for message in wire::messages(schema, change) {
            // A crash of the connector can lose the tombstone behind a delete.
            if message.value.is_some() || rng.u8(0..10) > 0 {
                partition.push(Some(message));
            }
        }
        match rng.u8(0..40) {
            0 => partition.push(None),
            1 => partition.push(Some(garbage())),
            _ => {}
        }
        self.next += 1;
        if restarts && rng.u8(0..30) == 0 {
            self.next -= rng.usize(0..=self.next.min(12));
        }
    }
}

/// A record that is no event at all.
fn garbage() -> Message {
    Message { key: None, value: Some(b"{not json".to_vec()), header: None, timestamp_ms: 0 }
}

pub(crate) fn offset(index: usize) -> i64 {
    i64::try_from(index).expect("few records")
}
