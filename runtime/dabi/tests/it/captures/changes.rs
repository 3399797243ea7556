//! Every change of a table, kept beside its current rows, on real input: judged by
//! the captures as they are, and by ClickHouse's own hash.

use std::collections::{BTreeMap, BTreeSet};

use dabi_fixtures::{Captured, records, table};
use serde_json::Value;

use super::{capture, expect_no_letters, judge_star, pipeline, succeed};
use crate::support::clickhouse::ClickHouse;
use crate::support::guests;
use crate::support::kafka::Kafka;

/// The tables of the guest `order_changes`.
const TABLES: [&str; 2] = ["order_changes__g1", "order_sightings__g1"];
/// Values that one statement can hold.
const CHUNK: usize = 500;

/// An event, as the connector sent it.
struct Change {
    id: i64,
    op: String,
    status: String,
    /// What it is known by, but for the ordinal: texts, each with `\0` behind it.
    identity: String,
}

#[test]
fn every_change_is_kept_once() {
    let (kafka, clickhouse) = (Kafka::start(), ClickHouse::start());
    for (variant, comes_later) in [("schema", false), ("plain", true)] {
        let packages: &[&str] = if comes_later { &["orders"] } else { &["orders", "order_changes"] };
        let dabi = pipeline(variant, kafka.brokers(), &clickhouse, packages);
        succeed(&dabi, &["capture", "play", capture(variant).as_str(), "--brokers", kafka.brokers()]);
        succeed(&dabi, &["run", "--until-caught-up"]);
        if comes_later {
            // Every change comes from the lake, and the current rows beside them stay as they are.
            let current = stored(variant, &clickhouse, &["f_orders__g1"], "id");
            let module = dabi.home().join("transforms/order_changes.wasm");
            std::fs::write(module, guests::wasm("order_changes")).expect("write a module");
            succeed(&dabi, &["run", "--until-caught-up"]);
            assert_same(&current, &stored(variant, &clickhouse, &["f_orders__g1"], "id"), variant);
        }
        judge(variant, &clickhouse);
        // Everything is done: another run changes nothing.
        let rows = || stored(variant, &clickhouse, &TABLES, "id, change_key");
        let before = rows();
        succeed(&dabi, &["run", "--until-caught-up"]);
        assert_same(&before, &rows(), variant);
    }
}

fn judge(variant: &str, clickhouse: &ClickHouse) {
    let sent = changes(variant);
    let of = |ops: &[&str]| -> BTreeMap<&str, &Change> {
        let kept = sent.iter().filter(|change| ops.contains(&change.op.as_str()));
        kept.map(|change| (change.identity.as_str(), change)).collect()
    };
    let (kept, seen) = (of(&["c", "u", "d"]), of(&["r", "c"]));
    assert!(
        kept.len() > 1000 && kept.len() < sent.len() - 330,
        "{variant}: some came again, and 330 were read"
    );
    let rows = kept.values().map(|change| row(change, &[&change.op, &change.status], 0));
    let select = format!("SELECT id, op, status, change_key FROM {variant}.order_changes");
    assert_same(&lines(&clickhouse.query(&select)), &hashed(clickhouse, &rows.collect::<Vec<_>>()), variant);
    let rows = seen.values().flat_map(|change| [0, 1].map(|n| row(change, &[&n.to_string(), ""], n)));
    let select = format!("SELECT id, toString(number), '', change_key FROM {variant}.order_sightings");
    assert_same(&lines(&clickhouse.query(&select)), &hashed(clickhouse, &rows.collect::<Vec<_>>()), variant);
    // The current rows of the same table stand beside them.
    let differences = judge_star(variant, &table("orders"), "f_orders", clickhouse);
    assert!(differences.is_empty(), "{differences}");
    expect_no_letters(variant, clickhouse);
}

/// The changes of the orders, in the order in which they were sent.
fn changes(variant: &str) -> Vec<Change> {
    let topic = format!("cdc_{variant}.shop.orders");
    records(variant, &topic).iter().filter_map(|record| change(&topic, record)).collect()
}

fn change(topic: &str, record: &Captured) -> Option<Change> {
    let value: Value = serde_json::from_slice(record.value.as_deref()?).expect("a value is JSON");
    let event = value.get("payload").unwrap_or(&value);
    let op = event["op"].as_str().expect("an envelope has an op").to_owned();
    let row = &event[if op == "d" { "before" } else { "after" }];
    let (id, source) = (row["id"].as_i64().expect("an order has an id"), &event["source"]);
    let place = match source["lsn"].as_i64() {
        Some(lsn) => format!("{}\\0{lsn}\\0{}", source["ts_us"], source["txId"]),
        None => format!("{topic}\\0{}\\0{}", record.partition, record.offset),
    };
    let status = row["status"].as_str().expect("an order has a status").to_owned();
    Some(Change { id, identity: format!("{place}\\0{op}\\0{id}\\0"), op, status })
}

/// A row with two columns, as values of a statement, before its key is hashed.
fn row(change: &Change, columns: &[&str; 2], ordinal: u32) -> String {
    let Change { id, identity, .. } = change;
    format!("({id}, '{}', '{}', '{identity}{ordinal}')", columns[0], columns[1])
}

/// What ClickHouse makes of `rows` with the documented formula.
fn hashed(clickhouse: &ClickHouse, rows: &[String]) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for chunk in rows.chunks(CHUNK) {
        let select = format!(
            "SELECT id, a, b, xxh3(text) FROM VALUES('id Int64, a String, b String, text String', {})",
            chunk.join(", ")
        );
        all.extend(lines(&clickhouse.query(&select)));
    }
    assert_eq!(all.len(), rows.len(), "rows differ");
    all
}

/// Distinct lines; none may be there twice.
fn lines(answer: &str) -> BTreeSet<String> {
    let lines: BTreeSet<String> = answer.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), answer.lines().count(), "a row stands twice");
    lines
}

/// Every row of some tables, with its version.
fn stored(variant: &str, clickhouse: &ClickHouse, tables: &[&str], key: &str) -> BTreeSet<String> {
    let rows = |table: &&str| {
        clickhouse.query(&format!("SELECT '{table}', {key}, _version, _deleted FROM {variant}.{table} FINAL"))
    };
    tables.iter().flat_map(|table| lines(&rows(table))).collect()
}

fn assert_same(one: &BTreeSet<String>, other: &BTreeSet<String>, variant: &str) {
    let differences: Vec<&String> = one.symmetric_difference(other).take(10).collect();
    assert!(differences.is_empty(), "{variant}: {} and {} rows, {differences:?}", one.len(), other.len());
}
