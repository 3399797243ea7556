//! Two sets of rows, compared by key and hash.
//!
//! Owns what is held in memory of them: about 40 bytes a row on each side, and the
//! rows themselves only of the keys that are asked for.
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

/// A row for people to look at.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    /// The values of its key, with commas between them.
    pub(super) key: String,
    pub(super) row: Value,
}

/// What stands under a key.
#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    version: u64,
}

/// One side of a comparison.
pub(super) struct Side {
    key: Vec<usize>,
    keys: RowConverter,
    all: RowConverter,
    entries: HashMap<KeyHash, Entry>,
    /// Keys whose rows are to be shown.
    wanted: BTreeSet<KeyHash>,
    pub(super) shown: BTreeMap<KeyHash, Shown>,
}

impl Side {
    /// A side without rows, for `table`, that keeps the rows of the keys `wanted`.
    pub(super) fn new(table: &TargetTable, wanted: BTreeSet<KeyHash>) -> Result<Self, ArrowError> {
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
        Ok(Self { key, keys, all, entries: HashMap::new(), wanted, shown: BTreeMap::new() })
    }

    /// Adds rows that must stand, of those for which `counts` holds. Of several
    /// under one key the first one counts.
    pub(super) fn expect(
        &mut self,
        rows: &RecordBatch,
        counts: impl Fn(usize) -> bool,
    ) -> Result<(), ArrowError> {
        let hashes = self.hashes(rows)?;
        for (row, (key, hash)) in hashes.into_iter().enumerate().filter(|(row, _)| counts(*row)) {
            if let Place::Vacant(vacant) = self.entries.entry(key) {
                vacant.insert(Entry { hash, version: 0 });
                self.show(rows, row, key);
            }
        }
        Ok(())
    }

    /// Adds rows that stand.
    pub(super) fn find(&mut self, stored: &StoredRows) -> Result<(), ArrowError> {
        let hashes = self.hashes(&stored.rows)?;
        for (row, (key, hash)) in hashes.into_iter().enumerate() {
            self.entries.insert(key, Entry { hash, version: stored.versions.value(row) });
            self.show(&stored.rows, row, key);
        }
        Ok(())
    }

    /// How many rows there are.
    pub(super) fn rows(&self) -> u64 {
        self.entries.len() as u64
    }

    fn show(&mut self, rows: &RecordBatch, row: usize, key: KeyHash) {
        if self.wanted.contains(&key) {
            let names: Vec<&str> =
                rows.schema_ref().fields().iter().map(|field| field.name().as_str()).collect();
            let row = row_json(names.iter().copied().zip(rows.columns()), row);
            let values = self.key.iter().map(|column| match &row[names[*column]] {
                Value::String(text) => text.clone(),
                value => value.to_string(),
            });
            let shown = Shown { key: values.collect::<Vec<_>>().join(","), row };
            self.shown.insert(key, shown);
        }
    }

    fn hashes(&self, rows: &RecordBatch) -> Result<Vec<(KeyHash, u64)>, ArrowError> {
        let key: Vec<ArrayRef> = self.key.iter().map(|column| Arc::clone(rows.column(*column))).collect();
        let (keys, all) = (self.keys.convert_columns(&key)?, self.all.convert_columns(rows.columns())?);
        Ok(keys.iter().zip(&all).map(|(key, row)| (xxh3_128(key.data()), xxh3_64(row.data()))).collect())
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

/// Compares every key of either side, or those of `among`. Rows above `cut` are of
/// an epoch that is not yet stored whole.
pub(super) fn compare(
    expected: &Side,
    found: &Side,
    among: Option<&BTreeSet<KeyHash>>,
    cut: Version,
) -> Outcome {
    let mut outcome = Outcome::default();
    let asked = |key: &KeyHash| among.is_none_or(|among| among.contains(key));
    for (key, entry) in found.entries.iter().filter(|(key, _)| asked(key)) {
        if entry.version > cut.0 {
            outcome.ahead.insert(*key);
        } else if expected.entries.get(key).is_none_or(|must| must.hash != entry.hash) {
            outcome.differing.insert(*key);
        }
    }
    let missing = expected.entries.keys().filter(|key| asked(key) && !found.entries.contains_key(key));
    outcome.differing.extend(missing);
    outcome
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray, UInt64Array};
    use dabi_core::data_type::DataType;
    use dabi_core::spec::{ColumnSource, Options, Spec, Target, TargetColumn, TargetKind};
    use dabi_core::table::SourceTable;
    use dabi_core::version::{Epoch, Term};

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

    #[test]
    fn every_kind_of_difference_is_found_and_shown() {
        let cut = Version::new(Term(1), Epoch(5));
        let sides = |wanted: &BTreeSet<KeyHash>| {
            let mut expected = Side::new(&table(), wanted.clone()).unwrap();
            let mut found = Side::new(&table(), wanted.clone()).unwrap();
            // Of two rows of key 1 the first stands; 9 does not count.
            let all = rows(&[(1, "a"), (1, "other"), (2, "b"), (3, "c"), (6, "f"), (9, "letter")]);
            expected.expect(&all, |row| row != 5).unwrap();
            let stored = StoredRows {
                rows: rows(&[(1, "a"), (2, "tampered"), (4, "too much"), (6, "later")]),
                versions: UInt64Array::from(vec![cut.0, cut.0, cut.0, cut.0 + 1]),
            };
            found.find(&stored).unwrap();
            (expected, found)
        };
        let (expected, found) = sides(&BTreeSet::new());
        let outcome = compare(&expected, &found, None, cut);
        assert_eq!((outcome.differing.len(), outcome.ahead.len()), (3, 1));
        assert_eq!((expected.rows(), found.rows()), (4, 4));

        let (expected, found) = sides(&outcome.differing);
        let again = compare(&expected, &found, Some(&outcome.differing), cut);
        assert_eq!((&again.differing, again.ahead.len()), (&outcome.differing, 0));
        let shown = |side: &Side| -> BTreeMap<String, String> {
            let pair = |shown: &Shown| (shown.key.clone(), shown.row["name"].to_string());
            side.shown.values().map(pair).collect()
        };
        let pairs = |pairs: &[(&str, &str)]| {
            pairs
                .iter()
                .map(|(key, name)| ((*key).to_owned(), format!("{name:?}")))
                .collect::<BTreeMap<_, _>>()
        };
        assert_eq!(shown(&expected), pairs(&[("2", "b"), ("3", "c")]));
        assert_eq!(shown(&found), pairs(&[("2", "tampered"), ("4", "too much")]));
    }
}
