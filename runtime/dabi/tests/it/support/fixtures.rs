//! The real captures in `runtime/fixtures/debezium`, and what the database held
//! at their end.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::path::PathBuf;

use dabi::capture::{Line, topic_files};
use dabi_core::debezium::{Decoded, Headers, Record, TopicDecoder};
use dabi_core::position::Offset;
use flate2::read::MultiGzDecoder;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/debezium")
}

struct LineHeaders<'a>(&'a Line);

impl Headers for LineHeaders<'_> {
    fn last(&self, name: &str) -> Option<&[u8]> {
        self.0.headers.iter().rev().find(|(have, _)| have == name)?.1.0.as_deref()
    }
}

/// The records of each topic of a variant (`schema`, `plain`, `opt`, `flat`),
/// decoded, `rows` at a time.
pub(crate) fn decode(variant: &str, rows: usize) -> Vec<Decoded> {
    let mut decoded = Vec::new();
    for file in topic_files(&folder().join(variant)).expect("a capture") {
        let mut decoder = TopicDecoder::new(file.topic.as_str().into());
        for line in file.lines().expect("a topic") {
            let line = line.expect("a record");
            decoder.push(&Record {
                partition: line.partition,
                offset: Offset(line.offset),
                timestamp_ms: Some(line.timestamp_ms),
                key: line.key.as_deref(),
                value: line.value.as_deref(),
                headers: &LineHeaders(&line),
            });
            if decoder.rows() >= rows {
                decoded.push(decoder.finish());
            }
        }
        decoded.push(decoder.finish());
    }
    decoded
}

/// A row of the database: by column, the text of `COPY … CSV`; `None` for null.
pub(crate) type TruthRow = BTreeMap<String, Option<String>>;

/// The tables that there are at the end.
pub(crate) fn truth_tables() -> BTreeSet<String> {
    let files = std::fs::read_dir(folder().join("truth_final")).expect("the truth");
    let names = files.map(|file| file.expect("a file").file_name().into_string().expect("a plain name"));
    names.map(|name| name.trim_end_matches(".csv.gz").to_owned()).collect()
}

/// What `table` held at the end.
pub(crate) fn truth(table: &str) -> Vec<TruthRow> {
    let path = folder().join("truth_final").join(format!("{table}.csv.gz"));
    let mut text = String::new();
    let file = std::fs::File::open(path).expect("the table's truth");
    MultiGzDecoder::new(file).read_to_string(&mut text).expect("UTF-8");
    let mut records = csv(&text).into_iter();
    let header: Vec<String> = records.next().expect("a header").into_iter().flatten().collect();
    records.map(|record| header.iter().cloned().zip(record).collect()).collect()
}

/// The records of a CSV file; an unquoted `\N` is null.
fn csv(text: &str) -> Vec<Vec<Option<String>>> {
    let (mut records, mut record, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut was_quoted) = (false, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => field.extend(chars.next()),
            '"' => {
                quoted = !quoted;
                was_quoted = true;
            }
            ',' | '\n' if !quoted => {
                let value = std::mem::take(&mut field);
                record.push((was_quoted || value != "\\N").then_some(value));
                was_quoted = false;
                if c == '\n' {
                    records.push(std::mem::take(&mut record));
                }
            }
            c => field.push(c),
        }
    }
    records
}
