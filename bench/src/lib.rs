//! What the benchmarks share: a synthetic source table, dimensions that it refers
//! to, and their change events.
//!
//! Owns the workload (which row changes when) and how it looks on the wire.
//! Does not own the producer (`bin/generate.rs`) or what is measured
//! (`bin/bench`).
//!
//! Invariant: the same seed gives the same changes in the same order in every
//! partition; only times differ, which count from the moment given.

mod envelope;
mod order_item;
mod workload;

pub use envelope::{DimensionRow, Envelope, Stamp};
pub use order_item::{Key, OrderItem};
pub use workload::{Change, Op, PARTITIONS, Shard};
