//! The versions of a row, as a slowly changing dimension shows them.
//!
//! Owns a formulation of its own of what dabi's engine keeps: from all that ever
//! happened to a table, computed at once and naively. It shares nothing with the
//! engine but the hash function that a version's key is defined by.
//!
//! Invariant: the versions of a key follow each other in time and do not overlap;
//! at most the last has no end.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_64;

use crate::history::{History, Version};
use crate::row::{Row, Value};
use crate::table::Table;
use crate::transaction::Micros;

/// What a key looked like for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DimensionVersion<'a> {
    /// What facts refer to it by.
    pub key: u64,
    /// From this commit on; 1970-01-01 for the first version of a key.
    pub from: Micros,
    /// Up to, and not with, this commit; none if it stands.
    pub to: Option<Micros>,
    /// The row as it was last.
    pub row: &'a Row,
}

/// Every version of every key of a table, by the number of the key.
#[derive(Clone, Debug, Default)]
pub struct Dimension<'a>(BTreeMap<i64, Vec<DimensionVersion<'a>>>);

impl<'a> Dimension<'a> {
    /// The versions of the rows of `table`, whose key is one number. A version
    /// begins where a column that `is_tracked` has another value.
    #[must_use]
    pub fn of(history: &'a History, table: Table, is_tracked: fn(&str) -> bool) -> Self {
        // By key and commit time; the log's order, so that of one time the last stays.
        let mut entries: BTreeMap<i64, BTreeMap<Micros, &Version>> = BTreeMap::new();
        for version in history.versions().iter().filter(|version| version.row.table() == table) {
            entries.entry(number(&version.row)).or_default().insert(version.committed, version);
        }
        let versions = |(key, entries)| (key, versions_of(key, &entries, is_tracked));
        Self(entries.into_iter().map(versions).collect())
    }

    /// All of them, key by key and in the order of time.
    pub fn versions(&self) -> impl Iterator<Item = &DimensionVersion<'a>> {
        self.0.values().flatten()
    }

    /// The version of `key` that was valid at `time`.
    #[must_use]
    pub fn as_of(&self, key: i64, time: Micros) -> Option<&DimensionVersion<'a>> {
        let mut versions = self.0.get(&key)?.iter();
        versions.find(|version| version.from <= time && version.to.is_none_or(|to| time < to))
    }
}

fn number(row: &Row) -> i64 {
    match row.key().as_slice() {
        [Value::Integer(number)] => *number,
        other => panic!("{other:?} is no key of one number"),
    }
}

fn versions_of<'a>(
    key: i64,
    entries: &BTreeMap<Micros, &'a Version>,
    is_tracked: fn(&str) -> bool,
) -> Vec<DimensionVersion<'a>> {
    let mut versions: Vec<DimensionVersion<'a>> = Vec::new();
    for (time, entry) in entries {
        let open = versions.last_mut().filter(|version| version.to.is_none());
        if !entry.exists {
            if let Some(open) = open {
                open.to = Some(*time);
            }
            continue;
        }
        match open {
            Some(open) if tracked(open.row, is_tracked) == tracked(&entry.row, is_tracked) => {
                open.row = &entry.row;
                continue;
            }
            Some(open) => open.to = Some(*time),
            None => {}
        }
        let from = if versions.is_empty() { Micros(0) } else { *time };
        versions.push(DimensionVersion { key: version_key(key, from), from, to: None, row: &entry.row });
    }
    versions
}

fn tracked(row: &Row, is_tracked: fn(&str) -> bool) -> Vec<Value<'_>> {
    let named = row.table().columns().iter().zip(row.values());
    named.filter(|(column, _)| is_tracked(column.name)).map(|(_, value)| value).collect()
}

