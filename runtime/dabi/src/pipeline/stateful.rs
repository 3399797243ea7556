//! The transforms that need row state: one engine over one store.
//!
//! Owns the order of an epoch: drop what the warehouse has, apply, commit; what
//! comes out is then sent. Does not own the engine's rules
//! (`dabi_core::engine::stateful`), the store (`state`), or how they come up
//! (`rebuild`).
//!
//! Invariant: rows leave only after the epoch that made them is durable, so a
//! crash at any point sends them again, as they were.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arrow::array::ArrayRef;
use dabi_core::change::ChangeBatch;
use dabi_core::engine::state::{State, StateError};
use dabi_core::engine::stateful::{
    Applied, AppliedError, AppliedRows, Commands, Engine, EngineError, EpochEvents, EpochReport, InvalidPlan,
    Opened, Settings, StatefulTransform, Transforms,
};
use dabi_core::position::Position;
use dabi_core::star::TargetTable;
use dabi_core::table::SourceTable;
use dabi_core::version::{Epoch, Term};
use rayon::prelude::*;

use super::remarks::{self, Remarks};
use super::status::Status;
use super::transforms::{FIRST_GENERATION, Loaded};
use crate::failpoint::{Failpoint, reach};
use crate::telemetry::{Metrics, Stage};
use crate::transform::{InputBatch, Module, ModuleHash, PoisonBudget, Workers};

/// Rows of one call, so that the calls of a page spread over the cores.
const CALL_ROWS_MAX: usize = 2_500;

/// Up to which epoch of this run the warehouse has everything; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Stored(Arc<AtomicU64>);

impl Stored {
    /// The warehouse has everything up to `epoch`.
    pub(super) fn up_to(&self, epoch: Epoch) {
        self.0.fetch_max(epoch.0, Ordering::Relaxed);
    }
}

/// A transform that needs row state, as it is loaded.
pub(super) struct Member {
    /// The entry of the transforms' folder that it came from.
    pub(super) entry: String,
    pub(super) workers: Workers,
    /// The table of each target.
    pub(super) tables: Vec<TargetTable>,
    /// Has any event gone through it?
    pub(super) is_tried: bool,
}

/// The engine with everything it runs on.
pub(super) struct Stateful {
    pub(super) engine: Engine,
    pub(super) state: Box<dyn State>,
    pub(super) members: Vec<Member>,
    stored: Stored,
    told: u64,
    remarks: Remarks,
    metrics: Metrics,
}

/// Why another module cannot take a member's place while running.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// The store does not keep what it asks for.
    #[error("{0}: restart dabi to take it up, which builds its row state from the lake")]
    Rebuild(String),
    /// It does not fit beside the others.
    #[error(transparent)]
    Invalid(#[from] InvalidPlan),
}

impl Unfit {
    /// No transform has needed row state so far, or not this one.
    pub(super) fn untold() -> Self {
        Self::Rebuild("no row state is kept for this transform yet".to_owned())
    }
}

impl Member {
    pub(super) fn new(loaded: Loaded, tables: Vec<TargetTable>) -> Self {
        Self { entry: loaded.entry, workers: Workers::new(loaded.module), tables, is_tried: false }
    }

    pub(super) fn module(&self) -> &Module {
        self.workers.module()
    }

    pub(super) fn declared(&self) -> StatefulTransform {
        StatefulTransform {
            spec: self.module().spec().clone(),
            module: self.module().hash().to_string(),
            tables: self.tables.clone(),
        }
    }
}

impl Stateful {
    /// `engine` was opened for `members` on `state`.
    pub(super) fn new(engine: Engine, state: Box<dyn State>, members: Vec<Member>, metrics: Metrics) -> Self {
        let (stored, remarks) = (Stored::default(), Remarks::default());
        Self { engine, state, members, stored, told: 0, remarks, metrics }
    }

    /// Tells everybody that the transform of that name is stopped.
    pub(super) fn tell_stopped(&self, name: &str, reason: &str, status: &Status) {
        tracing::error!(transform = name, reason, "transform stopped; the others go on");
        if let Some(member) = self.members.iter().find(|member| member.module().spec().name == name) {
            status.transform(&member.entry, |report| report.stopped(reason.to_owned()));
        }
        self.metrics.stopped(name);
    }

