//! The core on the real captures.

mod fold;
mod reading;
mod support;
