//! Both stores under the same tests, and each under the faults that it can meet.
//!
//! What a store holds is always compared with `model`, in full.

mod conformance;
mod crashes;
mod damage;
pub(super) mod faults;
mod kills;
mod model;
mod workload;

use std::path::Path;
use std::sync::Arc;

use dabi_core::engine::state::State;

use self::faults::Faults;
use super::files::Files;
use super::{Identity, Opened, StateSettings, StoreKind, open_with};

/// So little that every test goes through checkpoints.
const LOG_BYTES_MIN: u64 = 8 << 10;

fn identity() -> Identity {
    Identity { pipeline: "shop".to_owned(), lake: "lake-1".to_owned() }
}

fn settings(kind: StoreKind, folder: &Path) -> StateSettings {
    let memory_bytes = Some(1 << 30);
    StateSettings { dir: folder.into(), store: kind, memory_bytes, log_bytes_min: LOG_BYTES_MIN }
}

/// On a file system that does not fail, and syncs nothing: no test takes its power.
fn open(kind: StoreKind, folder: &Path) -> (Box<dyn State>, Opened) {
    let files = Faults::after(usize::MAX).files();
    open_with(&settings(kind, folder), &identity(), files).expect("open the store")
}
