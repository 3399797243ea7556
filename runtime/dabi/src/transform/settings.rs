//! `[transforms]`.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::runtime::Settings;

/// The `[transforms]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransformSettings {
    /// Every source project and every `.wasm` file in this folder is a transform.
    pub dir: PathBuf,
    /// Where the modules of projects go when they are built.
    pub build_dir: PathBuf,
    /// What happens when something in `dir` changes.
    pub reload: Reload,
    /// Where compiled code is kept between starts; only dabi may write there.
    pub cache_dir: PathBuf,
    /// The longest that one call of a module may take, ms.
    pub call_ms_max: u64,
    /// The most memory that one instance of a module may have, bytes.
    pub memory_bytes_max: usize,
    /// Rows of one epoch that may break a module before it is stopped.
    pub poison_rows_max: u32,
    /// The longest that finding such rows may take in one epoch, ms.
    pub retry_ms_max: u64,
}

/// What happens when a transform changes while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reload {
    /// It is built and taken up: later events go through it. The next start
    /// replays the lake through it.
    Forward,
    /// Nothing, until the next start.
    Manual,
}

impl Default for TransformSettings {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("transforms"),
            build_dir: PathBuf::from(".dabi/transforms"),
            reload: Reload::Forward,
            cache_dir: PathBuf::from(".dabi/compiled"),
            call_ms_max: 5_000,
            memory_bytes_max: 256 << 20,
            poison_rows_max: 100,
            retry_ms_max: 10_000,
        }
    }
}

impl TransformSettings {
    /// The limits of the engine.
    #[must_use]
    pub fn runtime(&self) -> Settings {
        Settings {
            cache_dir: Some(self.cache_dir.clone()),
            call_time_max: Duration::from_millis(self.call_ms_max),
            memory_bytes_max: self.memory_bytes_max,
            poison_rows_max: self.poison_rows_max,
            retry_time_max: Duration::from_millis(self.retry_ms_max),
        }
    }
}
