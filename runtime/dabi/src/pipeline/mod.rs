//! The pipeline: from a source's records to both sinks, and its orderly end.
//!
//! ```text
//! ingest (thread) ─► epochs ─┬─► lake lane: Parquet, manifest
//!                            └─► evaluate ─► publish: ClickHouse, _dabi_epochs
//! reload (saves → modules) ─────────┘ between two epochs
//! ```
//!
//! Owns the tasks, the queues between them, start and shutdown. Does not own
//! what a neighbour does with its data.
//!
//! Invariants: every queue is bounded, in epochs or by `limits.memory_bytes`; a
//! position advances on durability; a task that fails stops all of them, and
//! its error is the one that is reported.

mod decoders;
mod epoch;
mod evaluate;
mod evaluator;
mod fill;
mod ingest;
mod lake_lane;
mod limits;
mod neighbours;
mod open_letters;
mod real;
mod rebuild;
mod reload;
mod remarks;
mod replay;
mod retry;
mod samples;
mod star_lane;
mod start;
mod stateful;
mod status;
mod swap;
mod transforms;

use std::time::Duration;

use dabi_core::version::Term;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub use self::evaluate::{EvaluateError, Failure};
pub use self::limits::Limits;
pub use self::neighbours::{EventSource, Neighbours, SavedTransforms, StarWarehouse, Transforms};
pub(crate) use self::open_letters::letter_keys;
use self::real::Real;
pub use self::rebuild::check_stateful;
pub use self::retry::{Retried, Retrier};
pub use self::stateful::StatefulError;
pub(crate) use self::stateful::call as call_module;
pub use self::status::{BuildReport, Report, STOPPED, Status, TransformReport, TransformState, now_ms};
pub use self::transforms::{Loaded, load_transforms};
pub(crate) use crate::compute::on_cpu;
use crate::config::Settings;
use crate::lake::LakeError;
use crate::source::SourceError;
use crate::telemetry::Metrics;
use crate::transform::{ModuleError, RuntimeError};
use crate::warehouse::{Warehouse, WarehouseError};

/// How long the other tasks get to end after one has failed.
const FAILED_GRACE: Duration = Duration::from_secs(3);

