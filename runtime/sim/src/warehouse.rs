//! ClickHouse: what the protocol rests on, and no more.
//!
//! Owns ReplacingMergeTree's rule (per sorting key the highest version, of equal
//! ones the latest), views over generations, `_dabi_epochs`, dead letters. Rows
//! are kept as text.
//!
//! Checks that rows which are sent again are the same, and that nothing which the
//! newest owner writes is outranked by what stands.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType, UInt8Type, UInt64Type};
use dabi_core::fold::Truncate;
use dabi_core::resume::EpochRecord;
use dabi_core::star::{DELETED, LSN, TS, TargetTable, VERSION};
use dabi_core::version::{Term, Version};

use dabi::warehouse::{Generations, LetterScope, OpenLetter};

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
    /// The physical table that each view shows.
    views: BTreeMap<String, String>,
    /// Inserts that are done.
    tokens: BTreeSet<String>,
    pub(crate) epochs: Vec<EpochRecord>,
    pub(crate) letters: Letters,
}

/// There is no such table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UnknownTable(pub(crate) String);

impl Warehouse {
    pub(crate) fn create(&mut self, table: &TargetTable) {
        let sorted_by = table.sorted_by().into_iter().map(str::to_owned).collect();
        self.tables.entry(table.physical_name()).or_insert_with(|| Table { sorted_by, ..Table::default() });
    }

    /// Shows a table; like ClickHouse, only one that is there.
    pub(crate) fn show(&mut self, table: &TargetTable) -> Result<(), UnknownTable> {
        let physical = table.physical_name();
        if !self.tables.contains_key(&physical) {
            return Err(UnknownTable(physical));
        }
        self.views.insert(table.view_name().to_owned(), physical);
        Ok(())
    }

    pub(crate) fn drop_table(&mut self, physical: &str) {
        self.tables.remove(physical);
    }

    pub(crate) fn generations(&self, view: &str) -> Generations {
        let prefix = format!("{view}__g");
        let number = |name: &String| name.strip_prefix(&prefix)?.parse().ok();
        let tables: Vec<String> =
            self.tables.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
        Generations {
            shown: self.views.get(view).and_then(number),
            highest: tables.iter().filter_map(number).max(),
            tables,
        }
    }

    /// The last epoch recorded.
    pub(crate) fn last_epoch(&self) -> Option<EpochRecord> {
        self.epochs.iter().max_by_key(|record| (record.term, record.epoch)).cloned()
    }

    /// Inserts `batches`. The inner error is a rule that is broken: that rows sent
    /// again are the same, and that nothing which the owner of the term `newest`
    /// writes is outranked.
    pub(crate) fn insert(
        &mut self,
        physical: &str,
        batches: &[RecordBatch],
        token: &str,
        newest: Term,
    ) -> Result<Result<(), String>, UnknownTable> {
        let table = self.tables.get_mut(physical).ok_or_else(|| UnknownTable(physical.to_owned()))?;
        // What comes again comes behind what was sent after it.
        let newest = self.tokens.insert(token.to_owned()).then_some(newest);
        Ok(batches.iter().try_for_each(|batch| table.insert(batch, newest)))
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

    pub(crate) fn highest_version(&self, physical: &str) -> Result<Version, UnknownTable> {
        let table = self.tables.get(physical).ok_or_else(|| UnknownTable(physical.to_owned()))?;
        Ok(table.rows.values().map(|stored| stored.version).max().unwrap_or_default())
    }

    /// What a reader of `view` sees.
    pub(crate) fn view(&self, view: &str) -> View {
        let shown = self.views.get(view).and_then(|physical| self.tables.get(physical));
        let rows = shown.into_iter().flat_map(|table| table.rows.values());
        rows.filter_map(|stored| stored.row.clone()).collect()
    }
}

/// `_dead_letters`.
#[derive(Default)]
pub(crate) struct Letters {
    /// The last word on each; `None`: it is no more.
    last: BTreeMap<Letter, (Version, Option<OpenLetter>)>,
    /// By transform, what counts, and which version says so.
    scopes: BTreeMap<String, (Version, LetterScope)>,
}

/// What a dead letter is known by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Letter {
    transform: String,
    generation: u32,
    id: String,
}

impl Letter {
    pub(crate) fn of(transform: &str, generation: u32, id: &str) -> Self {
        Self { transform: transform.to_owned(), generation, id: id.to_owned() }
    }
}

impl Letters {
    /// Raises and clears (`None`) letters.
    pub(crate) fn insert(&mut self, letters: &[(Letter, Option<OpenLetter>)], version: Version) {
        for (letter, open) in letters {
            let known = self.last.entry(letter.clone()).or_insert((version, None));
            if known.0 <= version {
                *known = (version, open.clone());
            }
        }
    }

    pub(crate) fn carry(&mut self, transforms: &[String], version: Version) {
        for transform in transforms {
            let older: Vec<(Letter, Option<OpenLetter>)> = self
                .counting(transform)
                .filter(|(_, known, _)| *known < version)
                .map(|(letter, _, open)| {
                    let generation = LetterScope::FIRST.generation;
                    (Letter { generation, ..letter.clone() }, Some(open.clone()))
                })
                .collect();
            self.insert(&older, version);
        }
    }

    pub(crate) fn scope(&mut self, transforms: &[String], scope: LetterScope, version: Version) {
        for transform in transforms {
            let known = self.scopes.entry(transform.clone()).or_insert((version, scope));
            if known.0 <= version {
                *known = (version, scope);
            }
        }
    }

    /// Those of a transform whose source row is known.
    pub(crate) fn open(&self, transform: &str) -> Vec<OpenLetter> {
        self.counting(transform).map(|(.., open)| open.clone()).filter(|open| !open.key.is_empty()).collect()
    }

    fn counting(&self, transform: &str) -> impl Iterator<Item = (&Letter, Version, &OpenLetter)> {
        let scope = self.scopes.get(transform).map_or(LetterScope::FIRST, |(_, scope)| *scope);
        let of = self.last.iter().filter(move |(letter, (version, _))| {
            letter.transform == transform && letter.generation == scope.generation && *version >= scope.lowest
        });
        of.filter_map(|(letter, (version, open))| Some((letter, *version, open.as_ref()?)))
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
