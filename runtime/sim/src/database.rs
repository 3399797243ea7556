//! The source database: what its tables hold, and the log of how it came to it.
//!
//! Owns the random transactions. Does not own how a change is written (`wire`)
//! or when it is sent (`kafka`). The tables are what the star is compared with,
//! so they are plain maps that know nothing of events.

use std::collections::BTreeMap;

use fastrand::Rng;

use crate::schema::Schema;
use crate::transforms::POISON;

/// A primary key: `id`, and `sub` in tables that have it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) id: i64,
    pub(crate) sub: Option<String>,
}

impl Key {
    /// As a dead letter names it.
    pub(crate) fn shown(&self) -> String {
        self.sub.as_ref().map_or(self.id.to_string(), |sub| format!("{}, {sub}", self.id))
    }
}

/// The columns beside the key. Foreign keys may dangle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) v: Option<i64>,
    pub(crate) big: Option<String>,
    /// µs since 1970.
    pub(crate) at_us: Option<i64>,
    pub(crate) references: Vec<Option<Key>>,
}

/// The rows of one table.
pub(crate) type Rows = BTreeMap<Key, Row>;

/// What became of each key: a row, or none, after each commit time that touched it.
pub(crate) type History = BTreeMap<Key, Vec<(i64, Option<Row>)>>;

/// What happened to a row, or to a table.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    Create(Key, Row),
    Update {
        key: Key,
        row: Row,
        big_unsent: bool,
    },
    Delete(Key),
    /// The delete half of a key change.
    Leave {
        key: Key,
        to: Key,
    },
    /// The create half.
    Arrive {
        key: Key,
        from: Key,
        row: Row,
        big_unsent: bool,
    },
    Truncate,
}

/// One entry of the log.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) table: usize,
    pub(crate) act: Act,
    /// Commit time, µs.
    pub(crate) ts_us: i64,
    pub(crate) lsn: i64,
    pub(crate) tx: i64,
}

/// The database.
pub(crate) struct Database {
    schema: Schema,
    pub(crate) tables: Vec<Rows>,
    pub(crate) histories: Vec<History>,
    pub(crate) log: Vec<Change>,
    lsn: i64,
    tx: i64,
}

const FIRST_TS_US: i64 = 1_760_000_000_000_000;
const TICK_US: i64 = 1_000;

impl Database {
    pub(crate) fn new(schema: &Schema) -> Self {
        let tables = vec![Rows::new(); schema.tables.len()];
        let histories = vec![History::new(); schema.tables.len()];
        Self { schema: schema.clone(), tables, histories, log: Vec::new(), lsn: 100, tx: 0 }
    }

    /// Commits a random transaction.
    pub(crate) fn transact(&mut self, rng: &mut Rng) {
        self.tx += 1;
        // Without LSNs only commit times and keys tell changes apart, so a transaction has one.
        let acts = if self.schema.has_lsn { rng.usize(1..=4) } else { 1 };
        for _ in 0..acts {
            let table = rng.usize(0..self.tables.len());
            match rng.u8(0..30) {
                0 => self.truncate(table),
                1..=4 => self.delete(table, rng),
                5..=8 => self.change_key(table, rng),
                9..=17 => self.update(table, rng),
                _ => self.put(table, rng),
            }
        }
    }

    fn put(&mut self, table: usize, rng: &mut Rng) {
        let key = self.random_key(table, rng);
        let row = self.random_row(table, rng);
        let before = self.tables[table].insert(key.clone(), row.clone());
        let act = match before {
            None => Act::Create(key, row),
            Some(_) => Act::Update { key, row, big_unsent: false },
        };
        self.write(table, act);
    }

    /// Changes a row, but for its `big`.
    fn update(&mut self, table: usize, rng: &mut Rng) {
        let Some(key) = self.existing_key(table, rng) else { return };
        let drawn = self.random_row(table, rng);
        let row = self.tables[table].get_mut(&key).expect("an existing key");
        (row.v, row.at_us, row.references) = (drawn.v, drawn.at_us, drawn.references);
        let row = row.clone();
        let big_unsent = self.leaves_out(table, &row);
        self.write(table, Act::Update { key, row, big_unsent });
    }

