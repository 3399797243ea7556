//! One open Parquet file of change events.
//!
//! Owns the order of rows: within a row group by (topic, partition, offset),
//! and across row groups each partition ascending. Batches are reordered for
//! that, rows never. What each row group holds stands in the file's footer, so
//! that one partition can be read alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use dabi_core::change::ChangeBatch;
use dabi_core::manifest::{FileSpan, TimeRange};
use dabi_core::position::{Offset, Topic};
use dabi_core::table::SourceTable;
use parquet::arrow::ArrowWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};

use super::dates::Day;
use super::layout::writer_properties;

/// Key of the footer metadata that holds the [`Run`]s, a JSON list per row group.
pub(super) const RUNS_KEY: &str = "dabi.runs";

/// Consecutive rows of one partition within a row group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) topic: Topic,
    pub(super) partition: i32,
    #[serde(flatten)]
    pub(super) span: FileSpan,
}

/// A file that is being written, in memory.
pub(super) struct OpenFile {
    table: SourceTable,
    day: Day,
    schema: SchemaRef,
    waiting: Vec<ChangeBatch>,
    waiting_rows: usize,
    waiting_bytes: usize,
    writer: Option<ArrowWriter<Vec<u8>>>,
    runs: Vec<Vec<Run>>,
    kafka_ts_ms: Option<TimeRange>,
}

/// A file that is complete.
pub(super) struct ClosedFile {
    pub(super) bytes: Bytes,
    pub(super) rows: u64,
    pub(super) kafka_ts_ms: Option<TimeRange>,
    pub(super) spans: BTreeMap<Topic, BTreeMap<i32, FileSpan>>,
}

impl OpenFile {
    pub(super) fn new(table: SourceTable, day: Day, schema: SchemaRef) -> Self {
        Self {
            table,
            day,
            schema,
            waiting: Vec::new(),
            waiting_rows: 0,
            waiting_bytes: 0,
            writer: None,
            runs: Vec::new(),
            kafka_ts_ms: None,
        }
    }

    pub(super) fn table(&self) -> &SourceTable {
        &self.table
    }

    pub(super) fn day(&self) -> Day {
        self.day
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Takes a batch, which holds `bytes` in memory. Nothing is encoded yet.
    pub(super) fn push(&mut self, batch: ChangeBatch, bytes: usize, kafka_ts_ms: Option<TimeRange>) {
        self.waiting_rows += batch.num_rows();
        self.waiting_bytes += bytes;
        self.waiting.push(batch);
        self.kafka_ts_ms = match (self.kafka_ts_ms, kafka_ts_ms) {
            (Some(a), Some(b)) => Some(TimeRange { min: a.min.min(b.min), max: a.max.max(b.max) }),
            (a, b) => a.or(b),
        };
    }

    pub(super) fn waiting_rows(&self) -> usize {
        self.waiting_rows
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    pub(super) fn encoded_bytes(&self) -> usize {
        self.writer.as_ref().map_or(0, ArrowWriter::bytes_written)
    }

    /// Encodes the rows that wait, as one row group.
    pub(super) fn encode_row_group(&mut self) -> Result<(), ParquetError> {
        let mut batches = std::mem::take(&mut self.waiting);
        (self.waiting_rows, self.waiting_bytes) = (0, 0);
        // stable: batches of one partition arrive in offset order and stay so
        batches.sort_by(|a, b| (a.topic(), a.partition()).cmp(&(b.topic(), b.partition())));
        let Some(first) = batches.first() else { return Ok(()) };
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => {
                let key: Vec<&str> =
                    first.key().iter().map(|column| first.row_fields()[*column].name().as_str()).collect();
                let properties = writer_properties(&self.schema, &key, first.record_batch())?;
                none.insert(ArrowWriter::try_new(Vec::new(), Arc::clone(&self.schema), Some(properties))?)
            }
        };
        for batch in &batches {
            writer.write(batch.record_batch())?;
        }
        writer.flush()?;
        self.runs.push(runs_of(&batches));
        Ok(())
    }

    /// Ends the file, into which something has been pushed.
    pub(super) fn close(mut self) -> Result<ClosedFile, ParquetError> {
        self.encode_row_group()?;
        let mut writer = self.writer.take().expect("a file is opened for a batch");
        let runs = serde_json::to_string(&self.runs).map_err(|e| ParquetError::External(Box::new(e)))?;
        writer.append_key_value_metadata(KeyValue::new(RUNS_KEY.to_owned(), runs));
        let bytes = Bytes::from(writer.into_inner()?);
        let mut spans: BTreeMap<Topic, BTreeMap<i32, FileSpan>> = BTreeMap::new();
        let mut rows = 0;
        for run in self.runs.into_iter().flatten() {
            rows += run.span.rows;
            let partitions = spans.entry(run.topic).or_default();
            partitions.entry(run.partition).and_modify(|span| join(span, run.span)).or_insert(run.span);
        }
        Ok(ClosedFile { bytes, rows, kafka_ts_ms: self.kafka_ts_ms, spans })
    }
}

fn runs_of(batches: &[ChangeBatch]) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for batch in batches {
        let (from, to): (Offset, Offset) = (batch.span().from, batch.span().to);
        let span = FileSpan { from, to, rows: batch.num_rows() as u64 };
        match runs.last_mut() {
            Some(run) if run.partition == batch.partition() && run.topic == *batch.topic() => {
                join(&mut run.span, span);
            }
            _ => runs.push(Run { topic: Arc::clone(batch.topic()), partition: batch.partition(), span }),
        }
    }
    runs
}

fn join(span: &mut FileSpan, later: FileSpan) {
    span.to = later.to;
    span.rows += later.rows;
}
