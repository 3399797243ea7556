//! Embedded neighbours for `dabi demo` and `dabi dev`.
//!
//! Owns their folder. Embedded means ephemeral: it is made anew at each start,
//! and belongs to one process at a time.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};

use crate::warehouse::embedded::EmbeddedClickHouse;

/// A folder of one's own, and what stands in it.
pub(super) struct World {
    folder: PathBuf,
    engine: EmbeddedClickHouse,
    _lock: File,
}

impl World {
    /// Clears `folder`, if nobody else lives there, and starts a ClickHouse in it.
    pub(super) async fn create(folder: &Path) -> anyhow::Result<Self> {
        let lock = clear(folder)?;
        let engine = EmbeddedClickHouse::start(&folder.join("clickhouse")).await?;
        Ok(Self { folder: folder.to_owned(), engine, _lock: lock })
    }

    /// The settings, as environment variables, that lead to what stands here.
    pub(super) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("DABI_STATE_DIR", self.folder.join("state").display().to_string()),
            ("DABI_LAKE_URL", self.folder.join("lake").display().to_string()),
            ("DABI_WAREHOUSE_URL", self.engine.url().to_owned()),
            ("DABI_WAREHOUSE_USER", self.engine.user().to_owned()),
            // Quoted: one of digits alone must not be read as a number.
            ("DABI_WAREHOUSE_PASSWORD", format!("{:?}", self.engine.password())),
        ]
    }

    /// A line that asks the ClickHouse here, ready to be pasted. The password may
    /// be seen: each start has another, and only loopback can use it.
    pub(super) fn curl(&self, sql: &str) -> String {
        let address = self.engine.url().trim_start_matches("http://");
        format!("curl http://{}:{}@{address} -d '{sql}'", self.engine.user(), self.engine.password())
    }

    /// Ends what was started.
    pub(super) async fn close(self) {
        self.engine.stop().await;
    }
}

/// Empties `folder`, if nobody else lives there.
fn clear(folder: &Path) -> anyhow::Result<File> {
    let lock = lock(folder)?;
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("clear what the last run left in {}", folder.display()))?;
    }
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(lock)
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
            bail!("another dabi runs in {}; stop it first, or start this one elsewhere", folder.display())
        }
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("lock {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_is_made_anew_and_belongs_to_one_process() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("demo");
        let lock = clear(&folder).unwrap();
        std::fs::write(folder.join("left"), "over").unwrap();
        let refused = clear(&folder).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(refused.contains("another dabi runs in"), "{refused}");
        assert!(folder.join("left").exists(), "a world that is lived in is left alone");
        drop(lock);
        clear(&folder).unwrap();
        assert!(!folder.join("left").exists());
    }
}
