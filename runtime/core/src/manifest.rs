//! The manifests of the lake, as data: what each commit added, and the rules
//! by which one follows another.
//!
//! Owns their JSON form, their names in the object store, and the arithmetic of
//! spans and counts. Does not own the store (`dabi::lake`).
//!
//! Invariants: manifests are numbered from 1 without a hole and never change;
//! per partition, each begins at the offset where the ones before it ended
//! (a new partition at its first seen offset); and
//! rows + skipped records + offsets without a record = offsets committed.

mod account;
mod checkpoint;
mod names;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use account::Account;
pub use checkpoint::{CHECKPOINT_EVERY, Checkpoint, CheckpointRange, ReadStep, plan_reading};
pub use names::{
    CHECKPOINTS, DEAD_LETTERS, MANIFESTS, TERMS, path_segment, table_prefix, term_from_path, term_path,
};

use crate::debezium::Skip;
use crate::position::{Offset, Position, Span, Topic, TopicPartition};
use crate::table::SourceTable;
use crate::version::{Epoch, Term};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// The number of a manifest, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ManifestNumber(pub u64);

impl ManifestNumber {
    /// The number of a lake's first manifest.
    pub const FIRST: Self = Self(1);

    /// The number that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for ManifestNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Names one start of one process, so that a writer knows its own objects
/// again. It is a part of file names: 1 to 64 letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct WriterId(Arc<str>);

/// A writer id that could not stand in a file name.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a writer id: it takes 1 to 64 ASCII letters, digits and '-'")]
pub struct InvalidWriterId(String);

impl WriterId {
    /// Checks the alphabet and length.
    ///
    /// # Errors
    /// If `id` is empty, longer than 64 bytes, or has any other character.
    pub fn new(id: &str) -> Result<Self, InvalidWriterId> {
        let fits = (1..=64).contains(&id.len());
        if fits && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            Ok(Self(id.into()))
        } else {
            Err(InvalidWriterId(id.to_owned()))
        }
    }
}

impl TryFrom<String> for WriterId {
    type Error = InvalidWriterId;

    fn try_from(id: String) -> Result<Self, Self::Error> {
        Self::new(&id)
    }
}

impl From<WriterId> for String {
    fn from(id: WriterId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for WriterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The offsets of one partition that a file holds: rows lie in `[from, to)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileSpan {
    /// Offset of the first row.
    pub from: Offset,
    /// The one after the offset of the last row.
    pub to: Offset,
    /// How many rows.
    pub rows: u64,
}

/// The earliest and the latest Kafka timestamp in a file, ms since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeRange {
    /// Earliest.
    pub min: i64,
    /// Latest.
    pub max: i64,
}

/// One Parquet file of change events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataFile {
    /// Below the root of the lake.
    pub path: String,
    /// The source table; all rows have one wire schema.
    pub table: SourceTable,
    /// How many rows.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
    /// `None` if no record had a timestamp.
    pub kafka_ts_ms: Option<TimeRange>,
    /// What it holds of each partition.
    pub spans: BTreeMap<Topic, BTreeMap<i32, FileSpan>>,
}

/// One Parquet file of dead letters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterFile {
    /// Below the root of the lake.
    pub path: String,
    /// How many letters.
    pub rows: u64,
    /// Size of the file.
    pub bytes: u64,
}

/// What a manifest commits of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicCommit {
    /// Per partition, the offsets that are now done.
    pub spans: BTreeMap<i32, Span>,
    /// Records that are no change events, by kind.
    pub skipped: BTreeMap<Skip, u64>,
    /// Offsets at which Kafka had no record: transaction markers, compaction,
    /// aborted records.
    pub unrecorded: u64,
}

impl TopicCommit {
    fn offsets(&self) -> u64 {
        self.spans.values().map(|span| span.offsets()).sum()
    }

    fn without_rows(&self) -> u64 {
        self.skipped.values().sum::<u64>() + self.unrecorded
    }
}

/// Everything that one commit adds to the lake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// Files of change events.
    pub files: Vec<DataFile>,
    /// Files of dead letters.
    pub dead_letters: Vec<DeadLetterFile>,
    /// What is done, by topic.
    pub topics: BTreeMap<Topic, TopicCommit>,
}

/// Who commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Author {
    /// Name of the pipeline; a lake belongs to one.
    pub pipeline: String,
    /// The fence.
    pub term: Term,
    /// The process.
    pub writer: WriterId,
}

/// One commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`] when it was written.
    pub format: u32,
    /// Its place in the sequence.
    pub number: ManifestNumber,
    /// The pipeline that the lake belongs to.
    pub pipeline: String,
    /// Term of the writer; never lower than in the manifest before.
    pub term: Term,
    /// The process that wrote it.
    pub writer: WriterId,
    /// The last epoch of the term whose events are all in the lake; 0 before the first.
    pub epoch: Epoch,
    /// Files of change events.
    pub files: Vec<DataFile>,
    /// Files of dead letters.
    pub dead_letters: Vec<DeadLetterFile>,
    /// What this manifest commits, by topic.
    pub topics: BTreeMap<Topic, TopicCommit>,
    /// Where the lake stands after it: the next offset of every partition ever seen.
    pub position: Position,
}

