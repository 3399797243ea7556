//! The simulation: dabi under a seeded scheduler, among neighbours that fail.
//!
//! A seed makes a source schema, transforms, transactions, and everything that
//! goes wrong: processes that die at any moment, or sleep and wake up when another
//! has long taken over; requests that are refused, or lost, or done and not
//! answered, or arrive when their sender has given up on them or is dead; disks
//! that are lost, and old ones that come back; a connector that sends again what it
//! has sent; partitions that are read at different speeds; modules that change
//! between two starts. After each phase nothing fails any more. Then a process that
//! is to end once everything is read must do so within a bounded time, and the
//! star, the dead letters, what is held, and the lake must be what follows from the
//! source tables alone.
//!
//! # What is real, and what is not
//! Real: the pipeline as a whole (`dabi::pipeline`) and everything below it that is
//! not a neighbour: intake, decoders, epochs, lanes, both engines, start, rebuild,
//! dead letters, the isolation of rows that break a module; and the lake with its
//! Parquet files, manifests, checkpoints and terms.
//!
//! Simulated, behind the pipeline's ports (`dabi::pipeline::Neighbours`): Kafka
//! (`consumer`); the object store under the lake (`objects`); ClickHouse, as far as
//! the protocol rests on it (`warehouse`), statement by statement (`star`); the
//! state store (`disk`: the contract that `dabi`'s own crash tests prove of the real
//! ones); the modules (one native function, `transforms`).
//!
//! Among the transforms are those with and without row state, with lookups, several
//! rows of one source row, rows that several source rows give, versions (scd2) and
//! references to them, and those that keep every change.
//!
//! Not there: reloads while running, columns that come and go, snapshots and
//! flattened envelopes, partitions that are added, `dabi.calendar`, dead letters
//! that are tried again. `dabi`'s own tests have these, against real servers.
//!
//! A request for a table (CREATE, DROP, a view) never arrives after its sender has
//! given up on it and asked again: see `rebuild` in the pipeline for what that would
//! take.
//!
//! # Determinism
//! One thread, one generator, and a clock that stands still while there is work and
//! jumps when there is none: the scheduler is tokio's, and what interleaves is how
//! long each request takes. The same seed does the same, so a failure is a number.

mod changes;
mod check;
mod consumer;
mod database;
mod disk;
mod expected;
mod kafka;
mod network;
mod objects;
mod process;
mod run;
mod schema;
mod star;
mod transforms;
mod versions;
mod warehouse;
mod wire;
mod world;

pub use run::{Failure, Report, run};
