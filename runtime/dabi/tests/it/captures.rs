//! The main job on real input: real captures through Kafka into lake and star,
//! judged by the source's own tables.

mod changes;
mod star;
mod toast;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use dabi::lake::{Lake, LakeSettings};
use dabi_core::table::SourceTable;
use dabi_fixtures::{
    EXCEPTIONS, Exception, ROW, TOAST_VARIANTS, Table, Truth, folder, records, table, tables, topics,
    unexcused,
};

use crate::lake::fixtures::differences_of_fold;
use crate::support::clickhouse::ClickHouse;
use crate::support::dabi::Dabi;
use crate::support::kafka::Kafka;
use crate::support::lake::{doubled, events, manifests, unaccounted};
use crate::support::{block_on, free_port, guests, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

/// What of the source a star cannot hold, beside what the wire cannot tell.
const STAR: &[Exception] = &[
    Exception {
        variants: VARIANTS,
        tables: &["type_zoo_full"],
        column: ROW,
        holds: |source, _| matches!(source, Some("20" | "119" | "319")),
        reason: "its timestamps beyond the year 294247 cannot be read: dead letters",
    },
    Exception {
        variants: VARIANTS,
        tables: &["type_zoo_full"],
        column: "c_int_arr",
        holds: empty_for_null,
        reason: NO_NULL_ARRAY,
    },
    Exception {
        variants: VARIANTS,
        tables: &["type_zoo_full"],
        column: "c_text_arr",
        holds: empty_for_null,
        reason: NO_NULL_ARRAY,
    },
    Exception {
        variants: VARIANTS,
        tables: &["type_zoo_full"],
        column: "c_num_arr",
        holds: empty_for_null,
        reason: NO_NULL_ARRAY,
    },
    Exception {
        variants: &TOAST_VARIANTS,
        tables: &["toast", "toast_full"],
        column: "c_num_arr",
        holds: empty_for_null,
        reason: NO_NULL_ARRAY,
    },
    Exception {
        variants: VARIANTS,
        tables: &["orders"],
        column: "note",
        holds: |source, got| source.is_some_and(|note| note.trim().is_empty()) && got.is_none(),
        reason: "the transform takes white space for no note",
    },
];

const VARIANTS: &[&str] = &["schema", "plain", "flat"];
const NO_NULL_ARRAY: &str = "an array cannot be null in ClickHouse";

fn empty_for_null(source: Option<&str>, got: Option<&str>) -> bool {
    source.is_none() && got == Some("[]")
}

/// Transforms over one table each.
const PACKAGES: [&str; 3] = ["customers", "orders", "type_zoo_full"];

/// Of each of them the source table, the view in ClickHouse, and a condition that
/// holds for every row whose computed columns are right.
const TRANSFORMS: [(&str, &str, &str); 3] = [
    (
        "customers",
        "dim_customers",
        "is_large = (credit_limit >= 10000) AND email_domain = lowerUTF8(splitByChar('@', email)[-1])",
    ),
    (
        "orders",
        "f_orders",
        "date_key = toYYYYMMDD(placed_at) \
         AND age_us = toUnixTimestamp64Micro(updated_at) - toUnixTimestamp64Micro(placed_at)",
    ),
    ("type_zoo_full", "zoo", "1"),
];

#[test]
fn captures_become_lake_and_star_on_a_real_kafka() {
    let (kafka, clickhouse) = (Kafka::start(), ClickHouse::start());
    for variant in VARIANTS {
        let dabi = pipeline(variant, kafka.brokers(), &clickhouse, &PACKAGES);
        succeed(&dabi, &["capture", "play", capture(variant).as_str(), "--brokers", kafka.brokers()]);
        succeed(&dabi, &["run", "--until-caught-up"]);
        judge(variant, &dabi, &clickhouse);
        // Everything is done: another run reads nothing and changes nothing.
        succeed(&dabi, &["run", "--until-caught-up"]);
        judge(variant, &dabi, &clickhouse);
    }
}

#[test]
fn a_capture_becomes_lake_and_star_on_the_embedded_broker() {
    let variant = "plain";
    let clickhouse = ClickHouse::start();
    let brokers = format!("127.0.0.1:{}", free_port());
    let dabi = pipeline(variant, &brokers, &clickhouse, &PACKAGES);
    let broker = dabi.start(&["broker", "--listen", &brokers]);
    wait_until("the broker listens", LIMIT, || broker.output().contains("Kafka on"));
    succeed(&dabi, &["capture", "play", capture(variant).as_str(), "--brokers", &brokers]);
    succeed(&dabi, &["run", "--until-caught-up"]);
    judge(variant, &dabi, &clickhouse);
}

pub(crate) fn capture(variant: &str) -> String {
    folder(variant).to_str().expect("a path of text").to_owned()
}

/// A pipeline of its own database, lake and transforms.
pub(crate) fn pipeline(variant: &str, brokers: &str, clickhouse: &ClickHouse, packages: &[&str]) -> Dabi {
    let dabi = Dabi::new(&format!(
        "pipeline = \"{variant}\"\n\
         [kafka]\nbrokers = \"{brokers}\"\ntopics = [\"^cdc_{variant}[.]\", \"^__debezium-heartbeat[.]cdc_{variant}$\"]\n\
         [lake]\nurl = \"lake\"\n\
         [warehouse]\nurl = \"{}\"\ndatabase = \"{variant}\"\npassword = \"{}\"\n\
         [web]\nlisten = \"127.0.0.1:0\"\n",
        clickhouse.url(),
        ClickHouse::PASSWORD,
    ));
    let modules = dabi.home().join("transforms");
    std::fs::create_dir(&modules).expect("make the folder of transforms");
    for package in packages {
        std::fs::write(modules.join(format!("{package}.wasm")), guests::wasm(package))
            .expect("write a module");
    }
    dabi
}

fn succeed(dabi: &Dabi, arguments: &[&str]) {
    let mut process = dabi.start(arguments);
    let status = process.wait(LIMIT);
    assert!(status.success(), "dabi {arguments:?}: {status}\n{}", process.log());
}

/// Plays `variant` and judges what the `guests` make of it: from the events, and,
/// without row state, from the lake alone.
fn judge_with_and_without_state(
    variant: &str,
    brokers: &str,
    clickhouse: &ClickHouse,
    guests: &[&str],
    judge: impl Fn(&Dabi),
) {
    let dabi = pipeline(variant, brokers, clickhouse, guests);
    succeed(&dabi, &["capture", "play", capture(variant).as_str(), "--brokers", brokers]);
    let run = || {
        succeed(&dabi, &["run", "--until-caught-up"]);
        judge(&dabi);
        expect_no_letters(variant, clickhouse);
    };
    run();
    std::fs::remove_dir_all(dabi.home().join(".dabi/state")).expect("remove the state");
    run();
}

fn expect_no_letters(variant: &str, clickhouse: &ClickHouse) {
    let dead = clickhouse.query(&format!("SELECT transform, message FROM {variant}._dead_letters"));
    assert_eq!(dead, "", "{variant}: dead letters");
}

fn judge(variant: &str, dabi: &Dabi, clickhouse: &ClickHouse) {
    let mut failures = String::new();
    for (source, view, holds) in TRANSFORMS {
        failures += &judge_star(variant, &table(source), view, clickhouse);
        let wrong = format!("SELECT count() FROM {variant}.{view} WHERE NOT ifNull({holds}, 0)");
        assert_eq!(clickhouse.query(&wrong).trim(), "0", "{variant} {view}: rows against {holds}");
    }
    failures += &block_on(judge_lake(variant, &dabi.home().join("lake")));
    assert!(failures.is_empty(), "{failures}");
}

/// What differs between a view and its source, a line each.
fn judge_star(variant: &str, source: &Table, view: &str, clickhouse: &ClickHouse) -> String {
    let described = clickhouse.query(&format!("DESCRIBE TABLE {variant}.{view}"));
    let names: BTreeSet<&str> = described.lines().filter_map(|line| line.split('\t').next()).collect();
    let columns: Vec<_> = source.all_columns().into_iter().filter(|(name, _)| names.contains(name)).collect();
    assert!(columns.len() * 2 > source.columns.len(), "{view} has {names:?}");
    let rows = select(clickhouse, variant, view, &columns);
    let differences = Truth::load(source.name).differences(&rows, &columns);
    let excused: Vec<Exception> = EXCEPTIONS.iter().chain(STAR).copied().collect();
    let left = unexcused(variant, source.name, &differences, &excused);
    left.iter().map(|difference| format!("{variant}, view {view}: {difference}\n")).collect()
}

fn select(clickhouse: &ClickHouse, database: &str, view: &str, columns: &[(&str, &str)]) -> Vec<RecordBatch> {
    // ClickHouse's Arrow form of a UUID has its halves turned round
    let column = |name: &str| match name {
        "c_uuid" => "toString(c_uuid) AS c_uuid".to_owned(),
        "c_uuid_arr" => "arrayMap(uuid -> toString(uuid), c_uuid_arr) AS c_uuid_arr".to_owned(),
        name => name.to_owned(),
    };
    let columns: Vec<String> = columns.iter().map(|(name, _)| column(name)).collect();
    clickhouse.query_arrow(&format!("SELECT {} FROM {database}.{view}", columns.join(", ")))
}

/// What differs between the lake and the capture, or between its fold and the
/// source, a line each.
async fn judge_lake(variant: &str, path: &Path) -> String {
    let lake = Lake::open(&LakeSettings::at(path.to_str().expect("a path of text"))).expect("open the lake");
    let mut failures = String::new();
    let manifests = manifests(&lake).await;
    for topic in topics(variant) {
        failures += &unaccounted(&manifests, &topic, records(variant, &topic).len() as u64);
    }
    for table in tables() {
        failures += &doubled(&events(&lake, &SourceTable::new("shop", table.name)).await);
        failures += &differences_of_fold(&lake, variant, &table).await;
    }
    failures
}
