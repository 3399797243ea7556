//! Random source schemas: tables with keys, foreign keys and a wide column.

use std::sync::Arc;

use dabi_core::position::Topic;
use dabi_core::table::SourceTable;
use fastrand::Rng;

/// What the source database looks like, and how its connector sends it.
#[derive(Clone, Debug)]
pub(crate) struct Schema {
    pub(crate) tables: Vec<Table>,
    /// Are log sequence numbers sent? Without, commit times order everything.
    pub(crate) has_lsn: bool,
    /// One row in so many holds what every transform refuses.
    pub(crate) refused_one_in: u8,
    /// Do records carry their Connect schema,
    pub(crate) has_schemas_first: bool,
    /// until with this transaction the converter's settings change?
    pub(crate) converter_changes: i64,
}

/// A table `t<number>` with the columns `id`, `sub` (if composite), `v`, `big`,
/// `at` and for each reference `r<place>` (and `r<place>_sub`).
#[derive(Clone, Debug)]
pub(crate) struct Table {
    pub(crate) number: usize,
    /// Is `sub` part of the key?
    pub(crate) composite: bool,
    /// The table that each foreign key refers to; may be the table itself.
    pub(crate) references: Vec<usize>,
    /// Is `big` left out of updates that do not change it (TOAST)?
    pub(crate) leaves_out: bool,
    /// Partitions of its topic.
    pub(crate) partitions: usize,
}

impl Schema {
    pub(crate) fn random(rng: &mut Rng) -> Self {
        let count = rng.usize(2..=5);
        let tables = (0..count).map(|number| Table {
            number,
            composite: rng.u8(0..10) < 3,
            references: (0..rng.usize(0..=2)).map(|_| rng.usize(0..count)).collect(),
            leaves_out: rng.bool(),
            partitions: rng.usize(1..=3),
        });
        let tables = tables.collect();
        // Mostly never.
        let converter_changes = [0, rng.i64(0..100), i64::MAX][rng.usize(0..3)];
        let has_schemas_first = rng.bool();
        // Where versions are kept, a row that was refused is for good.
        let refused_one_in = [6, 40][rng.usize(0..2)];
        Self { tables, has_lsn: rng.u8(0..10) < 7, refused_one_in, converter_changes, has_schemas_first }
    }

    /// Does a record of this transaction carry its Connect schema?
    pub(crate) fn has_schemas(&self, tx: i64) -> bool {
        (tx < self.converter_changes) == self.has_schemas_first
    }
}

impl Table {
    pub(crate) fn name(&self) -> SourceTable {
        source_table(self.number)
    }

    pub(crate) fn topic(&self) -> Topic {
        Arc::from(format!("cdc.shop.t{}", self.number))
    }

    /// The names of its key's columns.
    pub(crate) fn key(&self) -> Vec<&'static str> {
        if self.composite { vec!["id", "sub"] } else { vec!["id"] }
    }
}

pub(crate) fn source_table(number: usize) -> SourceTable {
    SourceTable::new("shop", format!("t{number}"))
}
