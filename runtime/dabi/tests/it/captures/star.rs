//! A star with lookups on real input, judged by SQL of another engine over the
//! tables as PostgreSQL printed them. No variant needs an exception.

use std::process::Command;

use dabi_fixtures::{VARIANTS, folder};
use serde_json::Value;

use super::judge_with_and_without_state;
use crate::support::clickhouse::ClickHouse;
use crate::support::dabi::Dabi;
use crate::support::installed;
use crate::support::kafka::Kafka;

/// The views of the guest `star`, and the fewest rows that say anything.
const VIEWS: [(&str, u64); 2] = [("f_lines", 1000), ("dim_cities", 10)];

#[test]
fn a_star_with_lookups_equals_sql_over_the_source() {
    let (kafka, clickhouse) = (Kafka::start(), ClickHouse::start());
    for variant in VARIANTS {
        judge_with_and_without_state(variant, kafka.brokers(), &clickhouse, &["star"], |dabi| {
            judge(variant, dabi, &clickhouse);
        });
    }
}

/// Compares the views of `variant` with what `duckdb/star.sql` makes of the source.
fn judge(variant: &str, dabi: &Dabi, clickhouse: &ClickHouse) {
    let star = dabi.home().join("star");
    std::fs::create_dir_all(&star).expect("make a folder");
    for (view, _) in VIEWS {
        let rows = clickhouse.query_as(&format!("SELECT * FROM {variant}.{view}"), "Parquet");
        std::fs::write(star.join(format!("{view}.parquet")), rows).expect("write the rows of a view");
    }
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/duckdb");
    let compared = Command::new(installed("DABI_TEST_PYTHON"))
        .arg(format!("{scripts}/compare_star.py"))
        .args([folder("truth_final"), star])
        .arg(format!("{scripts}/star.sql"))
        .output()
        .expect("DABI_TEST_PYTHON starts");
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stderr));
    let verdicts: Value = serde_json::from_slice(&compared.stdout).expect("it prints JSON");
    for (view, rows_min) in VIEWS {
        let verdict = &verdicts[view];
        let none = Value::Array(Vec::new());
        assert_eq!((&verdict["star_alone"], &verdict["source_alone"]), (&none, &none), "{variant}.{view}");
        assert_eq!(verdict["rows"], verdict["expected"], "{variant}.{view}");
        assert!(verdict["rows"].as_u64().is_some_and(|rows| rows >= rows_min), "{variant}.{view}: {verdict}");
    }
}
