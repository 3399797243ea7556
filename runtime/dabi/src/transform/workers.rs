//! As many workers of one module as there are calls at once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::answer::Applied;
use super::instance::InputBatch;
use super::module::Module;
use super::worker::{PoisonBudget, TransformStopped, Worker};

/// Workers of one module; calls may come from several threads.
pub struct Workers {
    module: Module,
    /// Those that no call is using.
    idle: Mutex<Vec<Worker>>,
}

impl Workers {
    /// Workers of `module`, made when they are first needed.
    #[must_use]
    pub fn new(module: Module) -> Self {
        Self { module, idle: Mutex::default() }
    }

    /// The module.
    #[must_use]
    pub fn module(&self) -> &Module {
        &self.module
    }

    /// [`Worker::apply_isolating`] with a worker that is free.
    ///
    /// # Errors
    /// As there.
    pub fn apply_isolating(
        &self,
        input: &InputBatch,
        budget: &PoisonBudget,
    ) -> Result<Applied, TransformStopped> {
        let idle = self.lock().pop();
        let mut worker = idle.unwrap_or_else(|| Worker::new(self.module.clone()));
        let applied = worker.apply_isolating(input, budget)?;
        self.lock().push(worker);
        Ok(applied)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Worker>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
