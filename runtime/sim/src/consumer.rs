//! Kafka as one process reads it: partitions at different speeds.

use std::time::Duration;

use async_trait::async_trait;
use dabi::pipeline::EventSource;
use dabi::source::{MadeRecord, Message, SourceError};
use dabi_core::position::{Offset, Position, Topic};
use tokio::time::sleep;

use crate::kafka::offset;
use crate::network::Line;
use crate::world::World;

/// Records taken from a partition at once.
const RECORDS_MAX: usize = 6;

/// See the module.
pub(crate) struct Consumer {
    line: Line,
    position: Position,
}

impl Consumer {
    pub(crate) fn new(line: Line, from: &Position) -> Self {
        let mut position = Position::default();
        line.world.with(|world| {
            for (topic, partition, _) in world.kafka.partitions() {
                let begin = from.get(topic, partition).unwrap_or_default();
                position.set(topic, partition, begin);
            }
        });
        Self { line, position }
    }

    /// Some records of some partition.
    fn take(&mut self, world: &mut World, max: usize) -> Vec<Message> {
        let next_of = |topic: &Topic, partition| {
            let next = self.position.get(topic, partition).unwrap_or_default();
            usize::try_from(next.0).expect("not negative")
        };
        let behind: Vec<(Topic, i32)> = world
            .kafka
            .partitions()
            .filter(|(topic, partition, records)| next_of(topic, *partition) < records.len())
            .map(|(topic, partition, _)| (Topic::clone(topic), partition))
            .collect();
        let Some((topic, partition)) = world.rng.choice(&behind) else { return Vec::new() };
        let records = world.kafka.partition(topic, *partition);
        let some = world.rng.usize(1..=RECORDS_MAX.min(max));
        let taken = records.iter().enumerate().skip(next_of(topic, *partition)).take(some);
        let mut messages = Vec::new();
        for (index, record) in taken {
            let Some(record) = record else { continue };
            self.position.set(topic, *partition, Offset(offset(index) + 1));
            let header = record.header.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
            let made = MadeRecord {
                partition: *partition,
                offset: Offset(offset(index)),
                timestamp_ms: Some(record.timestamp_ms),
                key: record.key.clone(),
                value: record.value.clone(),
                headers: header.collect(),
            };
            messages.push(Message::made(topic, made));
        }
        messages
    }
}

#[async_trait]
impl EventSource for Consumer {
    async fn poll(&mut self, max_messages: usize, max_wait: Duration) -> Result<Vec<Message>, SourceError> {
        self.line.awake().await;
        let world = self.line.world.clone();
        let took_ms = world.with(|world| world.rng.u64(1..10));
        sleep(Duration::from_millis(took_ms)).await;
        let messages = world.with(|world| self.take(world, max_messages));
        if messages.is_empty() {
            sleep(max_wait).await;
        }
        Ok(messages)
    }

    /// No topic of the simulation gets more partitions.
    fn has_turned(&mut self) -> bool {
        false
    }

    fn position(&self) -> &Position {
        &self.position
    }

    async fn end_offsets(&mut self) -> Result<Position, SourceError> {
        Ok(self.cached_end_offsets())
    }

    fn cached_end_offsets(&self) -> Position {
        self.line.world.with(|world| world.kafka.ends())
    }

    fn commit_mirror(&mut self, _durable: &Position) {}

    fn is_reachable(&self) -> bool {
        true
    }
}
