//! The shop through dabi: its events become the star that it says they make.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use dabi::capture::{HeaderValue, Line, TimestampKind};
use dabi_shop::{Envelopes, HISTORY, Micros, Record, Settings, Shop, Table, Target, Wire};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::support::clickhouse::ClickHouse;
use crate::support::dabi::Dabi;
use crate::support::{free_port, guests, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const START: Micros = Micros(1_764_000_000_000_000);
/// As many as the embedded broker keeps before anybody reads.
const TRANSACTIONS: i64 = 300;

#[test]
fn the_star_is_what_the_shop_expects() {
    let clickhouse = ClickHouse::start();
    for (database, schemas) in [("plain", false), ("typed", true)] {
        let brokers = format!("127.0.0.1:{}", free_port());
        let dabi = pipeline(database, &brokers, &clickhouse);
        let shop = sell(schemas, &dabi.home().join("capture"));
        let broker = dabi.start(&["broker", "--listen", &brokers]);
        wait_until("the broker listens", LIMIT, || broker.output().contains("Kafka on"));
        for arguments in
            [&["capture", "play", "capture", "--brokers", &brokers][..], &["run", "--until-caught-up"]]
        {
            let mut process = dabi.start(arguments);
            let status = process.wait(LIMIT);
            assert!(status.success(), "dabi {arguments:?}: {status}\n{}", process.log());
        }
        for target in Target::ALL {
            let mut expected: Vec<String> = shop.expected(target).iter().map(|row| row.join("|")).collect();
            expected.sort_unstable();
            assert!(expected.len() > 15, "{}: {} rows", target.name(), expected.len());
            assert_eq!(star(&clickhouse, database, target), expected, "{database}.{}", target.name());
        }
        if !schemas {
            is_verified(&dabi, &clickhouse, database);
        }
    }
}

/// The whole star can be verified, and what is tampered with is named.
fn is_verified(dabi: &Dabi, clickhouse: &ClickHouse, database: &str) {
    let (code, answer) = verify(dabi);
    assert_eq!((code, &answer["verdict"]), (0, &json!("equal")), "{answer:#}");
    let targets = answer["targets"].as_array().expect("a list of targets");
    assert_eq!(targets.len(), Target::ALL.len(), "{answer:#}");
    for target in targets {
        let name = target["target"].as_str().expect("a name");
        let rows = clickhouse.query(&format!("SELECT count() FROM {database}.{name}"));
        assert_eq!(
            (target["rows"].to_string(), target["expected"].to_string().as_str()),
            (rows.trim().into(), rows.trim())
        );
        assert!(target["exempt"].is_null(), "{target}");
    }

    let changed = [
        ("dim_products", "product_id", "valid_from + INTERVAL 1 SECOND AS valid_to", "valid_to IS NOT NULL"),
        ("f_orders", "order_id", "user_key + 1 AS user_key", "user_key IS NOT NULL"),
    ];
    let tampered = changed.map(|(name, key, value, which)| {
        let table = format!("{database}.{name}__g1 FINAL WHERE {which} AND _deleted = 0");
        let id = clickhouse.query(&format!("SELECT min({key}) FROM {table}")).trim().to_owned();
        let row = format!("{table} AND {key} = {id} ORDER BY ALL LIMIT 1");
        clickhouse.query(&format!("INSERT INTO {database}.{name}__g1 SELECT * REPLACE ({value}) FROM {row}"));
        (name, id)
    });
    let (code, answer) = verify(dabi);
    assert_eq!((code, &answer["verdict"]), (1, &json!("different")), "{answer:#}");
    let mut named = Vec::new();
    for target in answer["targets"].as_array().expect("a list of targets") {
        for difference in target["differences"].as_array().expect("a list of differences") {
            let key = difference["key"].as_str().and_then(|key| key.split(',').next()).expect("a key");
            assert!(difference["expected"].is_object() && difference["found"].is_object(), "{difference}");
            named.push((target["target"].as_str().expect("a name"), key.to_owned()));
        }
    }
    named.sort_unstable();
    assert_eq!(named, tampered, "{answer:#}");

    // A row that keeps versions is explained by its key alone, and each by the whole of its key.
    let [(name, id), _] = &tampered;
    let (code, output, log) = dabi.ask(&["explain", name, id, "--json"], LIMIT);
    let all: Value = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}\n{log}"));
    let older = all["older_versions"].as_array().expect("a list of versions").len();
    let versions =
        clickhouse.query(&format!("SELECT count() FROM {database}.{name} WHERE product_id = {id}"));
    assert_eq!((code, (older + 1).to_string().as_str()), (0, versions.trim()), "{all:#}");
    let history = all["history"].as_array().expect("a list of moments");
    assert!(
        history.len() > older && history[0]["row"]["valid_from"] != all["star"]["row"]["valid_from"],
        "{all:#}"
    );
    let key = format!("{id},{}", all["star"]["row"]["valid_from"].as_str().expect("a time"));
    let (code, output, log) = dabi.ask(&["explain", name, &key, "--json"], LIMIT);
    let one: Value = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}\n{log}"));
    assert_eq!(
        (code, &one["star"]["row"], &one["older_versions"]),
        (0, &all["star"]["row"], &json!([])),
        "{one:#}"
    );
}

