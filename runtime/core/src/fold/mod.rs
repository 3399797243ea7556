//! The fold: what "the source tables at a position" means.

mod truncate;

pub use truncate::Truncate;
