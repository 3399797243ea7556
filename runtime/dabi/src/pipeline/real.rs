//! The real neighbours, each as its own folder reaches it.
//!
//! Owns no decision: it hands on, and keeps what blocks or computes off the threads
//! that wait for I/O.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use async_trait::async_trait;
use dabi_core::engine::state::{State, StateError};
use dabi_core::fold::Truncate;
use dabi_core::manifest::WriterId;
use dabi_core::position::Position;
use dabi_core::star::TargetTable;
use dabi_core::version::Version;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::PipelineError;
use super::neighbours::{EventSource, Neighbours, SavedTransforms, StarWarehouse, Transforms};
use super::status::Status;
use super::transforms::load_transforms;
use crate::compute::{on_blocking, on_cpu};
use crate::config::Settings;
use crate::lake::{Lake, LakeError};
use crate::source::{Message, Source, SourceError};
use crate::state::{self, Identity, Opened};
use crate::telemetry::{Metrics, Stage};
use crate::transform::{Reload, Runtime, TransformSettings};
use crate::warehouse::{
    ClearedLetterRow, DeadLetterRow, EncodedRows, EpochRecord, Generations, LetterScope, OpenLetter,
    Warehouse, WarehouseError,
};
use crate::watch::Watcher;

/// The neighbours that the settings name.
pub(super) struct Real {
    pub(super) settings: Settings,
    pub(super) metrics: Metrics,
    pub(super) status: Status,
    /// For whoever looks on.
    pub(super) connected: watch::Sender<Option<Warehouse>>,
}

#[async_trait]
impl Neighbours for Real {
    async fn transforms(&self) -> Result<Transforms, PipelineError> {
        let settings = &self.settings.transforms;
        // Before anything is built or loaded: a save from here on is not missed.
        let watcher = watch(settings);
        let runtime = Runtime::new(settings.runtime())?;
        let loaded = load_transforms(settings, &runtime, &self.status).await?;
        if loaded.is_empty() {
            let dir = settings.dir.display();
            tracing::warn!("no transforms in {dir}: events land in the lake only");
        }
        let saves = watcher.map(|watcher| SavedTransforms { watcher, runtime });
        Ok(Transforms { loaded, saves })
    }

    async fn lake(&self) -> Result<Lake, LakeError> {
        Lake::open_for_writing(&self.settings.lake).await
    }

    fn writer(&self) -> WriterId {
        let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
        WriterId::new(&format!("{}-{nanos:x}", std::process::id())).expect("digits and a dash")
    }

    async fn warehouse(&self, stop: &CancellationToken) -> Result<Arc<dyn StarWarehouse>, WarehouseError> {
        let warehouse = Warehouse::connect(&self.settings.warehouse, self.status.clone(), stop).await?;
        self.connected.send_replace(Some(warehouse.clone()));
        Ok(Arc::new(ClickHouse { warehouse, metrics: self.metrics.clone() }))
    }

    async fn state(&self, identity: Identity) -> Result<(Box<dyn State>, Opened), StateError> {
        let settings = self.settings.state.clone();
        on_blocking(move || state::open(&settings, &identity)).await
    }

    async fn renewed_state(&self, identity: Identity, reason: &str) -> Result<Box<dyn State>, StateError> {
        let (settings, reason) = (self.settings.state.clone(), reason.to_owned());
        on_blocking(move || {
            state::condemn(&settings, &reason)?;
            Ok(state::open(&settings, &identity)?.0)
        })
        .await
    }

    async fn source(&self, from: &Position) -> Result<Box<dyn EventSource>, SourceError> {
        let (kafka, from) = (self.settings.kafka.clone(), from.clone());
        let source = on_blocking(move || Source::connect(&kafka, &from)).await?;
        Ok(Box::new(Kafka { source, metrics: self.metrics.clone() }))
    }
}

/// Watches the transforms' folder, if that is wanted and the system can.
fn watch(settings: &TransformSettings) -> Option<Watcher> {
    if settings.reload == Reload::Manual || !settings.dir.exists() {
        return None;
    }
    Watcher::new(&settings.dir).inspect_err(|error| tracing::warn!("{error}")).ok()
}

