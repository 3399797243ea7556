//! Captures: the topics of a Kafka as files, and files as topics.
//!
//! Owns the file format: a folder with one `<topic>.jsonl.gz` per topic, one
//! record a line ([`Line`]), sorted by partition and offset; beside the folder,
//! `<folder>.index.tsv` with the number of partitions of each topic.
//!
//! Invariant: playing what was recorded gives every partition the same records
//! in the same order: keys, values, headers (nulls included), timestamps.
//! Offsets are dense again, so gaps in a compacted topic close.

mod files;
mod line;
mod pace;
mod play;
mod record;
mod writer;

pub use files::{TopicFile, topic_files};
pub use line::{HeaderValue, Line, TimestampKind};
pub use pace::Pace;
pub use play::{Played, Progress, committed_position, needs_pace, play};
pub use record::{Recorded, record};
pub use writer::Writer;