    fn delete(&mut self, table: usize, rng: &mut Rng) {
        let Some(key) = self.existing_key(table, rng) else { return };
        self.tables[table].remove(&key);
        self.write(table, Act::Delete(key));
    }

    fn change_key(&mut self, table: usize, rng: &mut Rng) {
        let Some(from) = self.existing_key(table, rng) else { return };
        let key = self.random_key(table, rng);
        if self.tables[table].contains_key(&key) {
            return;
        }
        let row = self.tables[table].remove(&from).expect("an existing key");
        self.tables[table].insert(key.clone(), row.clone());
        let big_unsent = self.leaves_out(table, &row);
        self.write(table, Act::Leave { key: from.clone(), to: key.clone() });
        // Both halves carry one LSN: that of the update.
        self.lsn -= 10;
        self.write(table, Act::Arrive { key, from, row, big_unsent });
    }

    fn truncate(&mut self, table: usize) {
        self.tables[table].clear();
        self.write(table, Act::Truncate);
    }

    /// Only a value is stored out of line; a null is sent.
    fn leaves_out(&self, table: usize, row: &Row) -> bool {
        self.schema.tables[table].leaves_out && row.big.is_some()
    }

    fn write(&mut self, table: usize, act: Act) {
        self.lsn += 10;
        // Several transactions commit within a tick of the clock, where LSNs tell them apart.
        let tick = if self.schema.has_lsn { self.tx / 3 } else { self.tx };
        let ts_us = FIRST_TS_US + tick * TICK_US;
        self.remember(table, &act, ts_us);
        self.log.push(Change { table, act, ts_us, lsn: self.lsn, tx: self.tx });
    }

    fn remember(&mut self, table: usize, act: &Act, ts_us: i64) {
        let history = &mut self.histories[table];
        let touched = match act {
            Act::Create(key, row) | Act::Update { key, row, .. } | Act::Arrive { key, row, .. } => {
                vec![(key.clone(), Some(row.clone()))]
            }
            Act::Delete(key) | Act::Leave { key, .. } => vec![(key.clone(), None)],
            Act::Truncate => history.keys().map(|key| (key.clone(), None)).collect(),
        };
        for (key, row) in touched {
            let of_key = history.entry(key).or_default();
            // Of one commit time the last stands.
            of_key.retain(|(at, _)| *at != ts_us);
            of_key.push((ts_us, row));
        }
    }

    fn existing_key(&self, table: usize, rng: &mut Rng) -> Option<Key> {
        let rows = &self.tables[table];
        (!rows.is_empty()).then(|| rows.keys().nth(rng.usize(0..rows.len())).expect("in range").clone())
    }

    fn random_key(&self, table: usize, rng: &mut Rng) -> Key {
        let sub = ["a", "b"][rng.usize(0..2)];
        let composite = self.schema.tables[table].composite;
        Key { id: rng.i64(0..5), sub: composite.then(|| sub.to_owned()) }
    }

    fn random_row(&self, table: usize, rng: &mut Rng) -> Row {
        let references = &self.schema.tables[table].references;
        let is_refused = rng.u8(0..self.schema.refused_one_in) == 0;
        let v = if is_refused { POISON } else { rng.i64(-1..POISON) };
        Row {
            v: (rng.u8(0..10) > 0).then_some(v),
            at_us: (rng.u8(0..10) > 0).then(|| FIRST_TS_US + rng.i64(-2..40) * TICK_US),
            big: (rng.u8(0..10) > 1).then(|| ["x", "y", "zz"][rng.usize(0..3)].to_owned()),
            references: references
                .iter()
                .map(|to| (rng.u8(0..20) > 2).then(|| self.random_key(*to, rng)))
                .collect(),
        }
    }
}