struct Kafka {
    source: Source,
    metrics: Metrics,
}

#[async_trait]
impl EventSource for Kafka {
    async fn poll(&mut self, max_messages: usize, max_wait: Duration) -> Result<Vec<Message>, SourceError> {
        self.metrics.timed(Stage::Fetch, || self.source.poll(max_messages, max_wait))
    }

    fn has_turned(&mut self) -> bool {
        self.source.has_turned()
    }

    fn position(&self) -> &Position {
        self.source.position()
    }

    async fn end_offsets(&mut self) -> Result<Position, SourceError> {
        self.source.end_offsets()
    }

    fn cached_end_offsets(&self) -> Position {
        self.source.cached_end_offsets()
    }

    fn commit_mirror(&mut self, durable: &Position) {
        self.source.commit_mirror(durable);
    }

    fn is_reachable(&self) -> bool {
        self.source.is_reachable()
    }
}

struct ClickHouse {
    warehouse: Warehouse,
    metrics: Metrics,
}

#[async_trait]
impl StarWarehouse for ClickHouse {
    async fn ensure_tables(
        &self,
        tables: &[TargetTable],
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        self.warehouse.ensure_tables(tables, stop).await
    }

    async fn show_tables(
        &self,
        tables: &[TargetTable],
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        self.warehouse.show_tables(tables, stop).await
    }

    async fn generations(&self, view: &str, stop: &CancellationToken) -> Result<Generations, WarehouseError> {
        self.warehouse.generations(view, stop).await
    }

    async fn highest_version(
        &self,
        table: &TargetTable,
        stop: &CancellationToken,
    ) -> Result<Version, WarehouseError> {
        self.warehouse.highest_version(table, stop).await
    }

    async fn drop_generation(&self, table: &str, stop: &CancellationToken) -> Result<(), WarehouseError> {
        self.warehouse.drop_generation(table, stop).await
    }

    async fn last_epoch(
        &self,
        pipeline: &str,
        stop: &CancellationToken,
    ) -> Result<Option<EpochRecord>, WarehouseError> {
        self.warehouse.last_epoch(pipeline, stop).await
    }

    async fn record_epoch(
        &self,
        record: &EpochRecord,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        self.warehouse.record_epoch(record, stop).await
    }

    async fn insert_truncate_tombstones(
        &self,
        table: &TargetTable,
        truncate: Truncate,
        version: Version,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        self.warehouse.insert_truncate_tombstones(table, truncate, version, stop).await
    }

    async fn insert(
        &self,
        table: &str,
        rows: &[RecordBatch],
        token: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let (name, rows, metrics) = (table.to_owned(), rows.to_vec(), self.metrics.clone());
        let encoded = on_cpu(move || metrics.timed(Stage::Encode, || EncodedRows::new(&name, &rows))).await?;
        match encoded {
            Some(encoded) => self.warehouse.insert(table, encoded, token, stop).await,
            None => Ok(()),
        }
    }

    async fn insert_dead_letters(
        &self,
        raised: &[DeadLetterRow],
        cleared: &[ClearedLetterRow],
        version: Version,
        token: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        self.warehouse.insert_dead_letters(raised, cleared, version, token, stop).await
    }

    async fn carry_letters(
        &self,
        transforms: &[&str],
        version: Version,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        self.warehouse.carry_letters(transforms, version, stop).await
    }

    async fn scope_letters(
        &self,
        transforms: &[&str],
        scope: LetterScope,
        version: Version,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        self.warehouse.scope_letters(transforms, scope, version, stop).await
    }

    async fn open_letters(
        &self,
        transform: &str,
        stop: &CancellationToken,
    ) -> Result<Vec<OpenLetter>, WarehouseError> {
        self.warehouse.open_letters(transform, stop).await
    }

    async fn refused_transforms(&self) -> Result<Vec<String>, WarehouseError> {
        Ok(self.warehouse.open_letter_keys().await?.into_keys().collect())
    }

    async fn close(&self) {
        self.warehouse.close().await;
    }
}
