//! The shop through the neighbours' own eyes: its events through dabi's decoder
//! and fold, its SQL in a real PostgreSQL.

mod postgres;
mod sql;
mod wire;