    /// For whoever stores what [`Stateful::apply`] gives.
    pub(super) fn stored(&self) -> Stored {
        self.stored.clone()
    }

    /// Applies and commits an epoch; blocks, so call it on a CPU thread.
    ///
    /// # Errors
    /// If the store fails, or the events do not fit the declarations.
    pub(super) fn apply(
        &mut self,
        term: Term,
        epoch: Epoch,
        batches: &[ChangeBatch],
        position: &Position,
    ) -> Result<Commands, EngineError> {
        let stored = self.stored.0.load(Ordering::Relaxed);
        if stored > self.told {
            self.state.sent(Epoch(stored))?;
            self.told = stored;
        }
        let events = EpochEvents { term, epoch, batches, position };
        let run = Run { members: &self.members };
        let metrics = self.metrics.clone();
        metrics.timed(Stage::State, || {
            let commands = self.engine.apply(&events, self.state.as_ref(), &run)?;
            self.state.commit(&commands.commit)?;
            reach(Failpoint::StateCommitted);
            Ok(commands)
        })
    }

    /// Tells what an epoch came to beside its rows.
    pub(super) fn remark(&mut self, report: &EpochReport, status: &Status) {
        remarks::count(report, &self.metrics);
        let fresh = self.remarks.take(report, Instant::now());
        fresh.to_log.iter().for_each(|remark| tracing::warn!("{remark}"));
        for member in self.members.iter().filter(|_| fresh.is_any) {
            let remarks = self.remarks.of(member.module().spec());
            status.transform(&member.entry, |report| report.remarks = remarks);
        }
    }

    /// Puts `module` in the place of the member of `entry`; what stands is then
    /// evaluated again, page by page. Gives the module that was there.
    ///
    /// # Errors
    /// If it asks for something that the store does not keep. Nothing is changed.
    pub(super) fn replace(
        &mut self,
        entry: &str,
        module: Module,
        tables: Vec<TargetTable>,
    ) -> Result<ModuleHash, Unfit> {
        let Some(index) = self.members.iter().position(|member| member.entry == entry) else {
            return Err(Unfit::untold());
        };
        let loaded = Loaded { entry: entry.to_owned(), module };
        let old = std::mem::replace(&mut self.members[index], Member::new(loaded, tables));
        match open_engine(&self.members, self.engine.settings(), self.state.as_ref()) {
            Ok(Opened::Ready(engine)) => {
                self.engine = engine;
                Ok(old.module().hash())
            }
            Ok(Opened::Rebuild { reason }) => {
                self.members[index] = old;
                Err(Unfit::Rebuild(reason))
            }
            Err(invalid) => {
                self.members[index] = old;
                Err(Unfit::Invalid(invalid))
            }
        }
    }

    /// The view of each physical table.
    pub(super) fn view_of(&self, table: &str) -> String {
        let mut tables = self.members.iter().flat_map(|member| &member.tables);
        let found = tables.find(|known| known.physical_name() == table);
        found.map_or_else(|| table.to_owned(), |known| known.view_name().to_owned())
    }

    /// The generation of all its tables.
    pub(super) fn generation(&self) -> u32 {
        self.tables().map(TargetTable::generation).max().unwrap_or(FIRST_GENERATION)
    }

    /// Every target's table.
    pub(super) fn tables(&self) -> impl Iterator<Item = &TargetTable> {
        self.members.iter().flat_map(|member| &member.tables)
    }

    /// The tables that it keeps rows of, those that a transform reads at the end:
    /// then most lookups find their row, and nothing is evaluated twice.
    pub(super) fn sources_last(&self) -> Vec<SourceTable> {
        let is_source =
            |table: &&SourceTable| self.members.iter().any(|m| m.module().spec().source == **table);
        let (sources, only_looked_up): (Vec<_>, Vec<_>) = self.engine.tables().partition(is_source);
        only_looked_up.into_iter().chain(sources).cloned().collect()
    }

