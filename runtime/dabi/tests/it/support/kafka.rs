//! A real Kafka broker: the one node of the compose stack, its log in a temporary
//! folder.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::metadata::MetadataTopic;
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tempfile::TempDir;

use super::process::Server;
use super::{block_on, deploy, free_port, installed};

const PROBE_LIMIT: Duration = Duration::from_secs(1);
const ADMIN_LIMIT: Duration = Duration::from_secs(60);

/// The broker; ends, and its data with it, on drop.
pub(crate) struct Kafka {
    /// Its process, for outages.
    pub(crate) server: Server,
    brokers: String,
    _dir: TempDir,
}

impl Kafka {
    /// Starts an empty broker and waits until it answers.
    pub(crate) fn start() -> Self {
        let libraries = installed("DABI_TEST_KAFKA").join("libs");
        let dir = TempDir::with_prefix("dabi-kafka-").expect("make a folder for Kafka");
        let brokers = format!("127.0.0.1:{}", free_port());
        format_storage(dir.path());

        let (home, listen, controller_port) = (dir.path().to_owned(), brokers.clone(), free_port());
        let command = move || broker(&libraries, &home, &listen, controller_port);
        let probed = brokers.clone();
        let server = Server::start("kafka", dir.path(), command, move || answers(&probed));
        Self { server, brokers, _dir: dir }
    }

    /// What clients take as `bootstrap.servers`.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// The settings that every client of this broker needs.
    pub(crate) fn client(&self) -> ClientConfig {
        client(self.brokers())
    }

    /// A client that manages it.
    pub(crate) fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("make an admin client")
    }

    /// Gives a topic more partitions, so that there are `count`.
    pub(crate) fn add_partitions(&self, topic: &str, count: usize) {
        let options = AdminOptions::new().operation_timeout(Some(ADMIN_LIMIT));
        let (admin, partitions) = (self.admin(), NewPartitions::new(topic, count));
        let added = block_on(async { admin.create_partitions([&partitions], &options).await });
        for outcome in added.expect("reach the broker") {
            outcome.unwrap_or_else(|(topic, error)| panic!("add partitions to {topic}: {error}"));
        }
    }

    /// Deletes every record that a topic has, as its retention would.
    pub(crate) fn delete_records(&self, topic: &str) {
        let admin = self.admin();
        let metadata = admin.inner().fetch_metadata(Some(topic), ADMIN_LIMIT).expect("Kafka answers");
        let mut ends = TopicPartitionList::new();
        for partition in metadata.topics().iter().flat_map(MetadataTopic::partitions) {
            let end = Offset::End;
            ends.add_partition_offset(topic, partition.id(), end).expect("a partition and its end");
        }
        let deleted = block_on(async { admin.delete_records(&ends, &AdminOptions::new()).await });
        deleted.expect("reach the broker");
    }

    /// Makes a topic.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32) {
        let admin = self.admin();
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let made = block_on(async { admin.create_topics([&topic], &AdminOptions::new()).await });
        for outcome in made.expect("reach the broker") {
            outcome.unwrap_or_else(|(topic, error)| panic!("make topic {topic}: {error}"));
        }
    }
}

fn client(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    config
}

fn answers(brokers: &str) -> bool {
    let probe: BaseProducer = client(brokers).create().expect("make a client");
    probe.client().fetch_metadata(None, PROBE_LIMIT).is_ok_and(|metadata| !metadata.brokers().is_empty())
}

fn broker(libraries: &Path, home: &Path, brokers: &str, controller_port: u16) -> Command {
    let mut java = jvm(libraries);
    java.arg("kafka.Kafka").arg(deploy("kafka/server.properties"));
    // What the file says of a container, on this machine.
    for place in [
        format!("controller.quorum.voters=1@127.0.0.1:{controller_port}"),
        format!("listeners=BROKER://{brokers},CONTROLLER://127.0.0.1:{controller_port}"),
        format!("advertised.listeners=BROKER://{brokers}"),
        "log.dirs=data".to_owned(),
    ] {
        java.args(["--override", &place]);
    }
    java.current_dir(home);
    java
}

/// A JVM that starts fast rather than runs fast in the long term; what it runs
/// is yet to be said.
pub(super) fn jvm(libraries: &Path) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
    java.arg(format!("-Dlog4j2.configurationFile={}", deploy("kafka/log4j2.properties").display()));
    java.arg("-cp").arg(libraries.join("*"));
    java
}

/// All that `kafka-storage format` leaves behind that a broker asks for; a second
/// JVM for it would double the time to start.
fn format_storage(home: &Path) {
    let data = home.join("data");
    std::fs::create_dir(&data).expect("make Kafka's data folder");
    let identity = "version=1\ncluster.id=dabi-test-cluster-0001\nnode.id=1\n";
    std::fs::write(data.join("meta.properties"), identity).expect("write Kafka's identity");
}
