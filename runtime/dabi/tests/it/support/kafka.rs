//! A real Kafka broker: one node, KRaft, its log in a temporary folder.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, Producer};
use tempfile::TempDir;

use super::process::Server;
use super::{block_on, free_port, installed};

const PROBE_LIMIT: Duration = Duration::from_secs(1);

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
        configure(dir.path(), &brokers, free_port());

        let home = dir.path().to_owned();
        let command = move || broker(&libraries, &home);
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

    /// Makes a topic.
    pub(crate) fn create_topic(&self, name: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.client().create().expect("make an admin client");
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

/// A JVM that starts fast rather than runs fast in the long term.
fn broker(libraries: &Path, home: &Path) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"]);
    java.arg("-Dlog4j2.configurationFile=log4j2.properties");
    java.arg("-cp").arg(libraries.join("*"));
    java.args(["kafka.Kafka", "server.properties"]);
    java.current_dir(home);
    java
}

fn configure(home: &Path, brokers: &str, controller_port: u16) {
    let write = |name: &str, text: &str| {
        std::fs::write(home.join(name), text).unwrap_or_else(|error| panic!("write {name}: {error}"));
    };
    std::fs::create_dir(home.join("data")).expect("make Kafka's data folder");
    // All that `kafka-storage format` leaves behind that a broker asks for; a
    // second JVM for it would double the time to start.
    write("data/meta.properties", "version=1\ncluster.id=dabi-test-cluster-0001\nnode.id=1\n");
    write("log4j2.properties", LOGGING);
    write(
        "server.properties",
        &format!(
            "controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
             listeners=PLAINTEXT://{brokers},CONTROLLER://127.0.0.1:{controller_port}\n\
             advertised.listeners=PLAINTEXT://{brokers}\n\
             {SETTINGS}"
        ),
    );
}

const SETTINGS: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=data
num.partitions=3
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes=10485760
replica.fetch.max.bytes=10485760
log.retention.ms=-1
";

const LOGGING: &str = "\
status = warn
appender.err.type = Console
appender.err.name = ERR
appender.err.target = SYSTEM_ERR
appender.err.layout.type = PatternLayout
appender.err.layout.pattern = %d %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.err.ref = ERR
";