/// Where the lake stands: the newest manifest without its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Number of the newest manifest.
    pub number: ManifestNumber,
    /// The pipeline that the lake belongs to.
    pub pipeline: String,
    /// Term of its writer.
    pub term: Term,
    /// Its writer.
    pub writer: WriterId,
    /// Its epoch.
    pub epoch: Epoch,
    /// The next offset of every partition.
    pub position: Position,
}

/// Why a manifest must not be written, or not be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Written by a newer version.
    #[error("manifest {number} has format {format}, this version reads up to {FORMAT}: run a newer dabi")]
    Format {
        /// Which manifest.
        number: ManifestNumber,
        /// Its format.
        format: u32,
    },
    /// The sequence has a hole, or a manifest stands under another's name.
    #[error("manifest {found} stands where manifest {expected} belongs")]
    Number {
        /// The number that comes next.
        expected: ManifestNumber,
        /// The number found.
        found: ManifestNumber,
    },
    /// The lake is another pipeline's.
    #[error(
        "the lake belongs to pipeline {owner:?}, not to {claimant:?}: give each pipeline a lake of its own, \
         or give this one the name {owner:?}"
    )]
    Pipeline {
        /// Whose lake it is.
        owner: String,
        /// Who wanted to write.
        claimant: String,
    },
    /// A newer owner has written.
    #[error("term {term} must not write after term {newer}")]
    Term {
        /// The term that wanted to write.
        term: Term,
        /// The term of the head.
        newer: Term,
    },
    /// Offsets would be skipped.
    #[error("{partition}: offsets {expected} to {from} would be missing from the lake")]
    Gap {
        /// Where.
        partition: TopicPartition,
        /// The next offset of the lake.
        expected: Offset,
        /// Where the span begins.
        from: Offset,
    },
    /// Offsets would be in the lake twice.
    #[error("{partition}: offset {from} is committed again, the lake stands at {expected}")]
    Overlap {
        /// Where.
        partition: TopicPartition,
        /// The next offset of the lake.
        expected: Offset,
        /// Where the span begins.
        from: Offset,
    },
    /// A span that ends before it begins, or begins below 0.
    #[error("{partition}: [{from}, {to}) is not a span of offsets")]
    Span {
        /// Where.
        partition: TopicPartition,
        /// Its begin.
        from: Offset,
        /// Its end.
        to: Offset,
    },
    /// A file holds offsets that the manifest does not commit.
    #[error("{path} holds offsets of {partition} that manifest {number} does not commit")]
    Uncommitted {
        /// Which file.
        path: String,
        /// Where.
        partition: TopicPartition,
        /// Which manifest.
        number: ManifestNumber,
    },
    /// rows + skipped + unrecorded ≠ offsets.
    #[error(
        "topic {topic}: {offsets} offsets are committed, but rows, skipped records and offsets without a \
         record are {accounted}"
    )]
    Count {
        /// Which topic.
        topic: Topic,
        /// Offsets committed.
        offsets: u64,
        /// Sum of everything that accounts for an offset.
        accounted: u64,
    },
    /// The position is not that of the manifest before plus the spans.
    #[error("manifest {number}: its position is not where its spans end")]
    Position {
        /// Which manifest.
        number: ManifestNumber,
    },
}