/// By its definition: the texts of the key and of the time in microseconds, a
/// zero byte between them.
fn version_key(key: i64, Micros(from): Micros) -> u64 {
    xxh3_64(format!("{key}\0{from}").as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::row::{AisleId, DepartmentId, Product, ProductId, User, UserId};
    use crate::tables::Tables;
    use crate::transaction::{Change, Lsn, Transaction, TransactionId};

    /// A history of these transactions, each with its time.
    fn history(transactions: &[(i64, Vec<Change>)]) -> History {
        let (mut history, mut tables) = (History::of(&Table::ALL), Tables::default());
        for (number, (time, changes)) in transactions.iter().enumerate() {
            let lsn = Lsn(number as u64);
            let transaction = Transaction {
                id: TransactionId(7),
                committed: Micros(*time),
                begins: lsn,
                ends: lsn,
                snapshot: false,
                changes: Vec::new(),
            };
            for change in changes {
                history.record(&transaction, lsn, change, &tables);
                tables.apply(change);
            }
        }
        history
    }

    fn product(name: &str, description: &str) -> Row {
        let (product_id, aisle_id, department_id) = (ProductId(3), AisleId(1), DepartmentId(1));
        let description = Some(description.into());
        Product { product_id, product_name: name.into(), aisle_id, department_id, description }.into()
    }

    fn user(id: i64) -> Row {
        User { user_id: UserId(id) }.into()
    }

    fn change(before: Row, after: Row) -> Change {
        Change::Update { before, after }
    }

    /// Each version as its times and its name.
    fn shown(history: &History) -> Vec<(i64, Option<i64>, String)> {
        let dimension = Dimension::of(history, Table::Products, |column| column == "product_name");
        let shown = dimension.versions().map(|version| {
            let Row::Product(product) = version.row else { panic!("a product") };
            let description = product.description.as_deref().unwrap_or_default();
            (version.from.0, version.to.map(|to| to.0), format!("{} {description}", product.product_name))
        });
        shown.collect()
    }

    #[test]
    fn a_version_begins_where_a_tracked_column_changes() {
        let (old, new) = (product("tea", "a"), product("chai", "b"));
        let history = history(&[
            (10, vec![Change::Insert(old.clone())]),
            (20, vec![change(old, product("tea", "b"))]),
            (30, vec![change(product("tea", "b"), new.clone())]),
        ]);
        // What is not tracked shows as it was last in the version.
        assert_eq!(shown(&history), [(0, Some(30), "tea b".into()), (30, None, "chai b".into())]);
    }

    #[test]
    fn a_row_that_goes_ends_its_version_and_one_that_returns_begins_another() {
        let tea = product("tea", "a");
        let history = history(&[
            (10, vec![Change::Insert(tea.clone())]),
            (20, vec![Change::Delete(tea.clone())]),
            (30, vec![Change::Insert(tea.clone())]),
            // In one commit it never was away.
            (40, vec![Change::Delete(tea.clone()), Change::Insert(tea)]),
            (50, vec![Change::Truncate(Table::Products)]),
        ]);
        assert_eq!(shown(&history), [(0, Some(20), "tea a".into()), (30, Some(50), "tea a".into())]);
    }

    #[test]
    fn of_what_one_time_holds_the_last_counts() {
        let [one, two, three] = ["one", "two", "three"].map(|name| product(name, ""));
        let history = history(&[
            (10, vec![Change::Insert(one.clone())]),
            (20, vec![change(one, two.clone())]),
            (20, vec![change(two, three)]),
        ]);
        assert_eq!(shown(&history), [(0, Some(20), "one ".into()), (20, None, "three ".into())]);
    }

    #[test]
    fn a_key_that_moves_is_gone_here_and_new_there() {
        let history = history(&[(10, vec![Change::Insert(user(1))]), (20, vec![change(user(1), user(2))])]);
        let users = Dimension::of(&history, Table::Users, |_| false);
        let times: Vec<_> =
            users.versions().map(|version| (version.from.0, version.to.map(|to| to.0))).collect();
        assert_eq!(times, [(0, Some(20)), (0, None)]);
    }

    #[test]
    fn a_time_belongs_to_the_version_that_begins_with_it() {
        let (old, new) = (product("tea", ""), product("chai", ""));
        let history = history(&[
            (10, vec![Change::Insert(old.clone())]),
            (30, vec![change(old, new.clone())]),
            (50, vec![Change::Delete(new)]),
        ]);
        let products = Dimension::of(&history, Table::Products, |column| column == "product_name");
        let from = |time| products.as_of(3, Micros(time)).map(|version| version.from.0);
        // Before anything is known of a key, its first version counts.
        assert_eq!([0, 29, 30, 49, 50].map(from), [Some(0), Some(0), Some(30), Some(30), None]);
        assert_eq!(from(-1), None);
        assert_eq!(products.as_of(4, Micros(30)), None);
        assert_eq!(products.as_of(3, Micros(30)).map(|found| found.key), Some(xxh3_64(b"3\x0030")));
    }
}
