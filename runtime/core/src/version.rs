//! The version of a star row: a term and an epoch, never a clock.
//!
//! Invariant: of two writers the one with the higher term wins, and within a
//! term the later epoch, so `ReplacingMergeTree(_version)` keeps the row that
//! the current owner wrote last.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The fence: claimed at start, one higher than any before. 24 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(pub u32);

/// The number of a micro-batch within a term, from 1. 40 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

impl Term {
    /// The highest term that a version can hold.
    pub const MAX: Self = Self((1 << 24) - 1);
}

impl Epoch {
    /// The highest epoch that a version can hold: 10 a second for 3,400 years.
    pub const MAX: Self = Self((1 << 40) - 1);

    /// The epoch that follows this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What stands in `_version`: term (24 bits) ‖ epoch (40 bits).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// The version of everything that `epoch` of `term` writes.
    ///
    /// # Panics
    /// If either is above its `MAX`: both are counters that a pipeline starts
    /// at 1, so this is a bug and not an input.
    #[must_use]
    pub fn new(term: Term, epoch: Epoch) -> Self {
        assert!(term <= Term::MAX && epoch <= Epoch::MAX, "version counters exhausted");
        Self(u64::from(term.0) << 40 | epoch.0)
    }

    /// The term in it.
    #[must_use]
    pub fn term(self) -> Term {
        Term(u32::try_from(self.0 >> 40).expect("24 bits are left"))
    }

    /// The epoch in it.
    #[must_use]
    pub fn epoch(self) -> Epoch {
        Epoch(self.0 & Epoch::MAX.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_term_outranks_every_epoch_of_a_lower_one() {
        let last_of_old = Version::new(Term(6), Epoch::MAX);
        let first_of_new = Version::new(Term(7), Epoch(1));
        assert!(first_of_new > last_of_old);
        assert_eq!((last_of_old.term(), last_of_old.epoch()), (Term(6), Epoch::MAX));
    }
}
