//! Reading the events of a table back, exactly as they were written.
//!
//! Owns the order: per partition by offset, across files, dates and wire
//! schemas. Memory is bounded by the files of one commit and a few ahead.
//!
//! Invariant: each event that a manifest commits comes once; files that no
//! manifest names are not looked at.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use bytes::Bytes;
use dabi_core::change::ChangeBatch;
use dabi_core::manifest::{DataFile, Manifest};
use dabi_core::position::Topic;
use dabi_core::table::SourceTable;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
    RowSelection, RowSelector,
};
use parquet::errors::ParquetError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Lake;
use super::error::LakeError;
use super::file::{RUNS_KEY, Run};
use super::read::{FETCHES, from_json};
use super::store::store_error;
use crate::compute::on_blocking;

/// Rows of a batch read.
const BATCH_ROWS: usize = 8192;
/// KiB of files that are fetched ahead.
const AHEAD_KIB: u32 = 96 << 10;

impl Lake {
    /// The events of `table` up to the head at the time of the call. Those of
    /// one partition come in offset order; partitions alternate.
    ///
    /// # Errors
    /// If the store refuses; later failures come in the stream.
    pub async fn read_table(
        &self,
        table: &SourceTable,
    ) -> Result<impl Stream<Item = Result<ChangeBatch, LakeError>> + Send + use<>, LakeError> {
        let table = table.clone();
        let of_table = move |manifest: Manifest| -> Vec<DataFile> {
            manifest.files.into_iter().filter(|file| file.table == table).collect()
        };
        let ahead = Arc::new(Semaphore::new(AHEAD_KIB as usize));
        let lake = self.clone();
        let commits = self
            .manifests()
            .await?
            .map_ok(of_table)
            .try_filter(|files| std::future::ready(!files.is_empty()))
            .map(move |files| {
                let (lake, ahead) = (lake.clone(), Arc::clone(&ahead));
                async move { lake.fetch(files?, ahead).await }
            })
            .buffered(FETCHES);
        Ok(commits.map_ok(batches_of).try_flatten())
    }

    async fn fetch(&self, files: Vec<DataFile>, ahead: Arc<Semaphore>) -> Result<Fetched, LakeError> {
        let bytes: u64 = files.iter().map(|file| file.bytes).sum();
        let kib = u32::try_from(bytes >> 10).unwrap_or(u32::MAX).clamp(1, AHEAD_KIB);
        // permits are given in the order of asking, which is the order of reading
        let permit = ahead.acquire_many_owned(kib).await.expect("it is never closed");
        let fetches = files.into_iter().map(|file| async move {
            let bytes = self.store.get(&file.path).await.map_err(store_error("read", &file.path))?;
            Ok::<_, LakeError>((file.path, bytes))
        });
        let files = stream::iter(fetches).buffered(FETCHES).try_collect().await?;
        Ok(Fetched { files, _permit: permit })
    }
}

/// The files of one table in one commit.
struct Fetched {
    files: Vec<(String, Bytes)>,
    _permit: OwnedSemaphorePermit,
}

/// Decodes on the blocking pool, one batch at a time.
fn batches_of(fetched: Fetched) -> impl Stream<Item = Result<ChangeBatch, LakeError>> + Send {
    enum State {
        Fetched(Fetched),
        Reading(CommitReader, OwnedSemaphorePermit),
    }
    let start = State::Fetched(fetched);
    stream::try_unfold(start, |state| async move {
        let step = move || {
            let (mut reader, permit) = match state {
                State::Fetched(Fetched { files, _permit }) => (CommitReader::open(files)?, _permit),
                State::Reading(reader, permit) => (reader, permit),
            };
            let batch = reader.next()?;
            Ok(batch.map(|batch| (batch, State::Reading(reader, permit))))
        };
        on_blocking(step).await
    })
}

/// A file whose footer is read.
struct OpenedFile {
    path: Arc<str>,
    bytes: Bytes,
    metadata: ArrowReaderMetadata,
    /// As it was written: the reader's has the footer's other metadata too, and
    /// its batches have none.
    schema: SchemaRef,
    /// Per row group.
    runs: Vec<Vec<Run>>,
}

/// Reads the files of one commit, partition after partition, each by offset.
struct CommitReader {
    files: Vec<OpenedFile>,
    partitions: VecDeque<(Topic, i32)>,
    current: Vec<Cursor>,
}

impl CommitReader {
    fn open(files: Vec<(String, Bytes)>) -> Result<Self, LakeError> {
        let files: Vec<OpenedFile> = files.into_iter().map(OpenedFile::open).collect::<Result<_, _>>()?;
        let mut partitions: Vec<(Topic, i32)> = files
            .iter()
            .flat_map(|file| file.runs.iter().flatten())
            .map(|run| (Arc::clone(&run.topic), run.partition))
            .collect();
        partitions.sort_unstable();
        partitions.dedup();
        Ok(Self { files, partitions: partitions.into(), current: Vec::new() })
    }

