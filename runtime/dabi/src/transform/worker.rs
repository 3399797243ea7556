//! Applying a module to batches whatever single rows do to it.
//!
//! A batch that fails is halved until the row that breaks the module stands
//! alone; that row becomes an error and the rest goes on. How much of this an
//! epoch may cost is bounded; beyond it the transform is stopped.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::answer::{Applied, RowError};
use super::instance::{ApplyFailure, InputBatch, Instance};
use super::module::Module;
use super::runtime::thread_cpu_time;

/// A part of a batch that failed gets its share of the time limit, but not less
/// than this.
const RETRY_LIMIT_MIN: Duration = Duration::from_millis(100);

/// What failing rows may cost one transform in one epoch; shared by its
/// workers.
#[derive(Debug)]
pub struct PoisonBudget {
    rows_max: u32,
    retry_time_max: Duration,
    rows: AtomicU32,
    retry_nanos: AtomicU64,
}

impl PoisonBudget {
    /// A full budget, by the limits of the module's runtime.
    #[must_use]
    pub fn new(module: &Module) -> Self {
        let settings = module.limits();
        Self {
            rows_max: settings.poison_rows_max,
            retry_time_max: settings.retry_time_max,
            rows: AtomicU32::new(0),
            retry_nanos: AtomicU64::new(0),
        }
    }

    /// How many rows broke the module so far.
    #[must_use]
    pub fn poison_rows(&self) -> u32 {
        self.rows.load(Ordering::Relaxed)
    }

    fn spend_row(&self, last: &ApplyFailure) -> Result<(), String> {
        let rows = self.rows.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        if rows <= self.rows_max {
            return Ok(());
        }
        Err(format!("more than {} rows of one epoch broke it; the last one: {last}", self.rows_max))
    }

    fn spend_time(&self, time: Duration, last: &ApplyFailure) -> Result<(), String> {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let spent = self.retry_nanos.fetch_add(nanos, Ordering::Relaxed).saturating_add(nanos);
        if Duration::from_nanos(spent) <= self.retry_time_max {
            return Ok(());
        }
        Err(format!(
            "finding the rows that break it took more than {:?}; the last: {last}",
            self.retry_time_max
        ))
    }
}

/// A module that fails too much: it is to be stopped, visibly; the others go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transform {transform} is stopped: {reason}; mend it and load it again")]
pub struct TransformStopped {
    /// Name of the transform.
    pub transform: String,
    /// Why.
    pub reason: String,
}

/// A module and, while it behaves, one instance of it. One per thread.
pub struct Worker {
    module: Module,
    instance: Option<Instance>,
}

impl Worker {
    /// A worker that makes its instance when it is first needed.
    #[must_use]
    pub fn new(module: Module) -> Self {
        Self { module, instance: None }
    }

    /// The module.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// Applies the transform; rows that break the module become errors.
    ///
    /// # Errors
    /// The module breaks on more rows, or takes longer to find them, than the
    /// budget allows; or the batch does not fit its declaration.
    pub fn apply_isolating(
        &mut self,
        input: &InputBatch,
        budget: &PoisonBudget,
    ) -> Result<Applied, TransformStopped> {
        let limit = self.module.limits().call_time_max;
        match self.attempt(input, limit) {
            Ok(applied) => Ok(applied),
            Err(failure) => self
                .isolate(input, failure, budget)
                .map_err(|reason| TransformStopped { transform: self.module.spec().name.clone(), reason }),
        }
    }

    /// Halves depth first, left before right, so that outputs stay in the order
    /// of the rows.
    fn isolate(
        &mut self,
        input: &InputBatch,
        failure: ApplyFailure,
        budget: &PoisonBudget,
    ) -> Result<Applied, String> {
        let mut applied = Applied::default();
        let mut failed = vec![(0, input.rows, failure)];
        let mut untried: Vec<(usize, usize)> = Vec::new();
        loop {
            if let Some((offset, rows, failure)) = failed.pop() {
                if let ApplyFailure::Input { .. } = failure {
                    return Err(failure.to_string());
                }
                if rows <= 1 {
                    budget.spend_row(&failure)?;
                    applied.errors.push(RowError {
                        row: row_number(offset)?,
                        code: failure.code().to_owned(),
                        message: failure.to_string(),
                    });
                } else {
                    let half = rows / 2;
                    untried.push((offset + half, rows - half));
                    untried.push((offset, half));
                }
            }
            let Some((offset, rows)) = untried.pop() else { return Ok(applied) };
            let limit = self.share_of_limit(rows, input.rows);
            let started = thread_cpu_time();
            let attempt = self.attempt(&input.slice(offset, rows), limit);
            match attempt {
                Ok(part) => applied.append(part, row_number(offset)?),
                Err(failure) => {
                    budget.spend_time(thread_cpu_time().saturating_sub(started), &failure)?;
                    failed.push((offset, rows, failure));
                }
            }
        }
    }

    fn share_of_limit(&self, rows: usize, of: usize) -> Duration {
        let limit = self.module.limits().call_time_max;
        // Both are row counts of one batch: exact in an f64.
        let share = limit.mul_f64(rows as f64 / of as f64);
        share.max(RETRY_LIMIT_MIN).min(limit)
    }

    fn attempt(&mut self, input: &InputBatch, limit: Duration) -> Result<Applied, ApplyFailure> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => self.module.instantiate()?,
        };
        let applied = instance.apply_within(input, limit)?;
        // Only an instance that answered is kept: a failure spends the store.
        self.instance = Some(instance);
        Ok(applied)
    }
}

fn row_number(row: usize) -> Result<u32, String> {
    u32::try_from(row).map_err(|_| format!("row {row} of one batch"))
}
