//! The live loop: what is saved in the transforms' folder of a running dabi is
//! taken up, or told and not taken up, and no event is lost or doubled by it.

mod kills;
mod letters;
mod modules;
mod sources;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dabi::broker::EmbeddedBroker;
use rdkafka::ClientConfig;
use serde_json::Value;

use crate::support::clickhouse::ClickHouse;
use crate::support::dabi::Dabi;
use crate::support::load::{Load, Outcome, PARCELS_TOPIC, PARTITIONS, STAR, TOPIC};
use crate::support::process::Process;
use crate::support::{free_port, wait_until};

pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// The embedded broker keeps all of what the longest test sends.
const EVENTS_PER_SECOND: u32 = 500;

/// An embedded broker and engine, and a dabi between them.
pub(crate) struct World {
    broker: EmbeddedBroker,
    pub(crate) clickhouse: ClickHouse,
    pub(crate) dabi: Dabi,
    web: String,
}

impl World {
    pub(crate) fn new() -> Self {
        let (broker, clickhouse) = (EmbeddedBroker::start().expect("a broker"), ClickHouse::start());
        for topic in [TOPIC, PARCELS_TOPIC] {
            broker.create_topic(topic, PARTITIONS).expect("a topic");
        }
        let web = format!("127.0.0.1:{}", free_port());
        let dabi = Dabi::new(&format!(
            "[kafka]\nbrokers = '{}'\ntopics = ['{TOPIC}', '{PARCELS_TOPIC}']\n\
             [lake]\nurl = 'lake'\n\
             [warehouse]\nurl = '{}'\npassword = '{}'\n\
             [limits.lake]\nflush_age_ms = 500\n\
             [web]\nlisten = '{web}'\n",
            broker.address(),
            clickhouse.url(),
            ClickHouse::PASSWORD,
        ));
        std::fs::create_dir(dabi.home().join("transforms")).expect("make the transforms' folder");
        Self { broker, clickhouse, dabi, web }
    }

    /// Starts dabi and waits until events flow.
    pub(crate) fn run(&self) -> Process {
        let process = self.dabi.start(&["run"]);
        wait_until("dabi is ready", LIMIT, || self.report().is_some_and(|report| report["ready"] == true));
        process
    }

    fn load(&self, seed: u64) -> Load {
        Load::start(self.client(), EVENTS_PER_SECOND, seed)
    }

    fn load_with_parcels(&self, seed: u64) -> Load {
        Load::with_parcels(self.client(), EVENTS_PER_SECOND, seed)
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", self.broker.address());
        client
    }

    /// A file of the transforms' folder.
    pub(crate) fn transform(&self, name: &str) -> PathBuf {
        self.dabi.home().join("transforms").join(name)
    }

    /// What `/readyz` says; `None` while nobody listens.
    fn report(&self) -> Option<Value> {
        serde_json::from_str(&self.get("/readyz")?).ok()
    }

    /// What it says of the transform that came from `entry`.
    fn report_of(&self, entry: &str) -> Value {
        let report = self.report().unwrap_or_default();
        let transforms = report["transforms"].as_array().cloned().unwrap_or_default();
        transforms.into_iter().find(|transform| transform["entry"] == entry).unwrap_or_default()
    }

    /// Waits until the transform that came from `entry` is in `state` and gives
    /// what is said of it.
    pub(crate) fn wait_for(&self, entry: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut report = Value::Null;
        wait_until(&format!("{entry} {what}"), LIMIT, || {
            report = self.report_of(entry);
            is_so(&report)
        });
        report
    }

    /// The value of a counter.
    fn counter(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").expect("dabi serves metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0, |value| value.trim().parse().expect("a count"))
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.web).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: dabi\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }

    /// Waits until the star is what the source's events fold to.
    fn expect_star(&self, outcome: &Outcome) {
        let expected = outcome.star();
        wait_until("the star equals the source", LIMIT, || self.clickhouse.query(STAR) == expected);
        assert_eq!(self.clickhouse.query("SELECT count() FROM dabi._dead_letters").trim(), "0");
    }

    /// What `_dabi_epochs` says of the modules whose tables are all their own.
    fn claimed(&self) -> String {
        self.clickhouse.query("SELECT modules FROM dabi._dabi_epochs ORDER BY term DESC, epoch DESC LIMIT 1")
    }
}

/// Puts `bytes` to `path` as editors and toolchains do: under another name first.
pub(crate) fn put(path: &Path, bytes: &[u8]) {
    let part = path.with_file_name(".part");
    std::fs::write(&part, bytes).expect("write a file");
    std::fs::rename(&part, path).expect("rename a file");
}

/// The same module to the engine, another to dabi: a custom section is appended.
pub(crate) fn variant(module: &[u8], number: u8) -> Vec<u8> {
    let mut bytes = module.to_vec();
    bytes.extend([0, 3, 1, b'v', number]);
    bytes
}
