//! Transactions: what was committed together.

use crate::row::Row;
use crate::table::Table;

/// A time: microseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Micros(pub i64);

/// A place in the database's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(pub u64);

/// The database's number of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u32);

/// What was committed together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// Its number.
    pub id: TransactionId,
    /// When it was committed.
    pub committed: Micros,
    /// Where the transaction before it ends in the log.
    pub begins: Lsn,
    /// Where it ends.
    pub ends: Lsn,
    /// Is it the snapshot that a connector reads when it first starts, rather
    /// than something that happened?
    pub snapshot: bool,
    /// What changed, in order, with its place in the log; places ascend.
    pub changes: Vec<(Lsn, Change)>,
}

/// What happened to a row, or to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new row.
    Insert(Row),
    /// A row that changed, and perhaps moved to another key.
    Update {
        /// As it was.
        before: Row,
        /// As it is.
        after: Row,
    },
    /// A row that went.
    Delete(Row),
    /// A table was emptied. The tables that refer to it are emptied in the same
    /// transaction, each as a change of its own.
    Truncate(Table),
}

impl Change {
    /// The table.
    #[must_use]
    pub fn table(&self) -> Table {
        match self {
            Self::Insert(row) | Self::Update { after: row, .. } | Self::Delete(row) => row.table(),
            Self::Truncate(table) => *table,
        }
    }

    /// Is it an update that moves the row to another key? Debezium sends two
    /// events for it.
    #[must_use]
    pub fn moves(&self) -> bool {
        matches!(self, Self::Update { before, after } if before.key() != after.key())
    }

    /// How many change events it makes; a tombstone is none.
    #[must_use]
    pub fn events(&self) -> u64 {
        if self.moves() { 2 } else { 1 }
    }
}

impl Transaction {
    /// How many change events it makes.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.changes.iter().map(|(_, change)| change.events()).sum()
    }
}
