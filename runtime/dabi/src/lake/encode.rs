//! From change batches to files in memory: the CPU half of the writer.
//!
//! Owns which file a row goes to (table, date, wire schema) and when rows are
//! encoded. Does not own the account of offsets (`manifest::Account`). Does no
//! I/O: it belongs on a CPU thread.
//!
//! Invariant: what [`Encoder::seal`] hands out continues exactly where the last
//! one ended, and holds every row, count and dead letter appended between.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use dabi_core::change::ChangeBatch;
use dabi_core::dead_letter::DeadLetter;
use dabi_core::debezium::Decoded;
use dabi_core::manifest::{Account, Author, Contents, DEAD_LETTERS, DataFile, DeadLetterFile, table_prefix};
use dabi_core::position::Position;
use dabi_core::table::SourceTable;
use dabi_core::version::Epoch;
use parquet::errors::ParquetError;
use tokio::time::Instant;

use super::dates::{Day, pieces};
use super::dead_letters::DeadLetters;
use super::error::LakeError;
use super::file::OpenFile;
use super::settings::LakeLimits;

/// Turns decoded events into files.
pub struct Encoder {
    limits: LakeLimits,
    /// `<term>-<writer>`: no other process gives a file a name that begins so.
    name_prefix: String,
    names_given: u64,
    account: Account,
    open: Vec<OpenFile>,
    /// Into `open`; several files where the wire schema changed.
    by_table: HashMap<(SourceTable, Day), Vec<usize>>,
    dead_letters: DeadLetters,
    waiting_bytes: usize,
    encoded_bytes: usize,
    rows: u64,
    since: Option<Instant>,
}

/// What one commit will add, complete and in memory.
pub struct Sealed {
    pub(super) epoch: Epoch,
    pub(super) contents: Contents,
    /// By path below the root of the lake.
    pub(super) objects: Vec<(String, Bytes)>,
}

impl Sealed {
    /// Bytes of all files.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.objects.iter().map(|(_, bytes)| bytes.len()).sum()
    }

    /// How many files.
    #[must_use]
    pub fn files(&self) -> usize {
        self.objects.len()
    }

    /// Change events in it.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.contents.files.iter().map(|file| file.rows).sum()
    }
}

impl Encoder {
    pub(super) fn new(author: &Author, position: Position, limits: LakeLimits) -> Self {
        Self {
            limits,
            name_prefix: format!("{:08}-{}", author.term.0, author.writer),
            names_given: 0,
            account: Account::new(position),
            open: Vec::new(),
            by_table: HashMap::new(),
            dead_letters: DeadLetters::default(),
            waiting_bytes: 0,
            encoded_bytes: 0,
            rows: 0,
            since: None,
        }
    }

    /// Takes what a decoder gave. Offsets between the lake's position and the
    /// first one consumed are counted as without a record.
    ///
    /// # Errors
    /// If offsets come again or the counts do not add up (a bug upstream), or
    /// Parquet refuses a column. The encoder is of no use afterwards.
    pub fn append(&mut self, decoded: &Decoded, now: Instant) -> Result<(), LakeError> {
        self.account.take(decoded)?;
        for batch in &decoded.batches {
            self.append_batch(batch)?;
        }
        for letter in &decoded.dead_letters {
            self.dead_letters.push(letter.clone());
        }
        if !decoded.spans.is_empty() {
            self.since.get_or_insert(now);
        }
        Ok(())
    }

    /// Takes dead letters of later stages than decoding; their records are in
    /// the lake anyway.
    pub fn append_dead_letters(&mut self, letters: impl IntoIterator<Item = DeadLetter>, now: Instant) {
        for letter in letters {
            self.dead_letters.push(letter);
            self.since.get_or_insert(now);
        }
    }

    /// Bytes held: encoded files, rows that wait to be encoded, dead letters.
    #[must_use]
    pub fn pending_bytes(&self) -> usize {
        self.encoded_bytes + self.waiting_bytes + self.dead_letters.bytes()
    }

    /// Rows held.
    #[must_use]
    pub fn pending_rows(&self) -> u64 {
        self.rows
    }

    /// When the oldest thing held was appended; `None` if nothing is held.
    #[must_use]
    pub fn pending_since(&self) -> Option<Instant> {
        self.since
    }

    /// Is it time to seal, by size or age?
    #[must_use]
    pub fn due(&self, now: Instant) -> bool {
        let old = self.since.is_some_and(|since| now.duration_since(since) >= self.limits.flush_age());
        old || self.pending_bytes() >= self.limits.flush_bytes
    }

