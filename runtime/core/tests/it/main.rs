//! The core on the real captures.

mod reading;
mod support;
