//! The shop: rows, randomness and the database's log in one.
//!
//! Owns the order of things: what happens next is asked of `workload`, given a
//! place in the log, applied, and handed out.
//!
//! Invariant: places in the log ascend and commit times never fall, so that the
//! rows which a truncate removes are exactly those written before it.

use fastrand::Rng;

use crate::history::History;
use crate::table::Table;
use crate::tables::{Ids, Tables};
use crate::transaction::{Change, Lsn, Micros, Transaction, TransactionId};
use crate::workload::Scene;

/// How large the shop is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Users at the opening. They may at most double.
    pub users: usize,
    /// Products at the opening. They may at most double.
    pub products: usize,
    /// Orders that were made before the opening.
    pub orders: usize,
    /// Orders that may be there; beyond these the oldest go to an archive.
    pub orders_max: usize,
    /// Tables of which every version is kept that a row ever had. It has no bound.
    pub history: &'static [Table],
}

impl Default for Settings {
    /// A shop that opens with about 12,000 rows and stays below 150,000.
    fn default() -> Self {
        Self { users: 2_000, products: 3_000, orders: 1_200, orders_max: 20_000, history: &[] }
    }
}

impl Settings {
    pub(crate) fn users_max(&self) -> usize {
        self.users.max(1).saturating_mul(2)
    }

    pub(crate) fn products_max(&self) -> usize {
        self.products.max(1).saturating_mul(2)
    }
}

/// Where the log begins; any place will do.
const FIRST_LSN: u64 = 95_702_592;
const FIRST_TRANSACTION: u32 = 8_733;
/// Bytes that a change and a commit take in the log.
const CHANGE_BYTES: u64 = 152;
const COMMIT_BYTES: u64 = 48;

/// The shop.
#[derive(Debug)]
pub struct Shop {
    settings: Settings,
    rng: Rng,
    tables: Tables,
    ids: Ids,
    log: Log,
    history: History,
}

/// The end of the database's log.
#[derive(Clone, Copy, Debug)]
struct Log {
    end: Lsn,
    transaction: TransactionId,
    time: Micros,
}

impl Shop {
    /// A shop with empty tables.
    #[must_use]
    pub fn new(seed: u64, settings: Settings) -> Self {
        Self::with_tables(seed, settings, Tables::default(), Ids::default())
    }

    /// A shop that goes on with the rows of a database, giving ids above `ids`.
    #[must_use]
    pub fn with_tables(seed: u64, settings: Settings, tables: Tables, ids: Ids) -> Self {
        // After a restart the same seed must not make the same choices again.
        let rng = Rng::with_seed(seed.wrapping_add(ids.order.0.unsigned_abs()));
        let log = Log {
            end: Lsn(FIRST_LSN),
            transaction: TransactionId(FIRST_TRANSACTION),
            time: Micros(i64::MIN),
        };
        let history = History::of(settings.history);
        Self { settings, rng, tables, ids, log, history }
    }

    /// Fills the tables, as one transaction; for a shop whose tables are empty.
    pub fn open(&mut self, now: Micros) -> Transaction {
        let rows = self.scene(now).opening();
        self.commit(now, true, rows.into_iter().map(Change::Insert).collect())
    }

    /// Lets the next thing happen.
    pub fn transact(&mut self, now: Micros) -> Transaction {
        let now = now.max(self.log.time);
        let changes = self.scene(now).next();
        self.commit(now, false, changes)
    }

    /// Empties `table` and those that refer to it.
    pub fn truncate(&mut self, table: Table, now: Micros) -> Transaction {
        let changes = table.with_referrers().into_iter().map(Change::Truncate).collect();
        self.commit(now, false, changes)
    }

    /// The rows as they are now.
    #[must_use]
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The ids given last.
    #[must_use]
    pub fn ids(&self) -> Ids {
        self.ids
    }

    /// Every version of every row of the tables that the settings name.
    #[must_use]
    pub fn history(&self) -> &History {
        &self.history
    }

    /// Does it keep every version of the rows of `tables`?
    pub(crate) fn keeps(&self, tables: &[Table]) -> bool {
        tables.iter().all(|table| self.settings.history.contains(table))
    }

    fn scene(&mut self, now: Micros) -> Scene<'_> {
        Scene { tables: &self.tables, settings: &self.settings, ids: &mut self.ids, rng: &mut self.rng, now }
    }

    fn commit(&mut self, now: Micros, snapshot: bool, changes: Vec<Change>) -> Transaction {
        let begins = self.log.end;
        let mut lsn = begins;
        let mut placed = Vec::with_capacity(changes.len());
        for change in changes {
            placed.push((lsn, change));
            // What a snapshot reads has one place, that of the snapshot.
            if !snapshot {
                lsn.0 += CHANGE_BYTES;
            }
        }
        self.log = Log {
            end: Lsn(lsn.0 + COMMIT_BYTES),
            transaction: TransactionId(self.log.transaction.0.wrapping_add(1)),
            time: now.max(self.log.time),
        };
        let transaction = Transaction {
            id: self.log.transaction,
            committed: self.log.time,
            begins,
            ends: self.log.end,
            snapshot,
            changes: placed,
        };
        for (lsn, change) in &transaction.changes {
            self.history.record(&transaction, *lsn, change, &self.tables);
            self.tables.apply(change);
        }
        transaction
    }
}

#[cfg(test)]
mod tests;
