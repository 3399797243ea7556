//! The shop through dabi: its events become the star that it says they make.

use std::collections::HashMap;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use dabi::capture::{HeaderValue, Line, TimestampKind};
use dabi_shop::{Envelopes, HISTORY, Micros, Record, Settings, Shop, Table, Target, Wire};
use flate2::Compression;
use flate2::write::GzEncoder;

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
    }
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
