//! The neighbours as the pipeline sees them: everything that it asks of the world
//! outside of it.
//!
//! Owns the seams. On the other side of them stand the real ones (`real`), or
//! those of the simulation, which fail as a seed says. The lake's seam lies lower:
//! its own code runs over any object store.
//!
//! Invariant: a request that has an answer here is done, and one that may have
//! been done is asked again below the seam until it has one; only a start, which
//! the next one repeats, may fail for a moment's outage.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use dabi_core::engine::state::{State, StateError};
use dabi_core::fold::Truncate;
use dabi_core::manifest::WriterId;
use dabi_core::position::Position;
use dabi_core::star::TargetTable;
use dabi_core::version::Version;
use tokio_util::sync::CancellationToken;

use super::PipelineError;
use super::transforms::Loaded;
use crate::lake::{Lake, LakeError};
use crate::source::{Message, SourceError};
use crate::state::{Identity, Opened};
use crate::transform::Runtime;
use crate::warehouse::{
    ClearedLetterRow, DeadLetterRow, EpochRecord, Generations, LetterScope, OpenLetter, WarehouseError,
};
use crate::watch::Watcher;

/// How a start comes to each neighbour.
#[async_trait]
pub trait Neighbours: Send + Sync {
    /// The transforms that are to run.
    ///
    /// # Errors
    /// If they cannot be loaded, or do not fit together.
    async fn transforms(&self) -> Result<Transforms, PipelineError>;

    /// The lake, open for writing.
    ///
    /// # Errors
    /// If its store does not answer, or cannot be used.
    async fn lake(&self) -> Result<Lake, LakeError>;

    /// What no other process calls itself: a claim that is read back must be told
    /// from another's.
    fn writer(&self) -> WriterId;

    /// The warehouse; one that is away is waited for until `stop`.
    ///
    /// # Errors
    /// If it refuses, or `stop` comes first.
    async fn warehouse(&self, stop: &CancellationToken) -> Result<Arc<dyn StarWarehouse>, WarehouseError>;

    /// The store of row state, and what was found in it.
    ///
    /// # Errors
    /// If another process has it, or the system refuses.
    async fn state(&self, identity: Identity) -> Result<(Box<dyn State>, Opened), StateError>;

    /// The store of row state, emptied of whatever it holds because of `reason`.
    ///
    /// # Errors
    /// As [`Neighbours::state`].
    async fn renewed_state(&self, identity: Identity, reason: &str) -> Result<Box<dyn State>, StateError>;

    /// The source, from `from` on.
    ///
    /// # Errors
    /// If it cannot be reached, or no longer has what comes next.
    async fn source(&self, from: &Position) -> Result<Box<dyn EventSource>, SourceError>;
}

/// The transforms of a start.
pub struct Transforms {
    /// Those that run from the start.
    pub loaded: Vec<Loaded>,
    /// Where changed ones come from while the pipeline runs, if they are wanted.
    pub saves: Option<SavedTransforms>,
}

/// The transforms' folder, watched.
pub struct SavedTransforms {
    /// What is told of a save; from before anything was loaded, so that none is missed.
    pub watcher: Watcher,
    /// What runs modules.
    pub runtime: Runtime,
}

/// Where records come from. One task has it; it may block its thread.
#[async_trait]
pub trait EventSource: Send {
    /// The records that are there, in order within each partition: at most
    /// `max_messages`, waiting up to `max_wait` for the first.
    ///
    /// # Errors
    /// If what comes next is gone.
    async fn poll(&mut self, max_messages: usize, max_wait: Duration) -> Result<Vec<Message>, SourceError>;

    /// True once, where what `poll` gives next must stand behind all that came
    /// before, whatever partition it is of.
    fn has_turned(&mut self) -> bool;

    /// The next offset of each partition that `poll` will return.
    fn position(&self) -> &Position;

    /// Where every partition ends now.
    ///
    /// # Errors
    /// If there is no answer.
    async fn end_offsets(&mut self) -> Result<Position, SourceError>;

