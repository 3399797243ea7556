//! The overview: what a person sees of a running pipeline, one truth for the
//! page and the terminal.
//!
//! Owns the snapshot and how it is computed once a second: rates, latencies and
//! their recent history from what the pipeline counts, and what only ClickHouse
//! knows, asked of it cheaply. Does not own what is counted (`telemetry`,
//! `pipeline`) or how it is shown (`web`, `cli`).
//!
//! Invariant: what is not known is absent, never zero; what was asked some time
//! ago says when.

mod history;
mod onlooker;
mod sampler;
mod snapshot;

pub use self::sampler::Sampler;
pub use self::snapshot::{
    About, DeadLetters, LakeState, LatencyPair, Overview, Quantiles, RowCount, Run, Sample, TargetState,
};
