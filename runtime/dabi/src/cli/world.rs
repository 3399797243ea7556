//! Embedded neighbours for `dabi demo` and `dabi dev`.
//!
//! Owns their folder. Embedded means ephemeral: it is made anew at each start,
//! and belongs to one process at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::warehouse::embedded::EmbeddedClickHouse;

/// A folder of one's own, and the engine on it.
pub(super) struct World {
    folder: PathBuf,
    engine: EmbeddedClickHouse,
    _lock: File,
}

impl World {
    /// Clears `folder` and starts the engine on it.
    pub(super) async fn create(folder: &Path) -> anyhow::Result<Self> {
        let lock = lock(folder)?;
        if folder.exists() {
            std::fs::remove_dir_all(folder)
                .with_context(|| format!("clear what the last run left in {}", folder.display()))?;
        }
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let engine = EmbeddedClickHouse::start(&folder.join("clickhouse")).await?;
        Ok(Self { folder: folder.to_owned(), engine, _lock: lock })
    }

    /// The settings that lead to it, as environment variables.
    pub(super) fn variables(&self) -> Vec<(String, String)> {
        let variables = [
            ("DABI_LAKE_URL", self.folder.join("lake").display().to_string()),
            ("DABI_WAREHOUSE_URL", self.engine.url().to_owned()),
            ("DABI_WAREHOUSE_USER", self.engine.user().to_owned()),
            // Quoted: one of digits alone must not be read as a number.
            ("DABI_WAREHOUSE_PASSWORD", format!("{:?}", self.engine.password())),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).into()
    }

    /// The engine's address for curl, password included: it is another one at
    /// each start, and the engine listens on loopback only.
    pub(super) fn address_for_curl(&self) -> String {
        let address = self.engine.url().trim_start_matches("http://");
        format!("http://{}:{}@{address}", self.engine.user(), self.engine.password())
    }

    /// Ends the engine.
    pub(super) async fn close(self) {
        self.engine.stop().await;
    }
}

/// Held as long as the world stands; the system gives it back however that ends.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.with_extension("lock");
    let parent = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| format!("create {}", parent.display()))?;
    let file = File::create(&path).with_context(|| format!("create {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            bail!(
                "another dabi runs in {}; stop it first, or start this one in another folder",
                folder.display()
            )
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}