    /// The warehouse has everything that was committed.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn all_sent(&mut self) -> Result<(), StateError> {
        match self.state.committed() {
            Some(committed) => self.state.sent(committed.epoch),
            None => Ok(()),
        }
    }

    /// What is not done, for people to read.
    pub(super) fn open_work(&self) -> Vec<String> {
        let progress = self.engine.progress();
        let sweeps = progress.sweeps.into_iter().map(|(what, done)| format!("{what} ({done} rows done)"));
        let jobs = (progress.jobs > 0).then(|| format!("dependents of {} changed rows", progress.jobs));
        jobs.into_iter().chain(sweeps).collect()
    }

    /// SHA-256 of the module of a transform.
    pub(super) fn module_of(&self, transform: &str) -> String {
        let member = self.members.iter().find(|member| member.module().spec().name == transform);
        member.map(|member| member.module().hash().to_string()).unwrap_or_default()
    }

    /// SHA-256 of each running module, by name.
    pub(super) fn modules(&self) -> BTreeMap<String, String> {
        let progress = self.engine.progress();
        let named = |member: &Member| {
            let spec = member.module().spec();
            (spec.name.clone(), member.module().hash().to_string())
        };
        let running = |(name, _): &(String, String)| !progress.stopped.contains_key(name);
        self.members.iter().map(named).filter(running).collect()
    }
}

/// An engine for `members` where `state` stands.
pub(super) fn open_engine(
    members: &[Member],
    settings: Settings,
    state: &dyn State,
) -> Result<Opened, InvalidPlan> {
    let transforms: Vec<StatefulTransform> = members.iter().map(Member::declared).collect();
    Engine::open(&transforms, settings, state.committed().as_ref())
}

/// The modules, for one epoch.
struct Run<'a> {
    members: &'a [Member],
}

impl Transforms for Run<'_> {
    fn apply(&self, transform: usize, rows: usize, columns: &[ArrayRef]) -> Result<Applied, String> {
        call(&self.members[transform].workers, rows, columns)
    }
}

/// Applies a module to `rows` source rows, on all cores.
///
/// # Errors
/// Why the transform cannot go on.
pub(crate) fn call(workers: &Workers, rows: usize, columns: &[ArrayRef]) -> Result<Applied, String> {
    let budget = PoisonBudget::new(workers.module());
    let whole = InputBatch { rows, columns: columns.to_vec() };
    let parts: Vec<usize> = (0..rows).step_by(CALL_ROWS_MAX).collect();
    let parts: Result<Vec<Applied>, String> = parts
        .into_par_iter()
        .map(|from| {
            let part = whole.slice(from, CALL_ROWS_MAX.min(rows - from));
            let offset = u32::try_from(from).expect("the rows of a page");
            let applied = workers.apply_isolating(&part, &budget).map_err(|stopped| stopped.reason)?;
            let row = |row: &u32| row + offset;
            let outputs = applied.outputs.into_iter().map(|output| AppliedRows {
                target: output.target,
                origin: output.origin.iter().map(row).collect(),
                columns: output.columns,
            });
            let errors = applied.errors.into_iter().map(|error| AppliedError {
                row: row(&error.row),
                code: error.code,
                message: error.message,
            });
            Ok(Applied { outputs: outputs.collect(), errors: errors.collect() })
        })
        .collect();
    let mut all = Applied::default();
    for part in parts? {
        all.outputs.extend(part.outputs);
        all.errors.extend(part.errors);
    }
    Ok(all)
}

/// Why the stateful transforms cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum StatefulError {
    /// The engine, or its store while running.
    #[error(
        "stateful transforms: {0}; if this is not about your declarations, start dabi again: what its state \
         store lacks comes from the lake"
    )]
    Engine(#[from] EngineError),
    /// The store cannot be opened.
    #[error(transparent)]
    State(#[from] StateError),
    /// Declarations that do not fit together.
    #[error(transparent)]
    Plan(#[from] InvalidPlan),
    /// What the store kept for the warehouse.
    #[error(transparent)]
    Outbox(#[from] dabi_core::engine::stateful::InvalidOutbox),
}
