use std::collections::HashMap;

use super::*;
use crate::row::Row;

fn small() -> Settings {
    Settings { users: 40, products: 60, orders: 50, orders_max: 200, history: &Table::ALL }
}

/// A shop after `transactions`, and what it did.
fn run(seed: u64, transactions: i64) -> (Shop, Vec<Transaction>) {
    let mut shop = Shop::new(seed, small());
    let mut done = vec![shop.open(Micros(1_764_000_000_000_000))];
    done.extend((1..=transactions).map(|n| shop.transact(Micros(1_764_000_000_000_000 + n * 4_000))));
    (shop, done)
}

fn key(row: &Row) -> String {
    format!("{:?} {:?}", row.table(), row.key())
}

/// Applies `change` to rows by key, and complains of what a database would.
fn apply(rows: &mut HashMap<String, Row>, change: &Change) {
    match change {
        Change::Insert(row) => assert_eq!(rows.insert(key(row), row.clone()), None, "{row:?} is there"),
        Change::Update { before, after } => {
            assert_eq!(rows.remove(&key(before)).as_ref(), Some(before));
            assert_eq!(rows.insert(key(after), after.clone()), None, "{after:?} is there");
        }
        Change::Delete(row) => assert_eq!(rows.remove(&key(row)).as_ref(), Some(row)),
        Change::Truncate(table) => rows.retain(|_, row| row.table() != *table),
    }
}

fn check_references(rows: &HashMap<String, Row>) {
    for row in rows.values() {
        let columns = row.table().columns();
        for (name, to) in row.table().references() {
            let at = columns.iter().position(|column| column.name == *name).unwrap();
            let referred = format!("{to:?} {:?}", &row.values()[at..=at]);
            assert!(rows.contains_key(&referred), "{row:?} refers to {referred}");
        }
    }
}

#[test]
fn a_database_would_take_every_transaction() {
    let (shop, transactions) = run(1, 1_500);
    let mut rows = HashMap::new();
    for transaction in &transactions {
        assert!(!transaction.changes.is_empty());
        transaction.changes.iter().for_each(|(_, change)| apply(&mut rows, change));
        check_references(&rows);
    }
    let current: HashMap<String, Row> =
        Table::ALL.iter().flat_map(|table| shop.tables().rows(*table)).map(|row| (key(&row), row)).collect();
    assert_eq!(rows, current);
}

#[test]
fn the_same_seed_gives_the_same_shop() {
    assert_eq!(run(7, 500).1, run(7, 500).1);
    assert_ne!(run(7, 500).1, run(8, 500).1);
}

#[test]
fn everything_happens_and_the_shop_stays_small() {
    let (shop, transactions) = run(2, 20_000);
    let mut seen: HashMap<(Table, &str), usize> = HashMap::new();
    for (_, change) in transactions.iter().flat_map(|transaction| &transaction.changes) {
        let kind = match change {
            Change::Insert(_) => "insert",
            Change::Update { .. } if change.moves() => "move",
            Change::Update { .. } => "update",
            Change::Delete(_) => "delete",
            Change::Truncate(_) => "truncate",
        };
        *seen.entry((change.table(), kind)).or_default() += 1;
    }
    for table in [Table::Products, Table::Orders, Table::OrderProducts] {
        for kind in ["insert", "move", "update", "delete"] {
            assert!(seen.contains_key(&(table, kind)), "{kind} of {table:?}: {seen:?}");
        }
    }
    for (table, kind) in [
        (Table::Users, "insert"),
        (Table::Users, "move"),
        (Table::Users, "delete"),
        (Table::Aisles, "update"),
        (Table::Departments, "update"),
    ] {
        assert!(seen.contains_key(&(table, kind)), "{kind} of {table:?}: {seen:?}");
    }
    let count = |table| shop.tables().count(table);
    assert!(count(Table::Orders) <= 210, "{}", count(Table::Orders));
    assert!(count(Table::OrderProducts) < 4_000, "{}", count(Table::OrderProducts));
    assert!(count(Table::Users) <= 80 && count(Table::Products) <= 120);
}

#[test]
fn places_in_the_log_ascend_and_times_never_fall() {
    let mut shop = Shop::new(3, small());
    shop.open(Micros(1_764_000_000_000_000));
    let mut last = Lsn(0);
    // A clock that steps back.
    for n in 0..100_i64 {
        let before = shop.log.time;
        let transaction = shop.transact(Micros(1_764_000_000_000_000 - n * 1_000));
        assert!(transaction.committed >= before);
        for (lsn, _) in &transaction.changes {
            assert!(*lsn > last, "{lsn:?} after {last:?}");
            last = *lsn;
        }
        assert!(transaction.ends > last);
    }
}

#[test]
fn a_truncated_shop_opens_again() {
    for table in Table::ALL {
        let (mut shop, _) = run(4, 100);
        let mut rows: HashMap<String, Row> = Table::ALL
            .iter()
            .flat_map(|table| shop.tables().rows(*table))
            .map(|row| (key(&row), row))
            .collect();
        let truncate = shop.truncate(table, Micros(1_764_000_001_000_000));
        truncate.changes.iter().for_each(|(_, change)| apply(&mut rows, change));
        check_references(&rows);
        assert_eq!(shop.tables().count(table), 0);
        for n in 0..500 {
            let transaction = shop.transact(Micros(1_764_000_002_000_000 + n));
            transaction.changes.iter().for_each(|(_, change)| apply(&mut rows, change));
        }
        check_references(&rows);
        assert!(shop.tables().count(table) > 0, "{table:?}");
    }
}

#[test]
fn the_history_ends_with_the_rows_that_are_there() {
    let (mut shop, _) = run(5, 1_000);
    shop.truncate(Table::Orders, Micros(1_764_000_010_000_000));
    for n in 0..100 {
        shop.transact(Micros(1_764_000_010_000_001 + n));
    }
    let versions = shop.history().versions();
    let mut last = HashMap::new();
    for version in versions {
        last.insert(key(&version.row), version);
    }
    let there: HashMap<String, Row> = last
        .into_iter()
        .filter(|(_, version)| version.exists)
        .map(|(key, version)| (key, version.row.clone()))
        .collect();
    let current: HashMap<String, Row> =
        Table::ALL.iter().flat_map(|table| shop.tables().rows(*table)).map(|row| (key(&row), row)).collect();
    assert_eq!(there, current);
}
