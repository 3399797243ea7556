//! What the stateful engine remembers, as a store sees it.
//!
//! Owns the shape of reads and commits. Does not own what the bytes mean (the
//! engine) or how they are kept (the implementations of [`State`] in the shell).
//!
//! Invariants: a commit is atomic, and its epoch is the one after the last
//! committed one of its term, or the first of a higher term; everything is read as
//! the last commit left it. Reads and writes come in batches, as columns.

#[cfg(any(test, feature = "testing"))]
pub mod testing;

use arrow::array::{BinaryArray, BooleanArray};

use crate::version::{Epoch, Term};

/// A collection of entries that belong together, for example the rows of one
/// source table. The engine numbers them; a store keeps numbers apart and
/// nothing more. A space holds either values or members, never both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Space(pub u16);

/// Entries of one space to write: a key set to a value, or removed where the
/// value is null. A key occurs once in a commit.
#[derive(Clone, Debug)]
pub struct Puts {
    /// Where.
    pub space: Space,
    /// The keys; none is null.
    pub keys: BinaryArray,
    /// Their values, as many.
    pub values: BinaryArray,
}

/// Members to add to, or remove from, groups of one space. To add one that is
/// there, or to remove one that is not, changes nothing; a pair of group and
/// member occurs once in a commit.
#[derive(Clone, Debug)]
pub struct Regroupings {
    /// Where.
    pub space: Space,
    /// The groups; none is null.
    pub groups: BinaryArray,
    /// The members, as many; none is null.
    pub members: BinaryArray,
    /// True where the member joins its group, false where it leaves.
    pub joins: BooleanArray,
}

/// Everything that one epoch changes, made durable whole or not at all.
#[derive(Clone, Debug)]
pub struct Commit {
    /// The owner's term.
    pub term: Term,
    /// The epoch.
    pub epoch: Epoch,
    /// Values.
    pub puts: Vec<Puts>,
    /// Members.
    pub regroupings: Vec<Regroupings>,
    /// The engine's small state, replaced whole: positions, truncates, open jobs.
    pub meta: Vec<u8>,
    /// Star rows on their way to the warehouse, kept until [`State::sent`]; empty
    /// if there are none.
    pub outbox: Vec<u8>,
}

/// Where a store stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Term of the last commit.
    pub term: Term,
    /// Epoch of the last commit.
    pub epoch: Epoch,
    /// Its [`Commit::meta`].
    pub meta: Vec<u8>,
}

/// The outbox, which is not empty, of an epoch that is not known to be in the
/// warehouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsent {
    /// Term of the epoch.
    pub term: Term,
    /// The epoch.
    pub epoch: Epoch,
    /// Its [`Commit::outbox`].
    pub outbox: Vec<u8>,
}

/// The members of several groups.
#[derive(Clone, Debug)]
pub struct Members {
    /// For each member, the position of its group among those asked for; ascending.
    pub groups: Vec<u32>,
    /// The members; ascending within a group.
    pub members: BinaryArray,
    /// Positions of groups that have more members than were given; ascending.
    pub cut: Vec<u32>,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateSize {
    /// Keys with a value; `None` where to count them would take a read for each write.
    pub entries: Option<u64>,
    /// Pairs of group and member; `None` as with entries.
    pub members: Option<u64>,
    /// Memory, bytes.
    pub memory_bytes: u64,
    /// Files, bytes.
    pub disk_bytes: u64,
}

/// A store that cannot go on. What it holds is a copy of what the lake says, so
/// the answer is to build it anew from there.
#[derive(Debug, thiserror::Error)]
#[error("state store: {action}: {cause}")]
pub struct StateError {
    /// What was being done ("commit epoch 17").
    pub action: String,
    /// Why it failed.
    pub cause: String,
}

/// A store of the engine's state.
pub trait State: Send + Sync {
    /// The value of each key, null where there is none.
    ///
    /// # Errors
    /// If the store is damaged or its disk fails.
    fn read(&self, space: Space, keys: &BinaryArray) -> Result<BinaryArray, StateError>;

    /// Up to `limit` members of each group.
    ///
    /// # Errors
    /// As [`State::read`].
    fn members(&self, space: Space, groups: &BinaryArray, limit: usize) -> Result<Members, StateError>;

    /// Up to `limit` members of one group, ascending, from the first that is
    /// greater than `after`.
    ///
    /// # Errors
    /// As [`State::read`].
    fn page(
        &self,
        space: Space,
        group: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<BinaryArray, StateError>;

    /// Up to `limit` keys of a space that have a value, from the first that
    /// follows `after`. The order is the store's own, and total over all keys
    /// that could be: it stays the same as long as the store lives, restarts
    /// included, and `after` need not be there any more. For work over a whole
    /// table, page by page while commits go on: a key that is there throughout
    /// is given exactly once, one that is put or removed meanwhile may be given
    /// or not.
    ///
    /// # Errors
    /// As [`State::read`].
    fn keys(&self, space: Space, after: Option<&[u8]>, limit: usize) -> Result<BinaryArray, StateError>;

    /// Makes an epoch durable.
    ///
    /// # Errors
    /// If it is not known to be durable; then the store takes no more commits.
    fn commit(&mut self, commit: &Commit) -> Result<(), StateError>;

    /// The warehouse has everything up to `epoch` of the term of the last commit
    /// and all of lower terms: their outboxes are dropped (lazily: after a crash
    /// some may come back).
    ///
    /// # Errors
    /// As [`State::read`].
    fn sent(&mut self, epoch: Epoch) -> Result<(), StateError>;

    /// The last commit; `None` for a new store.
    fn committed(&self) -> Option<Committed>;

    /// Outboxes not known to be sent, oldest first.
    ///
    /// # Errors
    /// As [`State::read`].
    fn unsent(&self) -> Result<Vec<Unsent>, StateError>;

    /// How much it holds.
    fn size(&self) -> StateSize;
}
