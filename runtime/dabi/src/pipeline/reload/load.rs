//! From a file to a transform that could run: everything that can be refused.

use std::time::Instant;

use dabi_core::star::TargetTable;
use dabi_core::version::{Epoch, Term, Version};
use tokio::sync::oneshot;

use super::super::evaluate::LiveTransform;
use super::super::transforms::{FIRST_GENERATION, conflict, needs_row_state, tables};
use super::{Candidate, Run};
use crate::transform::{Module, ModuleHash};
use crate::warehouse::{Generations, WarehouseError};

/// What comes to the switch.
pub(super) enum Prepared {
    /// A transform that needs no row state.
    Stateless(Box<LiveTransform>),
    /// One that does, over these tables.
    Stateful(Module, Vec<TargetTable>),
}

impl Prepared {
    pub(super) fn module(&self) -> &Module {
        match self {
            Self::Stateless(transform) => transform.module(),
            Self::Stateful(module, _) => module,
        }
    }
}

/// Why a module does not come to the switch.
pub(super) enum Refused {
    /// It may not have been written to its end.
    Incomplete,
    /// It cannot run.
    For(String),
    /// The pipeline is ending.
    Ending,
}

impl Refused {
    fn of(error: WarehouseError) -> Self {
        match error {
            WarehouseError::Stopped(_) => Self::Ending,
            error => Self::For(error.to_string()),
        }
    }
}

impl Run {
    /// Loads what is in the candidate's file, and everything but the switch;
    /// `None` if events go through that module already.
    pub(super) async fn prepare(&mut self, candidate: &Candidate<'_>) -> Result<Option<Prepared>, Refused> {
        let Candidate { entry, file, build, .. } = *candidate;
        let bytes = tokio::fs::read(file)
            .await
            .map_err(|error| Refused::For(format!("read {}: {error}", file.display())))?;
        let hash = ModuleHash::of(&bytes);
        let known = self.known.entry(entry.to_owned()).or_default();
        let (last_refused, live) = (known.refused.replace(hash), known.module.clone());
        if live.as_ref().is_some_and(|live| live.hash() == hash) {
            known.refused = None;
            return Ok(None);
        }
        let (runtime, name) = (self.reload.runtime.clone(), file.display().to_string());
        let began = Instant::now();
        let loaded = self.compute(move || Module::load(&runtime, &name, &bytes)).await;
        tracing::debug!(%hash, ms = began.elapsed().as_millis(), "compiled {}", file.display());
        let module = match loaded {
            Ok(module) => module,
            // What a toolchain made is whole. Anything else is given a moment,
            // and refused only if it is still the same then.
            Err(_) if build.is_none() && last_refused != Some(hash) => return Err(Refused::Incomplete),
            Err(error) => return Err(Refused::For(error.to_string())),
        };
        self.check(entry, &module)?;
        if needs_row_state(&module) {
            let tables = self.shown_tables(&module).await.map_err(Refused::of)?;
            self.reload
                .filler
                .warehouse
                .ensure_tables(&tables, &self.reload.stop)
                .await
                .map_err(Refused::of)?;
            self.known.entry(entry.to_owned()).or_default().refused = None;
            return Ok(Some(Prepared::Stateful(module, tables)));
        }
        let metrics = self.reload.metrics.clone();
        let transform = LiveTransform::new(entry.to_owned(), module.clone(), metrics);
        self.attempt(entry, &module).await?;
        let is_same_table = |live: &Module| tables(live.spec(), FIRST_GENERATION) == transform.tables;
        if !live.as_ref().is_some_and(is_same_table) {
            let (warehouse, stop) = (&self.reload.filler.warehouse, &self.reload.stop);
            warehouse.ensure_tables(&transform.tables, stop).await.map_err(Refused::of)?;
            warehouse.show_tables(&transform.tables, stop).await.map_err(Refused::of)?;
        }
        self.known.entry(entry.to_owned()).or_default().refused = None;
        Ok(Some(Prepared::Stateless(Box::new(transform))))
    }

    /// The tables of `module` in the generation that readers see.
    async fn shown_tables(&self, module: &Module) -> Result<Vec<TargetTable>, WarehouseError> {
        let mut generations = Generations::default();
        for target in &module.spec().targets {
            let of_target =
                self.reload.filler.warehouse.generations(&target.table, &self.reload.stop).await?;
            generations.merge(of_target);
        }
        Ok(tables(module.spec(), generations.shown.unwrap_or(FIRST_GENERATION)))
    }

    /// Could it run beside the others, and at all?
    fn check(&self, entry: &str, module: &Module) -> Result<(), Refused> {
        let spec = module.spec();
        if let Some(conflict) = self.others(entry).find_map(|other| conflict(other.spec(), spec)) {
            return Err(Refused::For(conflict));
        }
        let was_stateful = self.known.get(entry).and_then(|known| known.module.as_ref()).map(needs_row_state);
        match (was_stateful, needs_row_state(module)) {
            (Some(true), false) => Err(Refused::For(format!(
                "transform {} no longer needs the row state that is kept for it; restart dabi to take it up",
                spec.name
            ))),
            _ => Ok(()),
        }
    }

    /// Puts the newest events of its source through it; what comes out is dropped.
    async fn attempt(&self, entry: &str, module: &Module) -> Result<(), Refused> {
        let Some(events) = self.reload.samples.of(&module.spec().source) else { return Ok(()) };
        let mut transform = LiveTransform::new(entry.to_owned(), module.clone(), self.reload.metrics.clone());
        let tried = self
            .compute(move || {
                let version = Version::new(Term(0), Epoch(0));
                transform.evaluate(&[events], version).map(|_| transform.stopped)
            })
            .await;
        match tried {
            Ok(None) => Ok(()),
            Ok(Some(reason)) => {
                Err(Refused::For(format!("it fails on the newest events of its source: {reason}")))
            }
            Err(error) => Err(Refused::For(error.to_string())),
        }
    }

    /// Runs `work` on the threads for modules.
    async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = oneshot::channel();
        self.compiler.spawn(move || {
            // The asker is gone only when the pipeline is being torn down.
            let _ = answer.send(work());
        });
        answered.await.expect("a panic on a thread of the pipeline ends the process")
    }
}
