//! ClickHouse: what the protocol rests on, and no more.
//!
//! Owns ReplacingMergeTree's rule (per sorting key the highest version, of equal
//! ones the latest), views over generations, `_dabi_epochs`, dead letters. Rows
//! are kept as text.
//!
//! Invariant checked: rows that are sent again are the same, and nothing that
//! the newest owner writes is outranked by what stands.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType, UInt8Type, UInt64Type};
use dabi_core::fold::Truncate;
use dabi_core::resume::EpochRecord;
use dabi_core::spec::Target;
use dabi_core::star::{DELETED, LSN, TS, TargetTable, VERSION};
use dabi_core::version::{Term, Version};

use crate::expected::View;
use crate::transforms::texts;

/// A row of a physical table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    version: Version,
    /// Was it written by a truncate? The rows of the same epoch follow it.
    by_truncate: bool,
    /// `None` for a tombstone.
    row: Option<Vec<String>>,
    lsn: Option<i64>,
    ts_us: Option<i64>,
}

#[derive(Debug, Default)]
struct Table {
    sorted_by: Vec<String>,
    rows: BTreeMap<Vec<String>, Stored>,
}

/// The warehouse.
#[derive(Default)]
pub(crate) struct Warehouse {
    /// By physical name.
    tables: BTreeMap<String, Table>,
    /// The generation that each view shows.
    views: BTreeMap<String, u32>,
    pub(crate) epochs: Vec<EpochRecord>,
    /// Open dead letters with a source key: transform and key.
    pub(crate) letters: BTreeSet<(String, String)>,
    /// What must never happen, and has.
    pub(crate) broken: Option<String>,
}

/// There is no such table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no table {0}")]
pub(crate) struct UnknownTable(pub(crate) String);

/// The generations of some targets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Generations {
    pub(crate) shown: Option<u32>,
    pub(crate) highest: Option<u32>,
    pub(crate) tables: Vec<String>,
}

impl Warehouse {
    pub(crate) fn ensure_table(&mut self, target: &Target, table: &TargetTable) {
        let order: Vec<String> = target.order_columns().map(str::to_owned).collect();
        let sorted_by = if order.is_empty() { target.key.clone() } else { order };
        self.tables.entry(table.physical_name()).or_insert_with(|| Table { sorted_by, ..Table::default() });
    }

    pub(crate) fn show(&mut self, view: &str, generation: u32) {
        self.views.insert(view.to_owned(), generation);
    }

    pub(crate) fn drop_table(&mut self, physical: &str) {
        self.tables.remove(physical);
    }

    pub(crate) fn generations<'a>(&self, views: impl Iterator<Item = &'a str>) -> Generations {
        let mut all = Generations::default();
        for view in views {
            let prefix = format!("{view}__g");
            all.shown = all.shown.max(self.views.get(view).copied());
            for name in self.tables.keys().filter(|name| name.starts_with(&prefix)) {
                all.highest = all.highest.max(name[prefix.len()..].parse().ok());
                all.tables.push(name.clone());
            }
        }
        all
    }

    /// The last epoch recorded.
    pub(crate) fn last_epoch(&self) -> Option<EpochRecord> {
        self.epochs.iter().max_by_key(|record| (record.term, record.epoch)).cloned()
    }

    /// Inserts `batches`. `newest` is the term of a writer that nobody has
    /// outdone, if this is one and these rows are its own.
    pub(crate) fn insert(
        &mut self,
        physical: &str,
        batches: &[RecordBatch],
        newest: Option<Term>,
    ) -> Result<(), UnknownTable> {
        let table = self.tables.get_mut(physical).ok_or_else(|| UnknownTable(physical.to_owned()))?;
        for batch in batches {
            if let Err(broken) = table.insert(batch, newest) {
                self.broken.get_or_insert(format!("{physical}: {broken}"));
            }
        }
        Ok(())
    }

    /// A tombstone of `version` for every live row that `truncate` covers.
    pub(crate) fn truncate(
        &mut self,
        physical: &str,
        truncate: Truncate,
        version: Version,
    ) -> Result<(), UnknownTable> {
        let table = self.tables.get_mut(physical).ok_or_else(|| UnknownTable(physical.to_owned()))?;
        for stored in table.rows.values_mut() {
            if stored.row.is_some() && truncate.covers(stored.lsn, stored.ts_us) && version >= stored.version
            {
                *stored = Stored { version, by_truncate: true, row: None, ..stored.clone() };
            }
        }
        Ok(())
    }

    /// What a reader of `view` sees.
    pub(crate) fn view(&self, view: &str) -> View {
        let shown =
            self.views.get(view).and_then(|generation| self.tables.get(&format!("{view}__g{generation}")));
        let rows = shown.into_iter().flat_map(|table| table.rows.values());
        rows.filter_map(|stored| stored.row.clone()).collect()
    }
}

impl Table {
    fn insert(&mut self, batch: &RecordBatch, newest: Option<Term>) -> Result<(), String> {
        let column = |name: &str| batch.column_by_name(name).expect("every insert has it");
        let (versions, deleted) =
            (column(VERSION).as_primitive::<UInt64Type>(), column(DELETED).as_primitive::<UInt8Type>());
        let (lsns, times) =
            (column(LSN).as_primitive::<Int64Type>(), column(TS).as_primitive::<TimestampMicrosecondType>());
        let key: Vec<_> = self.sorted_by.iter().map(|name| column(name).clone()).collect();
        let visible = &batch.columns()[..batch.num_columns() - 4];
        for row in 0..batch.num_rows() {
            let key = texts(&key, row);
            let stored = Stored {
                version: Version(versions.value(row)),
                by_truncate: false,
                row: (deleted.value(row) == 0).then(|| texts(visible, row)),
                lsn: lsns.is_valid(row).then(|| lsns.value(row)),
                ts_us: times.is_valid(row).then(|| times.value(row)),
            };
            match self.rows.get(&key) {
                Some(known) if known.version > stored.version => {
                    if newest == Some(stored.version.term()) {
                        return Err(format!("{stored:?} of {key:?} is outranked by {known:?}"));
                    }
                }
                Some(known)
                    if known.version == stored.version && !known.by_truncate && known.row != stored.row =>
                {
                    return Err(format!("{key:?} has two rows of one version: {known:?}, {stored:?}"));
                }
                _ => drop(self.rows.insert(key, stored)),
            }
        }
        Ok(())
    }
}
