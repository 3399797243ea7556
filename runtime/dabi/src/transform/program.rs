//! What a module runs as: compiled WASM in the product, native functions in the
//! simulation, which has no use for a sandbox.
//!
//! Invariant: what is isolated, retried and counted around a call is the same for
//! both (`worker`).

use std::time::Duration;

use dabi_core::spec::Spec;

use super::answer::Applied;
use super::instance::{ApplyFailure, InputBatch};

/// A transform's function.
pub trait Program: Send + Sync {
    /// Starts it, within `limit`.
    ///
    /// # Errors
    /// It cannot be started.
    fn start(&self, limit: Duration) -> Result<Box<dyn Running>, ApplyFailure>;
}

/// A function that has started. Once it has failed it is not called again.
pub trait Running: Send {
    /// Applies it to a batch of what `spec` declares, within `limit`.
    ///
    /// # Errors
    /// There is no answer.
    fn apply(&mut self, spec: &Spec, input: &InputBatch, limit: Duration) -> Result<Applied, ApplyFailure>;
}
