//! dabi's pure core: what change events mean, with no I/O, clock, randomness
//! or logging. Time is an argument; effects are returned as data.
//!
//! Data flows one way: `debezium` (bytes → [`change`] batches) → `reading`
//! (wire types → declared types) → `star` (transform output → rows with
//! versions); `fold` is the one definition of "the source tables at a
//! position".

pub mod calendar;
pub mod change;
pub mod data_type;
pub mod dead_letter;
pub mod debezium;
pub mod engine;
pub mod fold;
pub mod manifest;
pub mod policy;
pub mod position;
pub mod preflight;
pub mod reading;
pub mod recompute;
pub mod resume;
pub mod row_json;
pub mod spec;
pub mod star;
pub mod table;
pub mod version;