    fn next(&mut self) -> Result<Option<ChangeBatch>, LakeError> {
        loop {
            if let Some(batch) = self.next_of_partition()? {
                return Ok(Some(batch));
            }
            let Some((topic, partition)) = self.partitions.pop_front() else { return Ok(None) };
            for file in &self.files {
                if let Some(cursor) = file.cursor(&topic, partition)? {
                    self.current.push(cursor);
                }
            }
        }
    }

    /// Merges the files of the current partition: from the one that stands at
    /// the lowest offset, everything below where the next one stands.
    fn next_of_partition(&mut self) -> Result<Option<ChangeBatch>, LakeError> {
        let first = |cursor: &Cursor| cursor.head.span().from;
        let Some(lowest) = (0..self.current.len()).min_by_key(|index| first(&self.current[*index])) else {
            return Ok(None);
        };
        let others = self.current.iter().enumerate().filter(|(index, _)| *index != lowest);
        let bound = others.map(|(_, cursor)| first(cursor)).min();
        let cursor = &mut self.current[lowest];
        let head = cursor.head.clone();
        let until = bound.map_or(head.num_rows(), |bound| {
            head.offsets().values().partition_point(|offset| *offset < bound.0)
        });
        if until == 0 {
            // both stand at one offset: an event is in two files
            let reason = format!("it repeats offset {} of another file", head.span().from);
            return Err(LakeError::Damaged { path: cursor.rest.path.to_string(), reason });
        }
        if until < head.num_rows() {
            cursor.head = head.slice(until, head.num_rows() - until);
            return Ok(Some(head.slice(0, until)));
        }
        match cursor.rest.read()? {
            Some(next) => cursor.head = next,
            None => drop(self.current.swap_remove(lowest)),
        }
        Ok(Some(head))
    }
}

impl OpenedFile {
    fn open((path, bytes): (String, Bytes)) -> Result<Self, LakeError> {
        let damaged = |reason: String| LakeError::Damaged { path: path.clone(), reason };
        let metadata = ArrowReaderMetadata::load(&bytes, ArrowReaderOptions::new())
            .map_err(|e| damaged(e.to_string()))?;
        let footer = metadata.metadata().file_metadata().key_value_metadata();
        let runs = footer
            .and_then(|pairs| pairs.iter().find(|pair| pair.key == RUNS_KEY))
            .and_then(|pair| pair.value.as_deref())
            .ok_or_else(|| damaged(format!("its footer has no {RUNS_KEY}")))?;
        let runs: Vec<Vec<Run>> = from_json(&path, runs.as_bytes())?;
        if runs.len() != metadata.metadata().num_row_groups() {
            return Err(damaged(format!("{RUNS_KEY} is of {} row groups", runs.len())));
        }
        let mut schema = Schema::clone(metadata.schema());
        schema.metadata.remove(RUNS_KEY);
        Ok(Self { path: path.into(), bytes, metadata, schema: Arc::new(schema), runs })
    }

    /// Reads the rows of one partition; `None` if there are none.
    fn cursor(&self, topic: &Topic, partition: i32) -> Result<Option<Cursor>, LakeError> {
        let mut row_groups = Vec::new();
        let mut selectors = Vec::new();
        for (index, runs) in self.runs.iter().enumerate() {
            let wanted = |run: &Run| run.partition == partition && run.topic == *topic;
            if !runs.iter().any(wanted) {
                continue;
            }
            row_groups.push(index);
            for run in runs {
                let rows = usize::try_from(run.span.rows).map_err(|e| self.damaged(&e))?;
                selectors.push(if wanted(run) { RowSelector::select(rows) } else { RowSelector::skip(rows) });
            }
        }
        if row_groups.is_empty() {
            return Ok(None);
        }
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(self.bytes.clone(), self.metadata.clone())
                .with_batch_size(BATCH_ROWS)
                .with_row_groups(row_groups)
                .with_row_selection(RowSelection::from(selectors))
                .build()
                .map_err(|e: ParquetError| self.damaged(&e))?;
        let schema = Arc::clone(&self.schema);
        let mut rest = Rest { path: Arc::clone(&self.path), schema, reader };
        Ok(rest.read()?.map(|head| Cursor { head, rest }))
    }

    fn damaged(&self, reason: &dyn std::fmt::Display) -> LakeError {
        LakeError::Damaged { path: self.path.to_string(), reason: reason.to_string() }
    }
}

/// Where the reading of one partition in one file stands.
struct Cursor {
    head: ChangeBatch,
    rest: Rest,
}

struct Rest {
    path: Arc<str>,
    schema: SchemaRef,
    reader: ParquetRecordBatchReader,
}

impl Rest {
    fn read(&mut self) -> Result<Option<ChangeBatch>, LakeError> {
        let damaged = |reason: String| LakeError::Damaged { path: self.path.to_string(), reason };
        let Some(batch) = self.reader.next() else { return Ok(None) };
        let batch = batch
            .and_then(|batch| batch.with_schema(Arc::clone(&self.schema)))
            .map_err(|e| damaged(e.to_string()))?;
        ChangeBatch::try_new(batch).map(Some).map_err(|e| damaged(e.to_string()))
    }
}
