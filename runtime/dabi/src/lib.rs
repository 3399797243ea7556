//! dabi: change events in, a ClickHouse star schema out.
//!
//! The shell around `dabi-core`. One neighbour per folder, and only that
//! folder uses its crate.

pub mod audit;
pub mod broker;
pub mod build;
pub mod capture;
pub mod cli;
mod compute;
pub mod config;
pub mod demo;
pub mod failpoint;
pub mod lake;
pub mod overview;
pub mod pipeline;
pub mod preflight;
pub mod source;
pub mod state;
pub mod telemetry;
pub mod transform;
pub mod warehouse;
pub mod watch;
pub mod web;
