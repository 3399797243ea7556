//! The bounds of the pipeline.

use std::time::Duration;

use serde::Deserialize;

use crate::lake::LakeLimits;

/// Settings of `[limits]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// An epoch closes at this many rows, if it has not before.
    pub epoch_rows_max: usize,
    /// An epoch closes at this many decoded bytes, if it has not before.
    pub epoch_bytes_max: usize,
    /// The least time between the closes of two epochs, ms: ClickHouse sees at
    /// most one insert per table in it.
    pub epoch_interval_ms: u64,
    /// Decoded bytes in memory, over all epochs that a sink has not finished.
    pub memory_bytes: usize,
    /// When the lake commits, and what it holds in memory until then.
    pub lake: LakeLimits,
    /// After a stop signal: seconds to drain, flush and commit.
    pub shutdown_seconds: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            epoch_rows_max: 100_000,
            epoch_bytes_max: 24 << 20,
            epoch_interval_ms: 100,
            memory_bytes: 96 << 20,
            lake: LakeLimits::default(),
            shutdown_seconds: 10,
        }
    }
}

impl Limits {
    /// The least time between the closes of two epochs.
    #[must_use]
    pub fn epoch_interval(&self) -> Duration {
        Duration::from_millis(self.epoch_interval_ms)
    }
}
