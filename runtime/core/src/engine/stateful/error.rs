//! What stops the stateful engine.

use arrow::error::ArrowError;

use crate::engine::state::StateError;
use crate::preflight::NO_KEY_REMEDY;
use crate::reading::ReadError;
use crate::table::SourceTable;

/// Why an epoch cannot be applied. The engine is to be opened again.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store cannot go on.
    #[error(transparent)]
    State(#[from] StateError),
    /// A column that a transform needs is not there, or can never be read.
    #[error("read {table}: {source}")]
    Read {
        /// The source table.
        table: SourceTable,
        /// Which column and why.
        source: ReadError,
    },
    /// Rows cannot be told apart.
    #[error("table {0} has no primary key, so no row of it can be kept; {NO_KEY_REMEDY}")]
    NoKey(SourceTable),
    /// Rows that were kept cannot be found any more.
    #[error(
        "the key of {table} was ({}) and is now ({}); rebuild the state from the lake", was.join(", "), is.join(", ")
    )]
    KeyChanged {
        /// The source table.
        table: SourceTable,
        /// Its key so far.
        was: Vec<String>,
        /// Its key in the events.
        is: Vec<String>,
    },
    /// A lookup by something else than the primary key.
    #[error(
        "transform {transform}, lookup {lookup}: its key is ({}), but the primary key of {table} is ({}); a lookup \
         is by the primary key", key.join(", "), primary_key.join(", ")
    )]
    LookupKey {
        /// Name of the transform.
        transform: String,
        /// Name of the lookup.
        lookup: String,
        /// The key declared.
        key: Vec<String>,
        /// The table looked up.
        table: SourceTable,
        /// Its key.
        primary_key: Vec<String>,
    },
    /// Versions are kept by something else than the primary key.
    #[error(
        "transform {transform}, target {target}: its key is passed on from ({}), but the primary key of {table} is \
         ({}); versions are kept by the primary key, so pass on all of it, and nothing else, as the key",
        key.join(", "), primary_key.join(", ")
    )]
    VersionedKey {
        /// Name of the transform.
        transform: String,
        /// The scd2 target.
        target: String,
        /// The source columns of its key.
        key: Vec<String>,
        /// The source table.
        table: SourceTable,
        /// Its key.
        primary_key: Vec<String>,
    },
    /// Kept cells do not fit their layout: a defect of dabi.
    #[error("rows of {table}: {source}")]
    Rows {
        /// The source table.
        table: SourceTable,
        /// Arrow's words.
        source: ArrowError,
    },
    /// Star rows cannot be written as Arrow IPC: a defect of dabi.
    #[error("write the outbox: {0}")]
    Outbox(ArrowError),
    /// A transform's columns do not fit its tables: a defect of dabi.
    #[error("transform {transform}: build star rows: {source}")]
    Star {
        /// Its name.
        transform: String,
        /// Arrow's words.
        source: ArrowError,
    },
}
