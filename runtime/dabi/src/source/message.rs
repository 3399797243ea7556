//! One record: as librdkafka holds it, or as somebody made it.

use std::sync::Arc;

use dabi_core::debezium::{Headers, Record};
use dabi_core::position::{Offset, Topic};

use super::native::{Consumer, RawMessage};

/// One record; its bytes stay where librdkafka put them, until it is dropped.
pub struct Message {
    // Dropped before `origin`, whose consumer it belongs to.
    held: Held,
    origin: Arc<Origin>,
}

enum Held {
    Raw(RawMessage),
    Made(Box<MadeRecord>),
}

/// A record that comes from no broker.
#[derive(Clone, Debug, Default)]
pub struct MadeRecord {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: Offset,
    /// Kafka timestamp, ms since 1970.
    pub timestamp_ms: Option<i64>,
    /// Key bytes; `None` for a null key.
    pub key: Option<Vec<u8>>,
    /// Value bytes; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
    /// The headers in order.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// What the messages of one topic share: one count to keep instead of two.
pub(super) struct Origin {
    pub(super) topic: Topic,
    /// Kept alive: librdkafka asks for all messages to go before their client.
    pub(super) _consumer: Option<Arc<Consumer>>,
}

impl Message {
    pub(super) fn new(raw: RawMessage, origin: Arc<Origin>) -> Self {
        Self { held: Held::Raw(raw), origin }
    }

    /// A record of `topic` that comes from no broker: for tests.
    #[must_use]
    pub fn made(topic: &Topic, record: MadeRecord) -> Self {
        let origin = Arc::new(Origin { topic: Arc::clone(topic), _consumer: None });
        Self { held: Held::Made(Box::new(record)), origin }
    }

    /// The topic.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.origin.topic
    }

    /// The partition.
    #[must_use]
    pub fn partition(&self) -> i32 {
        match &self.held {
            Held::Raw(raw) => raw.partition(),
            Held::Made(made) => made.partition,
        }
    }

    /// The offset.
    #[must_use]
    pub fn offset(&self) -> Offset {
        match &self.held {
            Held::Raw(raw) => Offset(raw.offset()),
            Held::Made(made) => made.offset,
        }
    }

    /// Kafka timestamp, ms since 1970.
    #[must_use]
    pub fn timestamp_ms(&self) -> Option<i64> {
        match &self.held {
            Held::Raw(raw) => raw.timestamp().map(|(ms, _)| ms),
            Held::Made(made) => made.timestamp_ms,
        }
    }

    /// True if the broker set the timestamp, false if the producer did.
    #[must_use]
    pub fn is_log_append_time(&self) -> bool {
        match &self.held {
            Held::Raw(raw) => raw.timestamp().is_some_and(|(_, log_append)| log_append),
            Held::Made(_) => false,
        }
    }

    /// Key bytes; `None` for a null key.
    #[must_use]
    pub fn key(&self) -> Option<&[u8]> {
        match &self.held {
            Held::Raw(raw) => raw.key(),
            Held::Made(made) => made.key.as_deref(),
        }
    }

    /// Value bytes; `None` for a tombstone.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match &self.held {
            Held::Raw(raw) => raw.value(),
            Held::Made(made) => made.value.as_deref(),
        }
    }

    /// The headers in order; a value may be null.
    pub fn headers(&self) -> impl Iterator<Item = (String, Option<&[u8]>)> {
        let headers: Vec<_> = match &self.held {
            Held::Raw(raw) => {
                raw.headers().map(|(name, value)| (name.to_string_lossy().into_owned(), value)).collect()
            }
            Held::Made(made) => {
                made.headers.iter().map(|(name, value)| (name.clone(), Some(value.as_slice()))).collect()
            }
        };
        headers.into_iter()
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
        match &self.held {
            Held::Raw(raw) => {
                let found = raw.headers().rev().find(|(have, _)| have.to_bytes() == name.as_bytes());
                found.and_then(|(_, value)| value)
            }
            Held::Made(made) => {
                let found = made.headers.iter().rev().find(|(have, _)| have == name);
                found.map(|(_, value)| value.as_slice())
            }
        }
    }
}
