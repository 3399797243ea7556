//! Where the partitions of a topic stood when it got more of them, as far as Kafka
//! can tell (see `growth`).
//!
//! Blocks for some requests. Owns the client that reads the first record of a new
//! partition.

use std::time::{Duration, Instant};

use dabi_core::position::Offset;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset as KafkaOffset, TopicPartitionList};

use super::growth::{Ends, STEPS_MS};
use super::native::{Consumer, RawMessage};

/// Where the older partitions stood, step by step up to the first record of `new`
/// ones; none where there is no such record, or it does not tell its time. `ends` is
/// where the older ones end now.
pub(super) fn former_ends(
    consumer: &Consumer,
    config: &ClientConfig,
    topic: &str,
    new: &[(i32, Offset)],
    ends: &Ends,
    within: Duration,
) -> Result<Vec<Ends>, KafkaError> {
    let mut first_ms: Option<i64> = None;
    for (partition, low) in new {
        let written_ms = written_ms(config, topic, *partition, *low, within)?;
        first_ms = [first_ms, written_ms].into_iter().flatten().min();
    }
    let Some(first_ms) = first_ms else { return Ok(Vec::new()) };
    STEPS_MS.iter().map(|step_ms| ends_at(consumer, topic, ends, first_ms - step_ms, within)).collect()
}

/// Where each partition had its first record of `time_ms` or later; its end if there
/// is none.
fn ends_at(
    consumer: &Consumer,
    topic: &str,
    ends: &Ends,
    time_ms: i64,
    within: Duration,
) -> Result<Ends, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(ends.len());
    for partition in ends.keys() {
        list.add_partition_offset(topic, *partition, KafkaOffset::Offset(time_ms))?;
    }
    consumer.offsets_for_times(&mut list, within).map_err(KafkaError::OffsetFetch)?;
    let mut at = ends.clone();
    for element in list.elements() {
        element.error()?;
        if let (KafkaOffset::Offset(offset), Some(end)) = (element.offset(), at.get_mut(&element.partition()))
        {
            *end = (*end).min(Offset(offset));
        }
    }
    Ok(at)
}

/// When the record at `from`, or the first one behind it, was written, ms since 1970.
fn written_ms(
    config: &ClientConfig,
    topic: &str,
    partition: i32,
    from: Offset,
    within: Duration,
) -> Result<Option<i64>, KafkaError> {
    let consumer = Consumer::new(config)?;
    let mut place = TopicPartitionList::with_capacity(1);
    place.add_partition_offset(topic, partition, KafkaOffset::Offset(from.0))?;
    let refused = |_| KafkaError::MessageConsumption(RDKafkaErrorCode::InvalidArgument);
    consumer.assign_more(&place).map_err(refused)?;
    let started = Instant::now();
    let mut batch: Vec<RawMessage> = Vec::with_capacity(1);
    while let Some(left) = within.checked_sub(started.elapsed()) {
        consumer.serve_events();
        consumer.consume(&mut batch, 1, left);
        if let Some(record) = batch.drain(..).find(|record| record.error().is_none()) {
            return Ok(record.timestamp().map(|(ms, _)| ms));
        }
    }
    Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut))
}