fn verify(dabi: &Dabi) -> (i32, Value) {
    let (code, output, log) = dabi.ask(&["verify", "--json"], LIMIT);
    (code, serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}\n{log}")))
}

fn pipeline(database: &str, brokers: &str, clickhouse: &ClickHouse) -> Dabi {
    let dabi = Dabi::new(&format!(
        "pipeline = \"{database}\"\n\
         [kafka]\nbrokers = \"{brokers}\"\ntopics = [\"^cdc[.]\"]\n\
         [lake]\nurl = \"lake\"\n\
         [warehouse]\nurl = \"{}\"\ndatabase = \"{database}\"\npassword = \"{}\"\n\
         [web]\nlisten = \"127.0.0.1:0\"\n",
        clickhouse.url(),
        ClickHouse::PASSWORD,
    ));
    let modules = dabi.home().join("transforms");
    std::fs::create_dir(&modules).expect("make the folder of transforms");
    for target in Target::ALL {
        let name = target.name();
        std::fs::write(modules.join(format!("{name}.wasm")), guests::wasm(name)).expect("write a module");
    }
    dabi
}

/// A shop after a while, with a truncate on the way; what it sent is the
/// capture in `folder`.
fn sell(schemas: bool, folder: &Path) -> Shop {
    let settings = Settings { users: 60, products: 150, orders: 60, orders_max: 100, history: HISTORY };
    let mut shop = Shop::new(3, settings);
    let envelopes = Envelopes::new("cdc", Wire { schemas, ..Wire::default() });
    let mut capture = Capture::new(folder);
    capture.add(envelopes.records(&shop.open(START)));
    for n in 1..=TRANSACTIONS {
        let now = Micros(START.0 + n * 4_000);
        let transaction =
            if n == TRANSACTIONS / 2 { shop.truncate(Table::Orders, now) } else { shop.transact(now) };
        capture.add(envelopes.records(&transaction));
    }
    capture.finish();
    shop
}

/// The rows of a view, each as one text.
fn star(clickhouse: &ClickHouse, database: &str, target: Target) -> Vec<String> {
    let row = format!("arrayStringConcat({}, '|')", target.select());
    let answer = clickhouse.query(&format!("SELECT {row} FROM {database}.{}", target.name()));
    let mut rows: Vec<String> = answer.lines().map(str::to_owned).collect();
    rows.sort_unstable();
    rows
}

/// Files of a capture in the making.
struct Capture<'a> {
    folder: &'a Path,
    topics: HashMap<String, Vec<Vec<Line>>>,
}

impl<'a> Capture<'a> {
    fn new(folder: &'a Path) -> Self {
        Self { folder, topics: HashMap::new() }
    }

    fn add(&mut self, records: Vec<Record>) {
        for record in records {
            let partitions = self.topics.entry(record.topic.to_string()).or_default();
            let at = usize::try_from(record.partition).expect("a partition");
            partitions.resize_with(partitions.len().max(at + 1), Vec::new);
            let offset = i64::try_from(partitions[at].len()).expect("an offset");
            let headers = record.headers.iter();
            partitions[at].push(Line {
                partition: record.partition,
                offset,
                timestamp_ms: record.timestamp_ms,
                timestamp_kind: Some(TimestampKind::Create),
                key: record.key.map(|key| key.as_bytes().to_vec()),
                value: record.value.map(String::into_bytes),
                headers: headers
                    .map(|(name, value)| ((*name).to_owned(), HeaderValue(Some(value.as_bytes().to_vec()))))
                    .collect(),
            });
        }
    }

    fn finish(self) {
        std::fs::create_dir(self.folder).expect("make the capture's folder");
        for (topic, partitions) in self.topics {
            let file =
                std::fs::File::create(self.folder.join(format!("{topic}.jsonl.gz"))).expect("create a file");
            let mut file = GzEncoder::new(file, Compression::fast());
            for line in partitions.into_iter().flatten() {
                serde_json::to_writer(&mut file, &line).expect("write a record");
                file.write_all(b"\n").expect("write a record");
            }
            file.finish().expect("finish a file");
        }
    }
}
