//! Looking at a source before anything runs: its first events, and its connector.
//!
//! Owns where both come from, and how long is waited for them. Does not own the
//! judgement (`dabi_core::preflight`).
//!
//! Invariant: nothing is written, no position is moved, and of a connector's
//! settings only those that are judged are ever shown.

mod connect;
mod first_events;

pub use self::connect::{ConnectError, ConnectSettings, Connector, connectors};
pub use self::first_events::first_events;
