//! Every version that a row ever had, in the order of the log.
//!
//! Grows without end, so it is kept of those tables only that are asked for.

use crate::row::Row;
use crate::table::Table;
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

/// All versions of all rows of some tables.
#[derive(Clone, Debug)]
pub struct History {
    of: &'static [Table],
    versions: Vec<Version>,
}

impl History {
    pub(crate) fn of(tables: &'static [Table]) -> Self {
        Self { of: tables, versions: Vec::new() }
    }

    /// The versions in the order of the log.
    #[must_use]
    pub fn versions(&self) -> &[Version] {
        &self.versions
    }

    /// Records what `change` does to `tables`, which do not have it yet.
    pub(crate) fn record(&mut self, transaction: &Transaction, lsn: Lsn, change: &Change, tables: &Tables) {
        if !self.of.contains(&change.table()) {
            return;
        }
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
