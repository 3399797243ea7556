//! The command line.

pub mod broker;
pub mod capture;
pub mod lake;
pub mod setup;
