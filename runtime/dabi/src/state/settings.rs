//! `[state]`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Which store keeps the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoreKind {
    /// All of it in memory, with a log on disk: ten times as fast.
    #[default]
    Memory,
    /// On disk, for state that memory does not hold.
    Disk,
}

/// The `[state]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StateSettings {
    /// The store's folder, of this pipeline alone.
    pub dir: PathBuf,
    /// `memory` or `disk`. What is kept is a copy of what the lake says: after
    /// a change it is loaded from there.
    pub store: StoreKind,
    /// What the store may take: at `memory` all it holds (about 320 bytes for a
    /// row with its output and one lookup), at `disk` a quarter of it for a cache. By
    /// default half of what the machine or its container has.
    pub memory_bytes: Option<u64>,
    /// A shorter log gets no checkpoint: a start reads about so many bytes of it, or
    /// as many as the state takes if that is more.
    pub log_bytes_min: u64,
}

impl Default for StateSettings {
    fn default() -> Self {
        Self {
            dir: PathBuf::from(".dabi/state"),
            store: StoreKind::default(),
            memory_bytes: None,
            log_bytes_min: 64 << 20,
        }
    }
}

impl StateSettings {
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.unwrap_or_else(|| machine_bytes() / 2)
    }
}

fn machine_bytes() -> u64 {
    let system = rustix::system::sysinfo();
    let machine = u64::from(system.mem_unit) * system.totalram;
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|bytes| bytes.trim().parse().ok());
    machine.min(container.unwrap_or(u64::MAX))
}
