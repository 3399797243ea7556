//! Reading captures in the line format of `runtime/fixtures/debezium/README.md`.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::debezium::{Decoded, Headers, Record, TopicDecoder};
use crate::position::{Offset, Topic};

/// The connectors that captured the same database.
pub(super) const VARIANTS: [&str; 4] = ["schema", "plain", "opt", "flat"];

/// A record that owns its bytes.
#[derive(Clone, Debug)]
pub(super) struct Captured {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    pub(super) key: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) headers: OwnedHeaders,
}

#[derive(Clone, Debug, Default)]
pub(super) struct OwnedHeaders(pub(super) Vec<(String, Option<Vec<u8>>)>);

impl Headers for OwnedHeaders {
    fn last(&self, name: &str) -> Option<&[u8]> {
        self.0.iter().rev().find(|(have, _)| have == name)?.1.as_deref()
    }
}

impl Captured {
    pub(super) fn record(&self) -> Record<'_> {
        Record {
            partition: self.partition,
            offset: Offset(self.offset),
            timestamp_ms: Some(self.timestamp_ms),
            key: self.key.as_deref(),
            value: self.value.as_deref(),
            headers: &self.headers,
        }
    }
}

fn folder(variant: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../fixtures/debezium").join(variant)
}

/// The topics of a variant (`schema`, `plain`, `opt`, `flat`), in order.
pub(super) fn topics(variant: &str) -> Vec<String> {
    let names = std::fs::read_dir(folder(variant)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut topics: Vec<String> =
        names.filter_map(|name| Some(name.to_str()?.strip_suffix(".jsonl.gz")?.to_owned())).collect();
    topics.sort();
    topics
}

/// The records of a topic, by partition and offset.
pub(super) fn records(variant: &str, topic: &str) -> Vec<Captured> {
    let file = std::fs::File::open(folder(variant).join(format!("{topic}.jsonl.gz"))).unwrap();
    let lines = BufReader::new(flate2::read::GzDecoder::new(file)).lines();
    lines.map(|line| captured(&serde_json::from_str(&line.unwrap()).unwrap())).collect()
}

fn captured(line: &Value) -> Captured {
    let headers = line["h"].as_array().unwrap().iter();
    Captured {
        partition: i32::try_from(line["p"].as_i64().unwrap()).unwrap(),
        offset: line["o"].as_i64().unwrap(),
        timestamp_ms: line["ts"].as_i64().unwrap(),
        key: bytes(&line["k"]),
        value: bytes(&line["v"]),
        headers: OwnedHeaders(
            headers.map(|header| (header[0].as_str().unwrap().to_owned(), bytes(&header[1]))).collect(),
        ),
    }
}

fn bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone().into_bytes()),
        other => Some(STANDARD.decode(other["b64"].as_str().unwrap()).unwrap()),
    }
}

/// Decodes a whole topic.
pub(super) fn decode_topic(variant: &str, topic: &str) -> Decoded {
    decode_all(&Topic::from(topic), &records(variant, topic))
}

/// Decodes records.
pub(super) fn decode_all(topic: &Topic, records: &[Captured]) -> Decoded {
    let mut decoder = TopicDecoder::new(Arc::clone(topic));
    for record in records {
        decoder.push(&record.record());
    }
    decoder.finish()
}
