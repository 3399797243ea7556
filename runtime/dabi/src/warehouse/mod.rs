//! The warehouse: ClickHouse over HTTP.
//!
//! Owns the connection, how statements and rows are sent, what is retried, and
//! dabi's own tables (`_dabi_epochs`, `_dead_letters`). Does not own which rows
//! or statements there are (`dabi_core::star`, `pipeline`).
//!
//! Invariant: what is retried is sent again byte for byte, under the same
//! deduplication token, until ClickHouse says that it is stored.

mod client;
mod dead_letters;
pub mod embedded;
mod epochs;
mod error;
mod insert;
mod parts;
mod retry;
mod rows;
mod settings;
mod targets;

pub use client::Warehouse;
pub use dabi_core::resume::EpochRecord;
pub use dead_letters::{
    ClearedLetterRow, DeadLetterRow, LetterFilter, LetterScope, OpenLetter, StoredDeadLetter, WholeDeadLetter,
};
pub use error::WarehouseError;
pub use insert::EncodedRows;
pub use rows::StoredRows;
pub use settings::WarehouseSettings;
pub use targets::Generations;

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
