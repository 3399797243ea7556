//! What an epoch sends to the warehouse, and its bytes in the store.
//!
//! Owns that a resend is what was sent: both take the same way through these
//! bytes. Does not own when it is sent.
//!
//! Layout: the length of a JSON header (u32, little-endian), the header, then the
//! Arrow IPC stream of each target that it names.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use serde::{Deserialize, Serialize};

use crate::dead_letter::Stage;
use crate::position::{Offset, Position};
use crate::table::SourceTable;

/// Everything that one epoch sends.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outbox {
    /// Where the star stands once all of it is stored.
    pub position: Position,
    /// Rows by table.
    pub inserts: Vec<Insert>,
    /// Dead letters that are new or say something else than before.
    pub raised: Vec<Letter>,
    /// Dead letters whose source row was repaired or is gone.
    pub cleared: Vec<ClearedLetter>,
}

/// Rows for one table.
#[derive(Clone, Debug, PartialEq)]
pub struct Insert {
    /// The physical table.
    pub table: String,
    /// In its insert schema; at least one.
    pub batches: Vec<RecordBatch>,
}

/// A source row that has no star rows because something is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// The transform.
    pub transform: String,
    /// The source table.
    pub table: SourceTable,
    /// The source key, for a person to read.
    pub key: String,
    /// Where the row's last event stood.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Its offset.
    pub offset: Offset,
    /// Where it failed.
    pub stage: Stage,
    /// Short and stable, to count by.
    pub code: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// The row with what it looked up, as JSON.
    #[serde(default)]
    pub row: String,
}

/// A dead letter that is no more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearedLetter {
    /// The transform.
    pub transform: String,
    /// As in [`Letter::key`].
    pub key: String,
}

/// Bytes that are no outbox.
#[derive(Debug, thiserror::Error)]
#[error("read an outbox from the state store: {0}")]
pub struct InvalidOutbox(String);

#[derive(Serialize, Deserialize)]
struct Header {
    position: Position,
    /// Table, and bytes of its stream.
    inserts: Vec<(String, usize)>,
    raised: Vec<Letter>,
    cleared: Vec<ClearedLetter>,
}

impl Outbox {
    /// Is there nothing to store but the position?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inserts.is_empty() && self.raised.is_empty() && self.cleared.is_empty()
    }

    /// As a store keeps it.
    ///
    /// # Errors
    /// If Arrow cannot write a batch (none that a target allows).
    pub fn encode(&self) -> Result<Vec<u8>, ArrowError> {
        let mut streams = Vec::new();
        let mut inserts = Vec::with_capacity(self.inserts.len());
        for insert in &self.inserts {
            let Some(first) = insert.batches.first() else { continue };
            let from = streams.len();
            let mut writer = StreamWriter::try_new(&mut streams, first.schema_ref())?;
            insert.batches.iter().try_for_each(|batch| writer.write(batch))?;
            writer.finish()?;
            drop(writer);
            inserts.push((insert.table.clone(), streams.len() - from));
        }
        let header = Header {
            position: self.position.clone(),
            inserts,
            raised: self.raised.clone(),
            cleared: self.cleared.clone(),
        };
        let header = serde_json::to_vec(&header).map_err(|error| ArrowError::ExternalError(error.into()))?;
        let len = u32::try_from(header.len()).map_err(|error| ArrowError::ExternalError(error.into()))?;
        Ok([&len.to_le_bytes(), header.as_slice(), &streams].concat())
    }

    /// Back from [`Outbox::encode`].
    ///
    /// # Errors
    /// If the bytes are none that it gave.
    pub fn decode(bytes: &[u8]) -> Result<Self, InvalidOutbox> {
        let short = || InvalidOutbox("it ends early".to_owned());
        let (len, rest) = bytes.split_first_chunk().ok_or_else(short)?;
        let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| short())?;
        let (header, mut rest) = rest.split_at_checked(len).ok_or_else(short)?;
        let header: Header =
            serde_json::from_slice(header).map_err(|error| InvalidOutbox(error.to_string()))?;
        let mut inserts = Vec::with_capacity(header.inserts.len());
        for (table, len) in header.inserts {
            let (stream, after) = rest.split_at_checked(len).ok_or_else(short)?;
            rest = after;
            let batches = StreamReader::try_new(Cursor::new(stream), None)
                .and_then(Iterator::collect)
                .map_err(|error| InvalidOutbox(error.to_string()))?;
            inserts.push(Insert { table, batches });
        }
        Ok(Self { position: header.position, inserts, raised: header.raised, cleared: header.cleared })
    }
}
