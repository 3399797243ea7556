//! The fold: what "the source tables at a position" means.
