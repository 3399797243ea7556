//! The lake: every change event as Parquet in an object store, and manifests
//! that say which files count.
//!
//! Owns Parquet and the object store. Does not own what a change event is
//! (`dabi_core::change`) nor the rules of the manifests (`dabi_core::manifest`).
//!
//! Invariants: a position is durable in the lake when a manifest holds it, never
//! before; every event stands exactly once in the files that manifests name; a
//! file that no manifest names does not exist for a reader; nothing that was
//! written is ever changed.
//!
//! Writing is two halves: an [`Encoder`] (CPU, no I/O) turns decoded events into
//! files in memory, a [`Committer`] (I/O, no CPU) uploads and commits them.

mod commit;
mod dates;
mod dead_letters;
mod encode;
mod error;
mod file;
mod layout;
mod read;
mod retry;
mod settings;
mod store;
mod table;
mod term;

pub use commit::Committer;
pub use encode::{Encoder, Sealed};
pub use error::{LakeError, LakeErrorKind};
pub use settings::{LakeLimits, LakeSettings, Secret};

use std::sync::Arc;

use object_store::ObjectStore;

use store::Store;

/// A lake.
#[derive(Clone, Debug)]
pub struct Lake {
    store: Store,
}

impl Lake {
    /// Opens a lake for reading.
    ///
    /// # Errors
    /// If the settings cannot be used, or a local folder does not exist.
    pub fn open(settings: &LakeSettings) -> Result<Self, LakeError> {
        Ok(Self { store: Store::open(settings, false)? })
    }

    /// Opens a lake for writing: makes a missing local folder, and sees that the
    /// store honours conditional PUT.
    ///
    /// # Errors
    /// If the settings cannot be used, the store does not answer, or it
    /// overwrites what it was asked to create.
    pub async fn open_for_writing(settings: &LakeSettings) -> Result<Self, LakeError> {
        let lake = Self { store: Store::open(settings, true)? };
        lake.self_test().await?;
        Ok(lake)
    }

    /// Sees that the store honours conditional PUT.
    ///
    /// # Errors
    /// [`LakeError::NoConditionalPut`] if it does not; else what the store answers.
    pub async fn self_test(&self) -> Result<(), LakeError> {
        self.store.self_test().await
    }

    /// A lake in a store that is open already: for tests with faults.
    #[must_use]
    pub fn in_store(store: Arc<dyn ObjectStore>) -> Self {
        Self { store: Store::with(store) }
    }

    /// The root, as DuckDB and others name it, without a slash at its end.
    #[must_use]
    pub fn url(&self) -> &str {
        self.store.url()
    }

    /// The URL or file name of a path from a manifest.
    #[must_use]
    pub fn url_of(&self, path: &str) -> String {
        format!("{}/{path}", self.url())
    }
}
