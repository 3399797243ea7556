//! Why source keys of a page have no star rows.
//!
//! Owns what weighs more: a fault fails its key in every target, while a row that
//! waits is only missing itself, and is told if nothing of its key stands.

use super::{Fault, Stop};

/// What is wrong with the source keys of a page.
pub(super) struct Stops {
    /// The first fault of each.
    failed: Vec<Option<Fault>>,
    /// What rows of each wait for first.
    waits_for: Vec<Option<String>>,
}

impl Stops {
    /// Nothing is wrong with so many.
    pub(super) fn new(sources: usize) -> Self {
        Self { failed: vec![None; sources], waits_for: vec![None; sources] }
    }

    pub(super) fn fail(&mut self, source: u32, fault: Fault) {
        self.failed[source as usize].get_or_insert(fault);
    }

    pub(super) fn hold(&mut self, source: u32, waits_for: &str) {
        self.waits_for[source as usize].get_or_insert_with(|| waits_for.to_owned());
    }

    pub(super) fn has_failed(&self, source: u32) -> bool {
        self.failed[source as usize].is_some()
    }

    /// For each source key what is wrong with it.
    pub(super) fn into_faults(self) -> Vec<Option<Fault>> {
        self.failed
    }

    /// For each source key why nothing of it stands; `stands` says of which
    /// something does.
    pub(super) fn into_reasons(self, stands: impl Fn(u32) -> bool) -> impl Iterator<Item = Option<Stop>> {
        (0..).zip(self.failed.into_iter().zip(self.waits_for)).map(move |(source, (fault, waits_for))| {
            let held = || waits_for.filter(|_| !stands(source)).map(Stop::Held);
            fault.map(Stop::Letter).or_else(held)
        })
    }
}