    /// When it will be due by age; `None` if nothing is held.
    #[must_use]
    pub fn due_at(&self) -> Option<Instant> {
        Some(self.since? + self.limits.flush_age())
    }

    /// Closes all files; `None` if nothing was appended since the last time.
    /// `epoch` is the last one whose events have all been appended.
    ///
    /// # Errors
    /// If Parquet refuses a column.
    pub fn seal(&mut self, epoch: Epoch) -> Result<Option<Sealed>, LakeError> {
        if self.since.take().is_none() {
            return Ok(None);
        }
        let mut contents = Contents { topics: self.account.seal(), ..Contents::default() };
        let mut objects = Vec::new();
        self.by_table.clear();
        for file in std::mem::take(&mut self.open) {
            let (table, day) = (file.table().clone(), file.day());
            let closed = file.close().map_err(|e| parquet_error("encode a file of", &table, e))?;
            let path = self.name(&table_prefix(&table), day);
            objects.push((path.clone(), closed.bytes.clone()));
            contents.files.push(DataFile {
                path,
                table,
                rows: closed.rows,
                bytes: closed.bytes.len() as u64,
                kafka_ts_ms: closed.kafka_ts_ms,
                spans: closed.spans,
            });
        }
        let letters =
            self.dead_letters.close().map_err(|e| parquet_error("close a file of", &"dead letters", e))?;
        for (day, rows, bytes) in letters {
            let path = self.name(DEAD_LETTERS, day);
            contents.dead_letters.push(DeadLetterFile {
                path: path.clone(),
                rows,
                bytes: bytes.len() as u64,
            });
            objects.push((path, bytes));
        }
        (self.waiting_bytes, self.encoded_bytes, self.rows) = (0, 0, 0);
        Ok(Some(Sealed { epoch, contents, objects }))
    }

    /// `<folder>/date=<day>/<term>-<writer>-<number>.parquet`
    fn name(&mut self, folder: &str, day: Day) -> String {
        self.names_given += 1;
        format!("{folder}/date={day}/{}-{:08}.parquet", self.name_prefix, self.names_given)
    }

    fn append_batch(&mut self, batch: &ChangeBatch) -> Result<(), LakeError> {
        // a piece keeps the whole batch alive, but the pieces share it
        let bytes_per_row = batch.bytes() / batch.num_rows();
        for piece in pieces(batch) {
            let index = self.file_for(batch, piece.day);
            let end = piece.from + piece.len;
            let mut from = piece.from;
            while from < end {
                let len = (end - from).min(self.limits.row_group_rows);
                self.rows += len as u64;
                self.waiting_bytes += bytes_per_row * len;
                let file = &mut self.open[index];
                file.push(batch.slice(from, len), bytes_per_row * len, piece.kafka_ts_ms);
                let full = file.waiting_rows() >= self.limits.row_group_rows
                    || file.waiting_bytes() >= self.limits.row_group_bytes;
                if full {
                    self.encode_row_group(index)?;
                }
                from += len;
            }
        }
        while self.waiting_bytes > self.limits.buffer_bytes {
            let largest = (0..self.open.len()).max_by_key(|index| self.open[*index].waiting_bytes());
            let Some(largest) = largest else { break };
            self.encode_row_group(largest)?;
        }
        Ok(())
    }

    /// The open file for rows of `batch` on `day`, as an index into `open`.
    fn file_for(&mut self, batch: &ChangeBatch, day: Day) -> usize {
        let schema = batch.record_batch().schema_ref();
        let files = self.by_table.entry((batch.table().clone(), day)).or_default();
        let same = |index: &&usize| {
            let open = self.open[**index].schema();
            Arc::ptr_eq(open, schema) || open == schema
        };
        if let Some(index) = files.iter().find(same) {
            return *index;
        }
        files.push(self.open.len());
        self.open.push(OpenFile::new(batch.table().clone(), day, Arc::clone(schema)));
        self.open.len() - 1
    }

    fn encode_row_group(&mut self, index: usize) -> Result<(), LakeError> {
        let file = &mut self.open[index];
        let (waiting, encoded) = (file.waiting_bytes(), file.encoded_bytes());
        file.encode_row_group().map_err(|e| parquet_error("encode rows of", file.table(), e))?;
        self.waiting_bytes -= waiting;
        self.encoded_bytes += file.encoded_bytes() - encoded;
        Ok(())
    }
}

fn parquet_error(action: &'static str, what: &dyn std::fmt::Display, source: ParquetError) -> LakeError {
    LakeError::Parquet { action, path: what.to_string(), source }
}
