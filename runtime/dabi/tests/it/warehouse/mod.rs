//! The warehouse on the real engine.

mod embedded;
