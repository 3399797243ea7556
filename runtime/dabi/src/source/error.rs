//! Why the source stops: each kind says what to do about it.

use std::time::Duration;

use dabi_core::position::{Offset, TopicPartition};

use super::settings::{InvalidKafkaSettings, TopicSelection};

/// What the source cannot get over by waiting. A broker that goes away once
/// the source runs is none of these: librdkafka reconnects for as long as it
/// takes.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The settings are wrong.
    #[error(transparent)]
    Settings(#[from] InvalidKafkaSettings),

    /// No broker answered at start.
    #[error(
        "no Kafka broker answers at {brokers} within {} s: {reason}. \
         Check kafka.brokers, that the broker runs, that the address it advertises can be reached from here, \
         and kafka.properties (security.protocol, sasl.*, ssl.*)",
        waited.as_secs()
    )]
    Connect {
        /// As configured.
        brokers: String,
        /// How long was tried.
        waited: Duration,
        /// The last thing that librdkafka said.
        reason: String,
    },

    /// No topic is there that was asked for.
    #[error("no topic at {brokers} matches kafka.topics = {topics}; {near}")]
    NoTopics {
        /// As configured.
        brokers: String,
        /// As configured.
        topics: TopicSelection,
        /// Topics that are there with similar names.
        near: String,
    },

    /// The next record to read was deleted by retention.
    #[error(
        "{partition}: the next record to read has offset {position}, but the oldest that Kafka still has is {low}: \
         its retention has deleted records that dabi has not read. Nothing was skipped. \
         Rebuild from a new snapshot (dabi cannot restore the missing records), and raise the topic's retention"
    )]
    PositionLost {
        /// Whose record.
        partition: TopicPartition,
        /// dabi's position.
        position: Offset,
        /// The oldest offset that is there.
        low: Offset,
    },

    /// The position is beyond the end: this is not the log it was read from.
    #[error(
        "{partition}: the next record to read has offset {position}, but the partition ends at {high}: \
         the topic was deleted and created again, or the broker lost data. Nothing was skipped. \
         Rebuild from a new snapshot with a new lake folder and state"
    )]
    PositionBeyondEnd {
        /// Whose record.
        partition: TopicPartition,
        /// dabi's position.
        position: Offset,
        /// The offset after the newest record.
        high: Offset,
    },

    /// While running, the broker no longer had the offset asked for.
    #[error(
        "{partition}: Kafka no longer has offset {position}: {reason}. Retention has overtaken dabi, or the topic \
         was created again. Nothing was skipped. Start dabi again to see which, and with it the remedy"
    )]
    OffsetOutOfRange {
        /// Whose record.
        partition: TopicPartition,
        /// The offset that was asked for.
        position: Offset,
        /// The broker's words.
        reason: String,
    },

    /// A topic that was being read is gone.
    #[error(
        "topic {topic} is gone from the broker while dabi reads it. If it was deleted on purpose, start dabi again: \
         it goes on without; otherwise have the connector take a new snapshot, and rebuild"
    )]
    TopicGone {
        /// Its name.
        topic: String,
    },

    /// A partition cannot be read: no permission, an unreadable record, ….
    #[error("{partition}: cannot be read at offset {position}: {reason}")]
    Partition {
        /// Which.
        partition: TopicPartition,
        /// Where.
        position: Offset,
        /// librdkafka's words.
        reason: String,
    },

    /// librdkafka refused a call: a defect of dabi or of librdkafka.
    #[error("librdkafka refused to {what}: {reason}")]
    Client {
        /// What was asked of it.
        what: &'static str,
        /// Its words.
        reason: String,
    },
}
