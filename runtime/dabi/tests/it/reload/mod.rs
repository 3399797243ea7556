//! The live loop: what is saved in the transforms' folder of a running dabi is
//! taken up, or told and not taken up, and no event is lost or doubled by it.

mod kills;
mod letters;
mod modules;
mod sources;

use std::path::{Path, PathBuf};
use std::time::Duration;

use dabi::broker::EmbeddedBroker;
use rdkafka::ClientConfig;

use crate::support::clickhouse::ClickHouse;
use crate::support::dabi::Dabi;
use crate::support::load::{Load, Outcome, PARCELS_TOPIC, PARTITIONS, STAR, TOPIC};
use crate::support::process::Process;
use crate::support::wait_until;
use crate::support::web::Web;

pub(crate) const LIMIT: Duration = Duration::from_secs(120);
/// The embedded broker keeps all of what the longest test sends.
const EVENTS_PER_SECOND: u32 = 500;

/// An embedded broker and engine, and a dabi between them.
pub(crate) struct World {
    broker: EmbeddedBroker,
    pub(crate) clickhouse: ClickHouse,
    pub(crate) dabi: Dabi,
    pub(crate) web: Web,
}

impl World {
    pub(crate) fn new() -> Self {
        let (broker, clickhouse) = (EmbeddedBroker::start().expect("a broker"), ClickHouse::start());
        for topic in [TOPIC, PARCELS_TOPIC] {
            broker.create_topic(topic, PARTITIONS).expect("a topic");
        }
        let web = Web::free();
        let dabi = Dabi::new(&format!(
            "[kafka]\nbrokers = '{}'\ntopics = ['{TOPIC}', '{PARCELS_TOPIC}']\n\
             [lake]\nurl = 'lake'\n\
             [warehouse]\nurl = '{}'\npassword = '{}'\n\
             [limits.lake]\nflush_age_ms = 500\n\
             [web]\nlisten = '{}'\n",
            broker.address(),
            clickhouse.url(),
            ClickHouse::PASSWORD,
            web.address(),
        ));
        std::fs::create_dir(dabi.home().join("transforms")).expect("make the transforms' folder");
        Self { broker, clickhouse, dabi, web }
    }

    /// Starts dabi and waits until events flow.
    pub(crate) fn run(&self) -> Process {
        let process = self.dabi.start(&["run"]);
        self.web.wait_until_ready();
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
