//! The command line.

pub mod lake;
