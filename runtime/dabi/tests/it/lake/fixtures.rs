//! Real captures through the lake and the fold, against the database.

use std::collections::BTreeSet;

use arrow::array::Array as _;
use arrow::datatypes::DataType;
use arrow::util::display::array_value_to_string;
use dabi_core::change::{CONNECT_NAME_KEY, Wire, meta};
use dabi_core::debezium::Skip;
use dabi_core::fold::Fold;
use futures::StreamExt as _;

use super::*;
use crate::support::fixtures::{TruthRow, decode, truth, truth_tables};

/// Tables whose fold cannot equal the database, by variant.
fn exception(variant: &str, table: &str) -> Option<&'static str> {
    match (variant, table) {
        (_, "audit_log") => Some("it has no key: its updates and deletes match nothing"),
        ("flat", "carts") => Some("flattening drops truncates"),
        _ => None,
    }
}

#[tokio::test]
async fn the_fold_of_the_lake_is_the_database_with_schema() {
    check("schema").await;
}

#[tokio::test]
async fn the_fold_of_the_lake_is_the_database_without_schema() {
    check("plain").await;
}

#[tokio::test]
async fn the_fold_of_the_lake_is_the_database_flattened() {
    check("flat").await;
}

async fn check(variant: &str) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = local_lake(&folder).await;
    let mut writer = Writer::open(&lake, "w").await.expect("an empty lake");
    let (mut written, mut dead_letters) = (0, 0);
    for decoded in decode(variant, 500) {
        written += decoded.batches.iter().map(ChangeBatch::num_rows).sum::<usize>();
        dead_letters += decoded.skipped.get(&Skip::DeadLetter).copied().unwrap_or(0);
        writer.append(&decoded);
        if writer.encoder.pending_rows() > 2000 {
            writer.flush().await.expect("a folder of our own");
        }
    }
    writer.flush().await.expect("a folder of our own");
    assert_eq!(dead_letters, 0, "every record of the capture is understood");
    let files = lake.files(None).await.expect("readable");
    assert_eq!(files.iter().map(|file| file.rows).sum::<u64>(), written as u64, "every event once");

    for table in truth_tables() {
        if exception(variant, &table).is_none() {
            check_table(&lake, variant, &table).await;
        }
    }
}

async fn check_table(lake: &Lake, variant: &str, name: &str) {
    let table = SourceTable::new("shop", name);
    let mut fold = Fold::new(table.clone());
    let mut batches = std::pin::pin!(lake.read_table(&table).await.expect("readable"));
    while let Some(batch) = batches.next().await {
        fold.apply(&batch.expect("readable")).expect("in order");
    }
    let mut truth: BTreeMap<Vec<Option<String>>, TruthRow> = BTreeMap::new();
    let folded = fold.rows();
    let key: Vec<String> = folded.first().map_or_else(Vec::new, |batch| {
        batch.key().iter().map(|column| batch.row_fields()[*column].name().clone()).collect()
    });
    for row in self::truth(name) {
        truth.insert(key.iter().map(|column| row[column].clone()).collect(), row);
    }
    let mut seen = BTreeSet::new();
    for batch in &folded {
        assert_eq!(
            batch.meta(meta::UNAVAILABLE).null_count(),
            batch.num_rows(),
            "{variant} {name}: unfilled"
        );
        for row in 0..batch.num_rows() {
            let key: Vec<Option<String>> =
                batch.key().iter().map(|column| text(batch, *column, row)).collect();
            let Some(expected) = truth.get(&key) else { panic!("{variant} {name}: {key:?} should be gone") };
            check_plain_columns(batch, row, expected, &format!("{variant} {name} {key:?}"));
            seen.insert(key);
        }
    }
    let missing: Vec<_> = truth.keys().filter(|key| !seen.contains(*key)).collect();
    assert!(missing.is_empty(), "{variant} {name}: {missing:?} are missing");
}

/// The columns that look the same on the wire and in CSV: integers and text
/// without a meaning of its own. (The rest is compared where types are read.)
fn check_plain_columns(batch: &ChangeBatch, row: usize, expected: &TruthRow, place: &str) {
    for (column, field) in batch.row_fields().iter().enumerate() {
        let plain = Wire::of(field) == Some(Wire::Typed)
            && !field.metadata().contains_key(CONNECT_NAME_KEY)
            && matches!(
                field.data_type(),
                DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::Utf8
            );
        // a column dropped or renamed since is not in the truth
        if let Some(expected) = expected.get(field.name()).filter(|_| plain) {
            assert_eq!(text(batch, column, row), *expected, "{place}, column {}", field.name());
        }
    }
}

fn text(batch: &ChangeBatch, column: usize, row: usize) -> Option<String> {
    let array = &batch.row_columns()[column];
    array.is_valid(row).then(|| array_value_to_string(array, row).expect("it can be shown"))
}
