//! The helper as its clients see it: the real binary, the real library.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

mod clients;
mod crash;
mod helper;
mod insert;
mod protocol;
mod select;
mod session;
