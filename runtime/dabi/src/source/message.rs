//! One record as librdkafka holds it.

use std::sync::Arc;

use dabi_core::debezium::{Headers, Record};
use dabi_core::position::{Offset, Topic};

use super::native::{Consumer, RawMessage};

/// One record; its bytes stay where librdkafka put them, until it is dropped.
pub struct Message {
    // Dropped before `origin`, whose consumer it belongs to.
    raw: RawMessage,
    origin: Arc<Origin>,
}

/// What the messages of one topic share: one count to keep instead of two.
pub(super) struct Origin {
    pub(super) topic: Topic,
    /// Kept alive: librdkafka asks for all messages to go before their client.
    pub(super) _consumer: Arc<Consumer>,
}

impl Message {
    pub(super) fn new(raw: RawMessage, origin: Arc<Origin>) -> Self {
        Self { raw, origin }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.origin.topic
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.raw.partition()
    }

    /// The offset.
    #[must_use]
    pub fn offset(&self) -> Offset {
        Offset(self.raw.offset())
    }

    /// Kafka timestamp, ms since 1970.
    #[must_use]
    pub fn timestamp_ms(&self) -> Option<i64> {
        self.raw.timestamp().map(|(ms, _)| ms)
    }

    /// True if the broker set the timestamp, false if the producer did.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        self.raw.timestamp().is_some_and(|(_, log_append)| log_append)
    }

    /// Key bytes; `None` for a null key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        self.raw.key()
    }

    /// Value bytes; `None` for a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        self.raw.value()
    }

    /// The headers in order; a value may be null.
    pub fn headers(&self) -> impl Iterator<Item = (String, Option<&[u8]>)> {
        self.raw.headers().map(|(name, value)| (name.to_string_lossy().into_owned(), value))
    }

    /// Bytes of key and value.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key().map_or(0, <[u8]>::len) + self.value().map_or(0, <[u8]>::len)
    }

    /// As the decoder takes it.
    #[must_use]
    pub fn as_record(&self) -> Record<'_> {
        Record {
            partition: self.partition(),
            offset: self.offset(),
            timestamp_ms: self.timestamp_ms(),
            key: self.key(),
            value: self.value(),
            headers: self,
        }
    }
}

/// Parsed by librdkafka on first use.
impl Headers for Message {
    fn last(&self, name: &str) -> Option<&[u8]> {
        let found = self.raw.headers().rev().find(|(have, _)| have.to_bytes() == name.as_bytes());
        found.and_then(|(_, value)| value)
    }
}
