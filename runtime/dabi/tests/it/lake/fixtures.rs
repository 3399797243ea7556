//! Real captures through the lake and the fold, against the database.

use dabi_core::debezium::Skip;
use dabi_fixtures::{EXCEPTIONS, Table, Truth, decode, idle, tables, topics, unexcused};

use super::*;
use crate::support::lake::{events, folded};

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
    for decoded in topics(variant).iter().flat_map(|topic| decode(variant, topic, 500)) {
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

    let mut failures = String::new();
    for table in tables() {
        failures += &differences_of_fold(&lake, variant, &table).await;
    }
    assert!(failures.is_empty(), "{failures}");
}

/// What differs between the fold of the lake and the database, a line each.
pub(crate) async fn differences_of_fold(lake: &Lake, variant: &str, table: &Table) -> String {
    let name = SourceTable::new("shop", table.name);
    let rows = folded(name.clone(), &events(lake, &name).await, table);
    let differences = Truth::load(table.name).differences(&rows, &table.all_columns());
    let left = unexcused(variant, table.name, &differences, EXCEPTIONS).into_iter().map(ToString::to_string);
    let idle = idle(variant, table.name, &differences, EXCEPTIONS);
    let idle = idle.iter().map(|e| format!("column {}: nothing is left to excuse: {}", e.column, e.reason));
    left.chain(idle).map(|line| format!("{variant} {}: {line}\n", table.name)).collect()
}
