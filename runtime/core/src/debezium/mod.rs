//! Debezium records (bytes) → change batches (Arrow).
//!
//! Owns what the wire can carry: JSON with a Connect schema, JSON without, and
//! flattened rows (`ExtractNewRecordState`). Each record is recognised by its
//! own shape; nothing is configured. Does not own declared types (`reading`) or
//! how records are fetched.
//!
//! Invariant: total. Whatever the bytes, every record becomes exactly one of: a
//! row of a [`ChangeBatch`], a count in [`Decoded::skipped`], or a
//! [`DeadLetter`]. Nothing here panics on input.
//!
//! # Types
//! With a schema (`Wire::Typed`; the semantic name is kept in the field's
//! metadata):
//!
//! | Connect | Arrow |
//! |---|---|
//! | boolean | Boolean |
//! | int8, int16 | Int16 |
//! | int32, int64 | Int32, Int64 |
//! | float, double (also `"NaN"`, `"Infinity"`, `"-Infinity"`) | Float32, Float64 |
//! | string, and any semantic name over it but the next (Uuid, Json, Enum, ZonedTime, Interval, …) | Utf8 |
//! | ZonedTimestamp, as ISO 8601; `infinity` is the end of the range | Timestamp(µs, UTC) |
//! | bytes as base64, Bits | Binary |
//! | Decimal as base64 or as a JSON number, precision to 38, to 76, beyond, none | Decimal128(p, s), Decimal256(p, s), Utf8 text, Decimal128(38, s) |
//! | VariableScaleDecimal | Utf8: plain decimal text, its scale kept as trailing zeros |
//! | Date | Date32 |
//! | Time, MicroTime, NanoTime | Time32(ms), Time64(µs), Time64(ns) |
//! | Timestamp, MicroTimestamp, NanoTimestamp | Timestamp(ms), (µs), (ns), no zone |
//! | MicroDuration, NanoDuration, Year, and other names over integers | the integer |
//! | array of any of these | List |
//! | struct, map, array of arrays or of structs | Utf8: JSON as sent (`Wire::Json`) |
//!
//! Numbers are stored as sent, so the sentinels of infinite dates and timestamps
//! are too. Without a schema (`Wire::Untyped`) a column is Null, Int64, Utf8 or
//! Boolean by the values seen so far. A value that fits neither the type of the
//! schema nor the kind learned turns its column, from this row on and for good,
//! into JSON as sent: never an error, never lost.
//!
//! # Keys
//! The Kafka key names the key's columns, in its order. Of these the ones that
//! are no column of the row are left out (a router's additions); a table whose
//! key has none left counts as without key. Where a row lacks a key column's
//! value (a delete under `message.key.columns`) the Kafka key gives it.
//!
//! # Not sent
//! Debezium's placeholders for unchanged TOAST values, and columns that a schema
//! lists and an after-image lacks, are null in the row and named in
//! `_unavailable`. In `_before` they are null without a name.

mod batches;
mod column;
mod connect;
mod decimal;
mod decoder;
mod envelope;
mod flattened;
mod images;
mod json;
mod layout;
mod message;
mod meta;
mod number;
mod open_batch;
mod partition;
mod refusal;
mod scan;
mod tally;
mod template;
mod time;
mod unavailable;
mod wire_type;

use std::collections::BTreeMap;

pub use decoder::TopicDecoder;
pub use partition::PartitionDecoder;

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

impl Skip {
    /// The name used in metrics and manifests.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::Heartbeat => "heartbeat",
            Self::Transaction => "transaction",
            Self::Message => "message",
            Self::SchemaChange => "schema-change",
            Self::DeadLetter => "dead-letter",
        }
    }
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

#[cfg(test)]
mod tests;