impl Manifest {
    /// The manifest by which `author` adds `contents` after `previous`.
    ///
    /// # Errors
    /// If it breaks a rule of the sequence: see [`Manifest::follows`].
    pub fn next(
        previous: Option<&Head>,
        author: &Author,
        epoch: Epoch,
        contents: Contents,
    ) -> Result<Self, Refusal> {
        let mut position = previous.map(|head| head.position.clone()).unwrap_or_default();
        for (topic, commit) in &contents.topics {
            for (partition, span) in &commit.spans {
                position.set(topic, *partition, span.to);
            }
        }
        let manifest = Self {
            format: FORMAT,
            number: previous.map_or(ManifestNumber::FIRST, |head| head.number.next()),
            pipeline: author.pipeline.clone(),
            term: author.term,
            writer: author.writer.clone(),
            epoch,
            files: contents.files,
            dead_letters: contents.dead_letters,
            topics: contents.topics,
            position,
        };
        manifest.follows(previous)?;
        Ok(manifest)
    }

    /// Where the lake stands after this manifest.
    #[must_use]
    pub fn head(&self) -> Head {
        Head {
            number: self.number,
            pipeline: self.pipeline.clone(),
            term: self.term,
            writer: self.writer.clone(),
            epoch: self.epoch,
            position: self.position.clone(),
        }
    }

    /// Checks that it may stand after `previous`; `None` for the first manifest.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn follows(&self, previous: Option<&Head>) -> Result<(), Refusal> {
        if self.format > FORMAT {
            return Err(Refusal::Format { number: self.number, format: self.format });
        }
        let expected = previous.map_or(ManifestNumber::FIRST, |head| head.number.next());
        if self.number != expected {
            return Err(Refusal::Number { expected, found: self.number });
        }
        if let Some(head) = previous {
            if self.pipeline != head.pipeline {
                let (owner, claimant) = (head.pipeline.clone(), self.pipeline.clone());
                return Err(Refusal::Pipeline { owner, claimant });
            }
            if self.term < head.term {
                return Err(Refusal::Term { term: self.term, newer: head.term });
            }
        }
        self.check_spans(previous)?;
        self.check_files()?;
        self.check_counts()
    }

    fn check_spans(&self, previous: Option<&Head>) -> Result<(), Refusal> {
        let mut position = previous.map(|head| head.position.clone()).unwrap_or_default();
        for (topic, commit) in &self.topics {
            for (&number, span) in &commit.spans {
                let partition = || TopicPartition::new(Arc::clone(topic), number);
                let Span { from, to } = *span;
                if from >= to || from < Offset(0) {
                    return Err(Refusal::Span { partition: partition(), from, to });
                }
                if let Some(expected) = position.get(topic, number) {
                    if from > expected {
                        return Err(Refusal::Gap { partition: partition(), expected, from });
                    }
                    if from < expected {
                        return Err(Refusal::Overlap { partition: partition(), expected, from });
                    }
                }
                position.set(topic, number, to);
            }
        }
        if position == self.position { Ok(()) } else { Err(Refusal::Position { number: self.number }) }
    }

    fn check_files(&self) -> Result<(), Refusal> {
        for file in &self.files {
            for (topic, spans) in &file.spans {
                for (&partition, held) in spans {
                    let committed = self.topics.get(topic).and_then(|commit| commit.spans.get(&partition));
                    let within = committed.is_some_and(|span| span.from <= held.from && held.to <= span.to);
                    if !within {
                        return Err(Refusal::Uncommitted {
                            path: file.path.clone(),
                            partition: TopicPartition::new(Arc::clone(topic), partition),
                            number: self.number,
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), Refusal> {
        for (topic, commit) in &self.topics {
            let held = self.files.iter().filter_map(|file| file.spans.get(topic));
            let rows: u64 = held.flat_map(BTreeMap::values).map(|span| span.rows).sum();
            let (offsets, accounted) = (commit.offsets(), rows + commit.without_rows());
            if offsets != accounted {
                return Err(Refusal::Count { topic: Arc::clone(topic), offsets, accounted });
            }
        }
        Ok(())
    }
}
