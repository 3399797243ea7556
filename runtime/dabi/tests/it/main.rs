//! The integration tests of dabi: one binary, on real neighbours.
//!
//! `make setup-tests` fetches the servers, `make test` says where they are. A
//! test whose server is missing fails; it is never skipped.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod calendar;
mod capture;
mod captures;
mod chain;
mod demo;
mod deploy;
mod dev;
mod lake;
mod operator;
mod page;
mod real_kafka;
mod reload;
mod shop;
mod source;
mod stack;
mod support;
mod survival;
mod transform;
mod warehouse;
