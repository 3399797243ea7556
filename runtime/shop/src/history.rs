//! Every version that a row ever had, in the order of the log.
//!
//! Grows without end: it is for tests and short runs, and kept on request only.

use crate::row::Row;
use crate::tables::Tables;
use crate::transaction::{Change, Lsn, Micros, Transaction, TransactionId};

/// What a key held from a commit on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// When it was committed.
    pub committed: Micros,
    /// Its place in the log.
    pub lsn: Lsn,
    /// By which transaction.
    pub transaction: TransactionId,
    /// The row; the last that the key had, if it is gone.
    pub row: Row,
    /// Is the row there from then on?
    pub exists: bool,
}

/// All versions of all rows.
#[derive(Clone, Debug, Default)]
pub struct History {
    versions: Vec<Version>,
}

impl History {
    /// The versions in the order of the log.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Records what `change` does to `tables`, which do not have it yet.
    pub(crate) fn record(&mut self, transaction: &Transaction, lsn: Lsn, change: &Change, tables: &Tables) {
        let Transaction { id, committed, .. } = *transaction;
        let mut push =
            |row, exists| self.versions.push(Version { committed, lsn, transaction: id, row, exists });
        match change {
            Change::Insert(row) => push(row.clone(), true),
            Change::Update { before, after } => {
                if change.moves() {
                    push(before.clone(), false);
                }
                push(after.clone(), true);
            }
            Change::Delete(row) => push(row.clone(), false),
            Change::Truncate(table) => tables.rows(*table).into_iter().for_each(|row| push(row, false)),
        }
    }
}
