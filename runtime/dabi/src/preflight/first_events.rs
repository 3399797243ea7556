//! The first events of every topic.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dabi_core::change::ChangeBatch;
use dabi_core::debezium::TopicDecoder;
use dabi_core::position::{Position, Topic};

use crate::source::{KafkaSettings, Source, SourceError};

/// How long is read, at most.
const READ_WITHIN: Duration = Duration::from_secs(5);
/// Records of one partition that are looked at.
const RECORDS_MAX: u64 = 500;
/// Messages taken from the source at once.
const POLL_MESSAGES_MAX: usize = 4096;
const POLL_WAIT_MAX: Duration = Duration::from_millis(100);

/// The oldest events of each partition, as far as they come in a few seconds; a
/// topic without any is missing. Blocks.
///
/// # Errors
/// If no broker answers, or no topic matches.
pub fn first_events(settings: &KafkaSettings) -> Result<Vec<ChangeBatch>, SourceError> {
    let mut source = Source::connect(settings, &Position::default())?;
    let ends = source.end_offsets()?;
    let until = Instant::now() + READ_WITHIN;
    let mut partitions: BTreeMap<(Topic, i32), (TopicDecoder, u64)> = BTreeMap::new();
    let is_read = |partitions: &BTreeMap<(Topic, i32), (TopicDecoder, u64)>, position: &Position| {
        ends.iter().all(|(topic, partition, end)| {
            let enough = partitions
                .get(&(Topic::clone(topic), partition))
                .is_some_and(|(_, read)| *read >= RECORDS_MAX);
            enough || position.get(topic, partition).is_some_and(|next| next >= end)
        })
    };
    while Instant::now() < until && !is_read(&partitions, source.position()) {
        for message in source.poll(POLL_MESSAGES_MAX, POLL_WAIT_MAX)? {
            let place = (Topic::clone(message.topic()), message.partition());
            let (decoder, read) = partitions
                .entry(place)
                .or_insert_with(|| (TopicDecoder::new(Topic::clone(message.topic())), 0));
            if *read < RECORDS_MAX {
                decoder.push(&message.as_record());
                *read += 1;
            }
        }
    }
    Ok(partitions.into_values().flat_map(|(mut decoder, _)| decoder.finish().batches).collect())
}
