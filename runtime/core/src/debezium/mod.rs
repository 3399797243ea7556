//! Debezium records (bytes) → change batches (Arrow).
//!
//! Owns what the wire can carry: JSON with a Connect schema, JSON without, and
//! flattened rows (`ExtractNewRecordState`). Does not own declared types
//! (`reading`) or how records are fetched.
//!
//! Invariant: total. Whatever the bytes, every record becomes exactly one of: a
//! row of a [`ChangeBatch`], a count in [`Decoded::skipped`], or a
//! [`DeadLetter`]. Nothing here panics on input.

use std::collections::BTreeMap;

use crate::change::ChangeBatch;
use crate::dead_letter::DeadLetter;
use crate::position::{Offset, Span, Topic};

/// The headers of a record, looked at only where a key change may stand in them.
pub trait Headers {
    /// The value of the last header of that name; `None` if there is none or it is null.
    fn last(&self, name: &str) -> Option<&[u8]>;
}

/// A record without headers.
impl Headers for () {
    fn last(&self, _name: &str) -> Option<&[u8]> {
        None
    }
}

/// One Kafka record, borrowed from wherever it lies.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset; within a partition they ascend.
    pub offset: Offset,
    /// Kafka timestamp, ms since 1970.
    pub timestamp_ms: Option<i64>,
    /// Key bytes; `None` for a null key.
    pub key: Option<&'a [u8]>,
    /// Value bytes; `None` for a tombstone.
    pub value: Option<&'a [u8]>,
    /// Headers, read lazily.
    pub headers: &'a dyn Headers,
}

/// Records that are no change events, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Skip {
    /// a null value: the compaction marker that follows a delete
    Tombstone,
    /// `__debezium-heartbeat.*`
    Heartbeat,
    /// `<prefix>.transaction`: BEGIN and END
    Transaction,
    /// `op` `m`: a logical decoding message
    Message,
    /// a schema change (MySQL and others)
    SchemaChange,
    /// set aside: see the dead letters
    DeadLetter,
}

/// What a [`TopicDecoder`] made of the records pushed since it was last drained.
#[derive(Debug)]
pub struct Decoded {
    /// The topic.
    pub topic: Topic,
    /// Per partition, the offsets consumed: from the first record pushed up to
    /// the one after the last.
    pub spans: BTreeMap<i32, Span>,
    /// How many records were pushed.
    pub records: u64,
    /// Change events; those of one partition and one schema in offset order.
    pub batches: Vec<ChangeBatch>,
    /// Records that are no change events. `records` = rows + all of these.
    pub skipped: BTreeMap<Skip, u64>,
    /// Records that could not be decoded, also counted in `skipped`.
    pub dead_letters: Vec<DeadLetter>,
}
