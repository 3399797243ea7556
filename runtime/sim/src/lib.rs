//! The simulation: dabi under a seeded scheduler, among neighbours that fail.
//!
//! A seed makes a source schema, transforms, transactions, and everything that
//! goes wrong: processes that die between any two requests, or sleep and wake up
//! when another has long taken over; requests that never arrive, or are done and
//! not answered; disks that are lost, and old ones that come back; a connector
//! that sends again what it has sent; partitions that are read at different
//! speeds; modules that change between two starts. After each phase it must come
//! to rest within a bounded number of steps, and then the star, the dead letters,
//! what is held, and the lake must be what follows from the source tables alone.
//!
//! # What is real, and what is not
//! Real: all of `dabi_core` that runs in production, from the bytes of Debezium's
//! JSON to rows with versions: decoder, fold, reading, both engines, manifests and
//! their account of offsets, where the star goes on after a start (`resume`).
//!
//! Mirrored: the order in which the shell asks its neighbours (`process`, `lanes`,
//! `star`, `stateless` stand for `dabi::pipeline`). It is kept as thin as it can
//! be, and every decision that is pure has been moved to the core; but a change of
//! that order in the shell must be made here, too. `dabi`'s own tests hold the
//! shell itself against real servers, kills and outages.
//!
//! Faked: Kafka, the object store (data files keep Arrow batches, not Parquet),
//! ClickHouse, the state store (the contract that `dabi`'s own crash tests prove of
//! the real ones), the modules (one native function).
//!
//! Not there: reloads while running, several wire schemas of a table, snapshots.
//!
//! Known and left out: an owner that falls asleep between its look at the fence
//! and its switch of the views, to wake up when another has taken over, switches
//! them back (here both are one request); and `_dead_letters` has no fence, so
//! what an old owner adds to it stays.
//!
//! # Determinism
//! One thread, one generator, no clock. The same seed does the same, so a failure
//! is a number.

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
mod warehouse;
mod wire;
mod world;

pub use run::{Failure, Report, run};
