//! The lake is read by a reader that knows nothing of dabi.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::*;
use crate::support::installed;
use crate::support::orders::{altered_batch, batch, decoded, table};

#[tokio::test]
async fn duckdb_reads_each_event_once() {
    let python = installed("DABI_TEST_PYTHON");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = local_lake(&folder).await;
    let mut writer = Writer::open(&lake, "w").await.expect("an empty lake");
    writer.write(&decoded(vec![batch(0, 0, 600), batch(1, 0, 60)])).await.expect("a folder of our own");
    writer.write(&decoded(vec![altered_batch(0, 600, 300)])).await.expect("a folder of our own");
    let files = lake.files(Some(&table())).await.expect("readable");

    // a file that was uploaded twice, the first time without its manifest
    let original = lake.url_of(&files[0].path);
    std::fs::copy(&original, original.replace("-w-", "-orphan-")).expect("a copy");

    let glob = format!("{}/shop.order_items/*/*.parquet", lake.url());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/duckdb/read_lake.py");
    let mut child = Command::new(python)
        .args([script, &glob])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("DABI_TEST_PYTHON starts");
    let mut stdin = child.stdin.take().expect("it is piped");
    for file in &files {
        writeln!(stdin, "{}", lake.url_of(&file.path)).expect("it reads its input");
    }
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success());
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    let expected = serde_json::json!({
        "events": 960,
        "distinct": 960,
        "ops": {"c": 320, "u": 320, "r": 160, "d": 160},
        "dates": ["2025-01-01"],
        "partitions": 2,
        "glob_events": 960 + files[0].rows,
        "glob_distinct": 960,
    });
    assert_eq!(found, expected);
}
