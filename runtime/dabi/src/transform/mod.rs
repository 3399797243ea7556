//! WASM transforms: compile a module, read its declaration, apply it to batches.
//!
//! Owns wasmtime: the engine, the sandbox and its limits, the cache of compiled
//! code, the crossing between Arrow arrays and a module's memory, and what is
//! done when a module fails. Does not own what a declaration means
//! (`dabi_core::spec`), how source columns become the declared types
//! (`dabi_core::reading`), or when modules are loaded and swapped.
//!
//! Invariant: whatever a module does, a call ends within its limit of CPU time, with
//! arrays that are exactly as declared, or with the rows to blame. A module
//! sees no clock, no randomness, no files and no network.

mod answer;
mod bindings;
mod cache;
mod functions;
mod instance;
mod module;
mod program;
mod runtime;
mod settings;
mod worker;
mod workers;

pub use answer::{Applied, RowError, TargetRows};
pub use instance::{ApplyFailure, InputBatch, Instance};
pub use module::{Module, ModuleError, ModuleHash};
pub use program::{Program, Running};
pub use runtime::{Runtime, RuntimeError, Settings};
pub use settings::{Reload, TransformSettings};
pub use worker::{PoisonBudget, TransformStopped, Worker};
pub use workers::Workers;
