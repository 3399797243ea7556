//! Tables and views: created, extended, refused; what readers see.

use dabi::warehouse::WarehouseError;
use dabi_core::data_type::DataType;
use dabi_core::fold::Truncate;
use dabi_core::spec::Options;
use dabi_core::version::{Epoch, Term, Version};

use super::{Fixture, Note, batch, column, note, notes, table};
use crate::support::block_on;

#[test]
fn a_table_is_created_extended_and_found_again() {
    let fixture = Fixture::start();
    for _ in 0..2 {
        fixture.ensure(&notes()).unwrap();
    }
    fixture.insert(&notes(), batch(&[note(1, 1)]), "a");
    let mut columns = vec![column("id", DataType::Int64), column("note", DataType::Text)];
    columns.push(column("added", DataType::Decimal { precision: 10, scale: 2 }));
    for _ in 0..2 {
        fixture.ensure(&table(columns.clone(), Options::new())).unwrap();
    }
    assert_eq!(fixture.rows("SELECT id, added FROM star.f")[0], serde_json::json!({"id": 1, "added": 0}));
}

#[test]
fn every_option_makes_a_table_that_is_found_again() {
    let fixture = Fixture::start();
    let with = |name: &str, data_type, options: &[(&str, &str)]| {
        let mut column = column(name, data_type);
        column.options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        column
    };
    let mut nullable = with("n", DataType::Text, &[("low-cardinality", "true")]);
    nullable.nullable = true;
    let columns = vec![
        with("id", DataType::Int64, &[("codec", "Delta, ZSTD(1)"), ("comment", "it's the key")]),
        with("day", DataType::Date, &[]),
        with("tier", DataType::Text, &[("enum", "gold, it's,bronze")]),
        nullable,
    ];
    let options = [
        ("order", "day, id"),
        ("partition", "intHash64(id) % 4"),
        ("ttl", "day + INTERVAL 2 YEAR"),
        ("comment", "one row per `thing`"),
    ];
    let options: Options = options.map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    for _ in 0..2 {
        fixture.ensure(&table(columns.clone(), options.clone())).unwrap();
    }
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    let fixture = Fixture::start();
    fixture.execute(
        "CREATE TABLE star.f__g1 (id Int32, note String, _version UInt64, _deleted UInt8) \
         ENGINE = ReplacingMergeTree(_version) PARTITION BY id % 2 ORDER BY (note, id)",
    );
    let error = fixture.ensure(&notes()).unwrap_err().to_string();
    for fault in ["engine", "partitioned", "sorted", "column id is Int32, declared Int64", "no column _lsn"] {
        assert!(error.contains(fault), "{fault}: {error}");
    }
    assert_eq!(fixture.count("system.tables WHERE database = 'star' AND name = 'f'"), 0);
}

#[test]
fn a_table_of_someone_else_is_not_replaced_by_a_view() {
    let fixture = Fixture::start();
    fixture.execute("CREATE TABLE star.f (a Int8) ENGINE = MergeTree ORDER BY a");
    fixture.execute("INSERT INTO star.f VALUES (7)");
    let error = fixture.ensure(&notes()).unwrap_err();
    assert!(matches!(error, WarehouseError::Taken { .. }), "{error}");
    assert_eq!(fixture.count("star.f"), 1);
}

#[test]
fn readers_see_the_latest_row_of_each_key_and_no_tombstones() {
    let fixture = Fixture::start();
    let table = notes();
    fixture.ensure(&table).unwrap();
    fixture.insert(&table, batch(&[note(1, 5), note(2, 5), note(3, 5)]), "a");
    // An older version that comes late, a newer one, and a tombstone.
    let dead = Note { deleted: true, ..note(3, 6) };
    fixture.insert(&table, batch(&[note(1, 4), note(2, 6), dead]), "b");
    let seen = "SELECT id, note FROM star.f ORDER BY id";
    let expected = [
        serde_json::json!({"id": 1, "note": "note\n\n5"}),
        serde_json::json!({"id": 2, "note": "note\n\n6"}),
    ];
    assert_eq!(fixture.rows(seen), expected);
    // A reader's own setting must not bring tombstoned rows back.
    let moved = format!("{seen} SETTINGS optimize_move_to_prewhere_if_final = 1");
    assert_eq!(fixture.rows(&moved), expected);
    fixture.execute("OPTIMIZE TABLE star.f__g1 FINAL");
    assert_eq!(fixture.rows(seen), expected);
    // A key that comes back outranks its tombstone.
    fixture.insert(&table, batch(&[note(3, 7)]), "c");
    assert_eq!(fixture.count("star.f"), 3);
}

#[test]
fn a_truncate_removes_what_the_fold_says_it_removes() {
    let fixture = Fixture::start();
    let table = notes();
    fixture.ensure(&table).unwrap();
    let places: Vec<(Option<i64>, Option<i64>)> = [None, Some(9), Some(10), Some(11)]
        .into_iter()
        .flat_map(|lsn| [None, Some(99), Some(100), Some(101)].map(|ts| (lsn, ts)))
        .collect();
    let truncates =
        [None, Some(10)].into_iter().flat_map(|lsn| [None, Some(100)].map(|ts_us| Truncate { lsn, ts_us }));
    for (epoch, truncate) in (1..).zip(truncates) {
        let live = Version::new(Term(1), Epoch(2 * epoch));
        let rows: Vec<Note> = (0..)
            .zip(&places)
            .map(|(id, (lsn, ts))| Note { lsn: *lsn, ts: *ts, ..note(id, live.0) })
            .collect();
        fixture.insert(&table, batch(&rows), &format!("{epoch}"));
        let version = Version::new(Term(1), Epoch(2 * epoch + 1));
        // Done twice, it is done once.
        for _ in 0..2 {
            block_on(fixture.warehouse.insert_truncate_tombstones(&table, truncate, version, &fixture.never))
                .unwrap();
        }
        let left: Vec<i64> = fixture
            .rows("SELECT id FROM star.f ORDER BY id")
            .iter()
            .map(|row| row["id"].as_i64().unwrap())
            .collect();
        let expected: Vec<i64> = (0..)
            .zip(&places)
            .filter(|(_, (lsn, ts))| !truncate.covers(*lsn, *ts))
            .map(|(id, _)| id)
            .collect();
        assert_eq!(left, expected, "{truncate:?}");
    }
}
