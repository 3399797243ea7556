//! What cannot go on, kept whole so that nothing is lost.
//!
//! Owns the shape of a dead letter. Does not own where it is kept (the lake)
//! or when it is tried again.

use serde::{Deserialize, Serialize};

use crate::position::{Offset, Topic};

/// Where a record or row failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// the record could not be read as a change event
    Decode,
    /// a column could not be read as the type that the transform declares
    Read,
    /// the transform refused the row, trapped on it, or ran out of time or memory
    Transform,
    /// a star row could not be stored: out of the range of its ClickHouse type
    Star,
}

impl Stage {
    /// The name used in logs, metrics and the lake.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Read => "read",
            Self::Transform => "transform",
            Self::Star => "star",
        }
    }
}

/// The transform that could not use a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refuser {
    /// Its name.
    pub transform: String,
    /// SHA-256 of its module.
    pub module: String,
}

/// One record or row that was set aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Who could not use it; `None`: nobody could read it.
    pub refuser: Option<Refuser>,
    /// Topic of the record.
    pub topic: Topic,
    /// Partition of the record.
    pub partition: i32,
    /// Offset of the record.
    pub offset: Offset,
    /// Kafka timestamp of the record, ms since 1970.
    pub timestamp_ms: Option<i64>,
    /// Where it failed.
    pub stage: Stage,
    /// Short and stable, to count by: `bad-json`, `unknown-op`, …
    pub code: String,
    /// What is wrong, where, and what to do.
    pub message: String,
    /// The record's key as it was received (decode stage), or the row's for
    /// people to read.
    pub key: Option<Vec<u8>>,
    /// The record's value as it was received (decode stage), or the row as JSON.
    pub value: Option<Vec<u8>>,
}
