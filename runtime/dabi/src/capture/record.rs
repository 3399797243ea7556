//! Topics of a Kafka as a capture.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use dabi_core::position::{Position, Topic};

use super::files::{TopicWriter, index_path};
use super::line::{HeaderValue, Line, TimestampKind};
use crate::source::{KafkaSettings, Message, Source};

/// How many records are taken at once.
const RECORDS_AT_ONCE: usize = 10_000;

/// What was recorded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// How many topics had records.
    pub topics: usize,
    /// How many records.
    pub records: u64,
    /// Bytes of the files.
    pub file_bytes: u64,
}

/// Writes every record that the selected topics hold now to files in `dir`
/// (created if need be), and the index beside it. `progress` is told the number
/// of records. Blocks: not for a thread of an async runtime.
///
/// # Errors
/// If the topics cannot be read, or the files not written.
pub fn record(
    settings: &KafkaSettings,
    dir: &Path,
    progress: &mut dyn FnMut(u64),
) -> anyhow::Result<Recorded> {
    fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
    let mut source = Source::connect(settings, &Position::default())?;
    let ends = source.end_offsets()?;
    let mut topics: BTreeMap<Topic, (TopicWriter, u64)> = BTreeMap::new();
    let mut records = 0;
    while !source.position().covers(&ends) {
        for message in source.poll(RECORDS_AT_ONCE, Duration::from_millis(200))? {
            let end = ends.get(message.topic(), message.partition());
            if end.is_none_or(|end| message.offset() >= end) {
                continue; // written since the start
            }
            if !topics.contains_key(message.topic()) {
                let writer = TopicWriter::new(dir, message.topic());
                topics.insert(message.topic().clone(), (writer, 0));
            }
            if let Some((writer, count)) = topics.get_mut(message.topic()) {
                writer.write(&line(&message))?;
                *count += 1;
            }
            records += 1;
        }
        progress(records);
    }
    let mut recorded = Recorded { topics: topics.len(), records, file_bytes: 0 };
    let mut index = String::new();
    for (topic, (writer, count)) in topics {
        let size = writer.finish()?;
        let partitions = ends.iter().filter(|(have, ..)| **have == topic).count();
        // Writing to a string cannot fail.
        let _ = writeln!(index, "{topic}\tpartitions={partitions}\trecords={count}\tgz={size}");
        recorded.file_bytes += size;
    }
    ensure!(records > 0, "the topics hold no records: {}", settings.topics);
    let path = index_path(dir)?;
    fs::write(&path, index).with_context(|| format!("write {}", path.display()))?;
    Ok(recorded)
}

fn line(message: &Message) -> Line {
    let (timestamp_ms, timestamp_kind) = match message.timestamp_ms() {
        None => (-1, None),
        Some(ms) if message.is_log_append_time() => (ms, Some(TimestampKind::Append)),
        Some(ms) => (ms, Some(TimestampKind::Create)),
    };
    Line {
        partition: message.partition(),
        offset: message.offset().0,
        timestamp_ms,
        timestamp_kind,
        key: message.key().map(<[u8]>::to_vec),
        value: message.value().map(<[u8]>::to_vec),
        headers: message
            .headers()
            .map(|(name, value)| (name, HeaderValue(value.map(<[u8]>::to_vec))))
            .collect(),
    }
}
