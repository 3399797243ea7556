//! From a file to a transform that could run: everything that can be refused.

use dabi_core::version::{Epoch, Term, Version};
use tokio::sync::oneshot;

use super::super::evaluate::LiveTransform;
use super::super::transforms::{conflict, tables};
use super::{Candidate, Run};
use crate::transform::{Module, ModuleHash};
use crate::warehouse::WarehouseError;

/// Why a module does not come to the switch.
pub(super) enum Refused {
    /// It may not have been written to its end.
    Incomplete,
    /// It cannot run.
    For(String),
    /// The pipeline is ending.
    Ending,
}

impl Run {
    /// Loads what is in the candidate's file, and everything but the switch;
    /// `None` if events go through that module already.
    pub(super) async fn prepare(
        &mut self,
        candidate: &Candidate<'_>,
    ) -> Result<Option<LiveTransform>, Refused> {
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
        let loaded = self.compute(move || Module::load(&runtime, &name, &bytes)).await;
        let module = match loaded {
            Ok(module) => module,
            // What a toolchain made is whole. Anything else is given a moment,
            // and refused only if it is still the same then.
            Err(_) if build.is_none() && last_refused != Some(hash) => return Err(Refused::Incomplete),
            Err(error) => return Err(Refused::For(error.to_string())),
        };
        self.check(entry, &module)?;
        let metrics = self.reload.metrics.clone();
        let transform = LiveTransform::new(entry.to_owned(), module.clone(), metrics);
        self.attempt(entry, &module).await?;
        let is_same_table = |live: &Module| tables(live.spec()) == transform.tables;
        if !live.as_ref().is_some_and(is_same_table) {
            let ensured =
                self.reload.filler.warehouse.ensure_targets(&transform.tables, &self.reload.stop).await;
            ensured.map_err(|error| match error {
                WarehouseError::Stopped(_) => Refused::Ending,
                error => Refused::For(error.to_string()),
            })?;
        }
        self.known.entry(entry.to_owned()).or_default().refused = None;
        Ok(Some(transform))
    }

    /// Could it run beside the others, and at all?
    fn check(&self, entry: &str, module: &Module) -> Result<(), Refused> {
        let spec = module.spec();
        if let Some(conflict) = self.others(entry).find_map(|other| conflict(other.spec(), spec)) {
            return Err(Refused::For(conflict));
        }
        let reasons = spec.stateful_reasons(None);
        if reasons.is_empty() {
            return Ok(());
        }
        Err(Refused::For(format!(
            "transform {} needs row state, which this version of dabi does not keep: {}",
            spec.name,
            reasons.join("; ")
        )))
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
