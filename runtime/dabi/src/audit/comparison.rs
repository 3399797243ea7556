//! What stands in ClickHouse against what must stand, by key and hash.
//!
//! Owns what is held in memory: whatever its columns, 38 to 75 bytes a row of the
//! table (33 bytes in a hash table that is between seven sixteenths and seven eighths
//! full), and half as much again while it grows. Rows that must stand are held
//! against it as they come, and are not kept; rows themselves are kept of the keys
//! that are asked for.
//!
//! Invariant: every key of either side comes to exactly one verdict.

use std::collections::hash_map::Entry as Place;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use dabi_core::row_json::row_json;
use dabi_core::star::TargetTable;
use dabi_core::version::Version;
use serde_json::Value;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

use crate::warehouse::StoredRows;

/// The hash of a key.
pub(super) type KeyHash = u128;

/// A key whose rows are shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown {
    /// Its values, with commas between them.
    pub(super) key: String,
    /// The row that must stand.
    pub(super) expected: Option<Value>,
    /// The row that stands.
    pub(super) found: Option<Value>,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Of the row that stands.
    hash: u64,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// A row stands, and none must so far.
    TooMuch,
    /// The row that stands must.
    Same,
    /// Another one must.
    Other,
    /// A row must stand, and none does.
    Missing,
    /// A row of an epoch stands that is not yet stored whole.
    Ahead { is_expected: bool },
}

/// Which of several rows under one key must stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// That of the source row that came first.
    First,
    /// The one that was written last.
    Last,
}

/// The rows of one table.
pub(super) struct Comparison {
    key: Vec<usize>,
    keys: RowConverter,
    all: RowConverter,
    cut: Version,
    stands: Stands,
    entries: HashMap<KeyHash, Entry>,
    /// Keys whose rows are to be shown.
    wanted: BTreeSet<KeyHash>,
    pub(super) shown: BTreeMap<KeyHash, Shown>,
}

impl Comparison {
    /// Of `table`, without rows. Rows above `cut` are of an epoch that is not yet
    /// stored whole; of the keys `wanted` rows are kept.
    pub(super) fn new(
        table: &TargetTable,
        cut: Version,
        stands: Stands,
        wanted: BTreeSet<KeyHash>,
    ) -> Result<Self, ArrowError> {
        let schema = table.insert_schema();
        let names: Vec<&str> = table.column_names().collect();
        let position = |key: &String| names.iter().position(|name| name == key);
        let key: Vec<usize> = table.key().iter().filter_map(position).collect();
        let types = |columns: &[usize]| -> Result<RowConverter, ArrowError> {
            let types = columns.iter().map(|column| schema.field(*column).data_type().clone());
            RowConverter::new(types.map(SortField::new).collect())
        };
        let all: Vec<usize> = (0..names.len()).collect();
        let (keys, all) = (types(&key)?, types(&all)?);
        let (entries, shown) = (HashMap::new(), BTreeMap::new());
        Ok(Self { key, keys, all, cut, stands, entries, wanted, shown })
    }

    /// Adds rows that stand; all of them before the first that must.
    pub(super) fn find(&mut self, stored: &StoredRows) -> Result<(), ArrowError> {
        for (row, (key, hash)) in self.hashes(&stored.rows)?.into_iter().enumerate() {
            let is_ahead = stored.versions.value(row) > self.cut.0;
            let verdict = if is_ahead { Verdict::Ahead { is_expected: false } } else { Verdict::TooMuch };
            self.entries.insert(key, Entry { hash, verdict });
            if self.wanted.contains(&key) {
                let (text, row) = self.row(&stored.rows, row);
                let shown = self.shown.entry(key).or_default();
                (shown.key, shown.found) = (text, Some(row));
            }
        }
        Ok(())
    }

    /// Adds rows that must stand, of those for which `counts` holds.
    pub(super) fn expect(
        &mut self,
        rows: &RecordBatch,
        counts: impl Fn(usize) -> bool,
    ) -> Result<(), ArrowError> {
        let hashes = self.hashes(rows)?;
        for (row, (key, hash)) in hashes.into_iter().enumerate().filter(|(row, _)| counts(*row)) {
            if self.judge(key, hash) && self.wanted.contains(&key) {
                let (text, row) = self.row(rows, row);
                let shown = self.shown.entry(key).or_default();
                (shown.key, shown.expected) = (text, Some(row));
            }
        }
        Ok(())
    }

    /// Does this row count, and not another under its key?
    fn judge(&mut self, key: KeyHash, hash: u64) -> bool {
        let entry = match self.entries.entry(key) {
            Place::Vacant(vacant) => {
                vacant.insert(Entry { hash, verdict: Verdict::Missing });
                return true;
            }
            Place::Occupied(entry) => entry.into_mut(),
        };
        if entry.verdict.is_expected() && self.stands == Stands::First {
            return false;
        }
        entry.verdict = match entry.verdict {
            Verdict::Missing => Verdict::Missing,
            Verdict::Ahead { .. } => Verdict::Ahead { is_expected: true },
            _ if entry.hash == hash => Verdict::Same,
            _ => Verdict::Other,
        };
        true
    }

    /// How many rows stand, and how many must.
    pub(super) fn rows(&self) -> (u64, u64) {
        let count = |counts: fn(Verdict) -> bool| {
            self.entries.values().filter(|entry| counts(entry.verdict)).count() as u64
        };
        (count(|verdict| verdict != Verdict::Missing), count(Verdict::is_expected))
    }

