//! Holding the star against the lake.
//!
//! Owns the comparison of what stands in ClickHouse with what the modules make
//! of the lake's events ([`verify`]), and how one row came to be ([`explain`]).
//! Does not own the definition of what a row must be (`dabi_core::recompute`).
//!
//! Invariant: nothing here writes, and nothing is taken from the pipeline's own
//! state: a fault there shows as a difference.

mod changes;
mod comparison;
mod computed;
mod events;
mod explain;
mod explain_changes;
mod key;
mod steps;
mod tables;
mod verify;

pub use self::explain::{
    Cause, EventPlace, Explain, Explained, LookedUp, Moment, SnapshotPlace, SourceRow, StarRow,
};
pub use self::explain_changes::ChangeRow;
pub use self::key::InvalidKey;
pub use self::verify::{Difference, TargetReport, Verdict, Verified, Verify};

use crate::lake::LakeError;
use crate::pipeline::PipelineError;
use crate::warehouse::WarehouseError;

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The lake cannot be read.
    #[error("lake: {0}")]
    Lake(#[from] LakeError),
    /// ClickHouse cannot be read.
    #[error("warehouse: {0}")]
    Warehouse(#[from] WarehouseError),
    /// The modules cannot be loaded.
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    /// The events of a table do not fit together: the lake is damaged.
    #[error("fold the lake's events of {table}: {source}")]
    Fold {
        /// The table.
        table: dabi_core::table::SourceTable,
        /// What is wrong.
        source: dabi_core::fold::FoldError,
    },
    /// What a transform makes of its tables cannot be computed.
    #[error("transform {transform}: {source}")]
    Recompute {
        /// Its name.
        transform: String,
        /// Why.
        source: dabi_core::recompute::RecomputeError,
    },
    /// Rows cannot be compared: a defect of dabi.
    #[error("compare rows of {table}: {source}")]
    Compare {
        /// The table.
        table: String,
        /// Arrow's words.
        source: arrow::error::ArrowError,
    },
    /// No epoch was ever recorded.
    #[error(
        "the warehouse does not know pipeline {0}: let dabi run first, and check `pipeline` and [warehouse] in the \
         settings"
    )]
    UnknownPipeline(String),
    /// No target of that name.
    #[error("there is no target {name}; there are {}", known.join(", "))]
    UnknownTarget {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A key that is none of the target's.
    #[error(transparent)]
    Key(#[from] InvalidKey),
    /// The lake does not have what the star has.
    #[error(
        "the lake has not come as far as the star within {0} s; it commits at least every \
         limits.lake.flush_age_ms: is dabi waiting for the object store?"
    )]
    LakeBehind(u64),
}