/// Why the pipeline stopped.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// Kafka.
    #[error("source: {0}")]
    Source(#[from] SourceError),
    /// The object store, or another owner of the lake.
    #[error("lake: {0}")]
    Lake(#[from] LakeError),
    /// ClickHouse.
    #[error("warehouse: {0}")]
    Warehouse(#[from] WarehouseError),
    /// The WASM engine.
    #[error(transparent)]
    Wasm(#[from] RuntimeError),
    /// A module that cannot be loaded.
    #[error(transparent)]
    Module(#[from] ModuleError),
    /// A transform that cannot run on its source.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A transform that needs row state, or the store of it.
    #[error(transparent)]
    Stateful(#[from] StatefulError),
    /// Another process has taken the star over.
    #[error(
        "another dabi has taken the star over (term {by}, this one has {term}): stop one of the two, or give each \
         a pipeline name and a lake of its own"
    )]
    Fenced {
        /// The term of this process.
        term: Term,
        /// The newer one.
        by: Term,
    },
    /// Modules that contradict each other or the settings.
    #[error("{0}")]
    Transforms(String),
    /// A sink did not take what was read in time after a stop signal.
    #[error(
        "not drained {seconds} s after the stop signal ({waiting}); \
         nothing is lost: no position has passed what was not stored, and the next start continues there"
    )]
    NotDrained {
        /// `limits.shutdown_seconds`.
        seconds: u64,
        /// What was waited for.
        waiting: String,
    },
}

/// A pipeline that has not started.
pub struct Pipeline {
    settings: Settings,
    metrics: Metrics,
    status: Status,
    finish: CancellationToken,
    stop: CancellationToken,
    neighbours: Box<dyn Neighbours>,
    warehouse: watch::Sender<Option<Warehouse>>,
    retrier: watch::Sender<Option<Retrier>>,
}

impl Pipeline {
    /// A pipeline with these settings, among the neighbours that they name. It
    /// ends once `finish` is cancelled and every partition is read to its end;
    /// `stop` drains and ends it at once.
    #[must_use]
    pub fn new(
        settings: Settings,
        metrics: Metrics,
        status: Status,
        finish: CancellationToken,
        stop: CancellationToken,
    ) -> Self {
        let connected = watch::Sender::new(None);
        let real = Real {
            settings: settings.clone(),
            metrics: metrics.clone(),
            status: status.clone(),
            connected: connected.clone(),
        };
        let this = Self::among(Box::new(real), settings, metrics, status, finish, stop);
        Self { warehouse: connected, ..this }
    }

    /// As [`Pipeline::new`], but among other neighbours than the settings name.
    #[must_use]
    pub fn among(
        neighbours: Box<dyn Neighbours>,
        settings: Settings,
        metrics: Metrics,
        status: Status,
        finish: CancellationToken,
        stop: CancellationToken,
    ) -> Self {
        let (warehouse, retrier) = (watch::Sender::new(None), watch::Sender::new(None));
        Self { settings, metrics, status, finish, stop, neighbours, warehouse, retrier }
    }

    /// The warehouse, while there is a connection to it: for whoever looks on.
    #[must_use]
    pub fn warehouse(&self) -> watch::Receiver<Option<Warehouse>> {
        self.warehouse.subscribe()
    }

    /// What retries dead letters, while events flow.
    #[must_use]
    pub fn retrier(&self) -> watch::Receiver<Option<Retrier>> {
        self.retrier.subscribe()
    }

    /// Runs until stopped, caught up (where asked for) or broken.
    ///
    /// # Errors
    /// The first error of any part; every message says what to do.
    pub async fn run(self) -> Result<(), PipelineError> {
        self.status.phase("starting");
        let ended = self.start_and_watch().await;
        self.status.phase(STOPPED);
        ended
    }

    async fn start_and_watch(&self) -> Result<(), PipelineError> {
        let abort = CancellationToken::new();
        let mut started = tokio::select! {
            biased;
            started = start::start(self, &abort) => started?,
            () = self.stop.cancelled() => return Ok(()),
        };
        self.status.phase("running");
        let ended = self.watch(&mut started.tasks, &abort).await;
        self.retrier.send_replace(None);
        self.warehouse.send_replace(None);
        // Kept until here: the embedded engine serves the last inserts.
        started.warehouse.close().await;
        ended
    }

    /// Waits for every task; the first that fails stops the others.
    async fn watch(
        &self,
        tasks: &mut JoinSet<Result<(), PipelineError>>,
        abort: &CancellationToken,
    ) -> Result<(), PipelineError> {
        let drain = Duration::from_secs(self.settings.limits.shutdown_seconds);
        let drained = async {
            self.stop.cancelled().await;
            self.status.phase("draining");
            tokio::time::sleep(drain).await;
        };
        tokio::pin!(drained);
        loop {
            let ended = tokio::select! {
                biased;
                ended = tasks.join_next() => ended,
                () = &mut drained => {
                    let waiting = self.status.report().waiting.into_keys().collect::<Vec<_>>().join(", ");
                    abort.cancel();
                    return Err(PipelineError::NotDrained { seconds: drain.as_secs(), waiting });
                }
            };
            let Some(ended) = ended else { return Ok(()) };
            // A panic has ended the process before (see main.rs), except in tests.
            let ended = ended.expect("no task of the pipeline panics");
            if ended.is_err() {
                self.stop.cancel();
                abort.cancel();
                let _ = timeout(FAILED_GRACE, async { while tasks.join_next().await.is_some() {} }).await;
                return ended;
            }
        }
    }
}