    /// Where the partitions ended when somebody last looked.
    fn cached_end_offsets(&self) -> Position;

    /// Tells others of a durable position; nothing depends on it.
    fn commit_mirror(&mut self, durable: &Position);

    /// False while there is no answer.
    fn is_reachable(&self) -> bool;
}

/// Where the star is kept. Every request but the last waits for an answer until
/// `stop`; one that is repeated changes nothing.
#[async_trait]
pub trait StarWarehouse: Send + Sync {
    /// Creates the table of each target, or adds the columns it lacks. Readers see
    /// nothing of it.
    ///
    /// # Errors
    /// If a table is there that does not fit.
    async fn ensure_tables(
        &self,
        tables: &[TargetTable],
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError>;

    /// Lets readers see tables.
    ///
    /// # Errors
    /// If one is not there: nothing is ever shown that somebody has dropped.
    async fn show_tables(
        &self,
        tables: &[TargetTable],
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError>;

    /// Which generations of `view` there are.
    ///
    /// # Errors
    /// If it refuses.
    async fn generations(&self, view: &str, stop: &CancellationToken) -> Result<Generations, WarehouseError>;

    /// The highest version of any row of `table`, tombstones included.
    ///
    /// # Errors
    /// If it refuses.
    async fn highest_version(
        &self,
        table: &TargetTable,
        stop: &CancellationToken,
    ) -> Result<Version, WarehouseError>;

    /// Drops the table of a generation.
    ///
    /// # Errors
    /// If it refuses.
    async fn drop_generation(&self, table: &str, stop: &CancellationToken) -> Result<(), WarehouseError>;

    /// The last epoch that `pipeline` recorded.
    ///
    /// # Errors
    /// If it refuses.
    async fn last_epoch(
        &self,
        pipeline: &str,
        stop: &CancellationToken,
    ) -> Result<Option<EpochRecord>, WarehouseError>;

    /// Records that an epoch is stored.
    ///
    /// # Errors
    /// If it refuses.
    async fn record_epoch(
        &self,
        record: &EpochRecord,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError>;

    /// Writes a tombstone of `version` for every live row that `truncate` covers.
    ///
    /// # Errors
    /// If it refuses.
    async fn insert_truncate_tombstones(
        &self,
        table: &TargetTable,
        truncate: Truncate,
        version: Version,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError>;

    /// Stores `rows` in `table`, whole or not at all; `token` keeps a repeated
    /// request from doubling them.
    ///
    /// # Errors
    /// If it refuses.
    async fn insert(
        &self,
        table: &str,
        rows: &[RecordBatch],
        token: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError>;

    /// Stores what an epoch of `version` has raised and cleared.
    ///
    /// # Errors
    /// If it refuses.
    async fn insert_dead_letters(
        &self,
        raised: &[DeadLetterRow],
        cleared: &[ClearedLetterRow],
        version: Version,
        token: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError>;

    /// Raises every open letter of `transforms` again under `version`, in the first
    /// generation.
    ///
    /// # Errors
    /// If it refuses.
    async fn carry_letters(
        &self,
        transforms: &[&str],
        version: Version,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError>;

    /// From now on only the letters in `scope` count of `transforms`, whenever they
    /// come, unless the scope of a higher `version` says otherwise.
    ///
    /// # Errors
    /// If it refuses.
    async fn scope_letters(
        &self,
        transforms: &[&str],
        scope: LetterScope,
        version: Version,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError>;

    /// The open letters of a transform whose source row is known.
    ///
    /// # Errors
    /// If it refuses.
    async fn open_letters(
        &self,
        transform: &str,
        stop: &CancellationToken,
    ) -> Result<Vec<OpenLetter>, WarehouseError>;

    /// The transforms that have open letters.
    ///
    /// # Errors
    /// If it refuses.
    async fn refused_transforms(&self) -> Result<Vec<String>, WarehouseError>;

    /// The pipeline has ended.
    async fn close(&self);
}