    /// What came of it, of every key or of those of `among`.
    pub(super) fn outcome(&self, among: Option<&BTreeSet<KeyHash>>) -> Outcome {
        let mut outcome = Outcome::default();
        for (key, entry) in
            self.entries.iter().filter(|(key, _)| among.is_none_or(|among| among.contains(key)))
        {
            match entry.verdict {
                Verdict::Same => continue,
                Verdict::Ahead { .. } => outcome.ahead.insert(*key),
                Verdict::TooMuch | Verdict::Other | Verdict::Missing => outcome.differing.insert(*key),
            };
        }
        outcome
    }

    /// A row with its key for people to look at.
    fn row(&self, rows: &RecordBatch, row: usize) -> (String, Value) {
        let names: Vec<&str> = rows.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
        let row = row_json(names.iter().copied().zip(rows.columns()), row);
        let values = self.key.iter().map(|column| match &row[names[*column]] {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        });
        (values.collect::<Vec<_>>().join(","), row)
    }

    fn hashes(&self, rows: &RecordBatch) -> Result<Vec<(KeyHash, u64)>, ArrowError> {
        let key: Vec<ArrayRef> = self.key.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        let (keys, all) = (self.keys.convert_columns(&key)?, self.all.convert_columns(rows.columns())?);
        Ok(keys.iter().zip(&all).map(|(key, row)| (xxh3_128(key.data()), xxh3_64(row.data()))).collect())
    }
}

impl Verdict {
    fn is_expected(self) -> bool {
        !matches!(self, Self::TooMuch | Self::Ahead { is_expected: false })
    }
}

/// What a comparison came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Keys whose rows are not the same.
    pub(super) differing: BTreeSet<KeyHash>,
    /// Keys of which a row of a later epoch stands already.
    pub(super) ahead: BTreeSet<KeyHash>,
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray, UInt64Array};
    use dabi_core::data_type::DataType;
    use dabi_core::spec::{ColumnSource, Options, Spec, Target, TargetColumn, TargetKind};
    use dabi_core::table::SourceTable;

    use super::*;

    fn table() -> TargetTable {
        let column = |name: &str, data_type| TargetColumn {
            name: name.to_owned(),
            data_type,
            nullable: name != "id",
            source: ColumnSource::Computed,
            tracked: false,
            options: Options::new(),
        };
        let target = Target {
            table: "f".into(),
            kind: TargetKind::Latest,
            columns: vec![column("name", DataType::Text), column("id", DataType::Int64)],
            key: vec!["id".into()],
            as_of: Vec::new(),
            options: Options::new(),
        };
        let spec = Spec {
            name: "f".into(),
            version: "1".into(),
            source: SourceTable::new("shop", "t"),
            columns: Vec::new(),
            lookups: Vec::new(),
            targets: Vec::new(),
            options: Options::new(),
        };
        TargetTable::new(&spec, &target, 1)
    }

    fn rows(rows: &[(i64, &str)]) -> RecordBatch {
        let names: StringArray = rows.iter().map(|(_, name)| Some(*name)).collect();
        let ids = Int64Array::from_iter_values(rows.iter().map(|(id, _)| *id));
        let columns: Vec<ArrayRef> = vec![Arc::new(names), Arc::new(ids)];
        RecordBatch::try_new(Arc::new(table().insert_schema().project(&[0, 1]).unwrap()), columns).unwrap()
    }

    const CUT: Version = Version(1 << 40 | 5);

    /// After all rows that stand, and those that must.
    fn compared(stands: Stands, wanted: &BTreeSet<KeyHash>) -> Comparison {
        let mut comparison = Comparison::new(&table(), CUT, stands, wanted.clone()).unwrap();
        let stored = StoredRows {
            rows: rows(&[(1, "a"), (2, "tampered"), (4, "too much"), (6, "later"), (7, "later")]),
            versions: UInt64Array::from(vec![CUT.0, CUT.0, CUT.0, CUT.0 + 1, CUT.0 + 1]),
        };
        comparison.find(&stored).unwrap();
        let all =
            rows(&[(1, "a"), (1, "other"), (2, "b"), (3, "c"), (3, "d"), (6, "f"), (6, "f"), (9, "letter")]);
        comparison.expect(&all, |row| row != 7).unwrap();
        comparison
    }

    fn shown(comparison: &Comparison, of: fn(&Shown) -> &Option<Value>) -> Vec<String> {
        let name = |shown: &Shown| Some(format!("{} {}", shown.key, of(shown).as_ref()?["name"].as_str()?));
        let mut all: Vec<String> = comparison.shown.values().filter_map(name).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn every_kind_of_difference_is_found_and_shown() {
        let first = compared(Stands::First, &BTreeSet::new());
        let outcome = first.outcome(None);
        assert_eq!((outcome.differing.len(), outcome.ahead.len()), (3, 2));
        assert_eq!((first.rows(), first.shown.len()), ((5, 4), 0));

        let again = compared(Stands::First, &outcome.differing);
        let of_those = again.outcome(Some(&outcome.differing));
        assert_eq!((&of_those.differing, of_those.ahead.len()), (&outcome.differing, 0));
        assert_eq!(shown(&again, |shown| &shown.expected), ["2 b", "3 c"]);
        assert_eq!(shown(&again, |shown| &shown.found), ["2 tampered", "4 too much"]);
    }

    #[test]
    fn what_is_written_again_stands() {
        let outcome = compared(Stands::Last, &BTreeSet::new()).outcome(None);
        assert_eq!((outcome.differing.len(), outcome.ahead.len()), (4, 2));
        let last = compared(Stands::Last, &outcome.differing);
        assert_eq!(shown(&last, |shown| &shown.expected), ["1 other", "2 b", "3 d"]);
    }
}
