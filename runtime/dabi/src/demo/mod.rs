//! The demo's own part: the shop that sells, and the judge who compares.
//!
//! Owns when the shop does something and how its records reach Kafka, and the
//! comparison of its rows with the star. Does not own the shop (`dabi-shop`),
//! nor the pipeline between the two, which knows nothing of either.

mod judge;
mod seller;

pub use judge::{TargetVerdict, judge};
pub use seller::{Seller, Sold};
