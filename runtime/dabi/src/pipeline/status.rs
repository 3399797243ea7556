//! What the pipeline is doing, for `/readyz` and the terminal.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dabi_core::position::Position;
use serde::Serialize;

/// The phase of a pipeline that has ended, in whatever way.
pub const STOPPED: &str = "stopped";

/// Shared, cheap to clone; written by the pipeline, read by whoever shows it.
#[derive(Clone, Default)]
pub struct Status(Arc<Mutex<Report>>);

/// A moment of the pipeline.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Report {
    /// Events flow and nothing is waited for.
    pub ready: bool,
    /// What is being done: `starting`, `running`, `draining`, `stopped`.
    pub phase: String,
    /// Neighbours that are waited for, with the reason.
    pub waiting: BTreeMap<String, String>,
    /// Transforms that were stopped, with the reason; the promise does not hold
    /// for their targets.
    pub stopped_transforms: BTreeMap<String, String>,
    /// Up to where everything is durable in the lake.
    pub lake_position: Position,
    /// Up to where everything is visible in the star.
    pub star_position: Position,
}

impl Status {
    /// What is going on now.
    #[must_use]
    pub fn report(&self) -> Report {
        self.lock().clone()
    }

    /// Names what is being done.
    pub fn phase(&self, phase: &str) {
        let mut report = self.lock();
        phase.clone_into(&mut report.phase);
        report.ready = phase == "running" && report.waiting.is_empty();
    }

    /// `neighbour` is waited for.
    pub fn waiting(&self, neighbour: &str, reason: String) {
        let mut report = self.lock();
        report.waiting.insert(neighbour.to_owned(), reason);
        report.ready = false;
    }

    /// `neighbour` answers again.
    pub fn arrived(&self, neighbour: &str) {
        let mut report = self.lock();
        report.waiting.remove(neighbour);
        report.ready = report.phase == "running" && report.waiting.is_empty();
    }

    /// A transform was stopped.
    pub fn transform_stopped(&self, name: &str, reason: String) {
        self.lock().stopped_transforms.insert(name.to_owned(), reason);
    }

    /// The lake is durable up to `position`.
    pub fn lake(&self, position: &Position) {
        self.lock().lake_position.merge(position);
    }

    /// The star is visible up to `position`.
    pub fn star(&self, position: &Position) {
        self.lock().star_position.merge(position);
    }

    fn lock(&self) -> MutexGuard<'_, Report> {
        // A report is plain data: whole after every statement, even if its writer panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
