//! The embedded ClickHouse: where its library comes from, and the helper
//! process that it runs in.
//!
//! Owns the library's place in the cache and the helper's life. Does not own
//! what is asked of it: from here on it is a URL like any other.

mod install;
mod process;
mod supervisor;

pub use install::{InstallError, Step, VERSION, find, install};
pub use supervisor::{EmbeddedClickHouse, EmbeddedError};
