//! Both stores under the same tests, and each under the faults that it can meet.
//!
//! What a store holds is always compared with `model`, in full.

mod conformance;
pub(super) mod faults;
mod model;
mod workload;

use std::path::Path;

use dabi_core::engine::state::State;

use super::files::Files;
use super::{Identity, Opened, StateSettings, StoreKind, open_with};

/// So little that every test goes through checkpoints.
const LOG_BYTES_MIN: u64 = 16 << 10;

fn identity() -> Identity {
    Identity { pipeline: "shop".to_owned(), lake: "lake-1".to_owned() }
}

fn settings(kind: StoreKind, folder: &Path) -> StateSettings {
    StateSettings { dir: folder.into(), store: kind, memory_bytes: Some(1 << 30) }
}

fn open(kind: StoreKind, folder: &Path) -> (Box<dyn State>, Opened) {
    open_on(kind, folder, Files::default())
}

fn open_on(kind: StoreKind, folder: &Path, files: Files) -> (Box<dyn State>, Opened) {
    open_with(&settings(kind, folder), &identity(), files, LOG_BYTES_MIN).expect("open the store")
}
