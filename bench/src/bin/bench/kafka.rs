//! A real Kafka broker: one node, KRaft, its log in the bench's folder.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, Producer};

use crate::process::{Process, Usage};

const READY_LIMIT: Duration = Duration::from_secs(60);
const PROBE_LIMIT: Duration = Duration::from_secs(1);

/// The broker; ends on drop.
pub(crate) struct Kafka {
    process: Process,
    brokers: String,
}

impl Kafka {
    /// Starts an empty broker from the jars in `<distribution>/libs` and waits
    /// until it answers.
    pub(crate) fn start(distribution: &Path, folder: &Path) -> anyhow::Result<Self> {
        let libraries = distribution.join("libs");
        ensure!(libraries.is_dir(), "{} does not exist: run `make setup-tests`", libraries.display());
        let brokers = format!("127.0.0.1:{}", free_port()?);
        configure(folder, &brokers)?;
        let mut process = Process::start("kafka", command(&libraries, folder), folder)?;
        let start = Instant::now();
        while !answers(&brokers)? {
            process.ensure_running()?;
            ensure!(start.elapsed() < READY_LIMIT, "Kafka does not answer within {READY_LIMIT:?}");
        }
        Ok(Self { process, brokers })
    }

    /// What clients take as `bootstrap.servers`.
    pub(crate) fn brokers(&self) -> &str {
        &self.brokers
    }

    /// What the broker has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }
}

/// A loopback port that nobody listens on at this moment.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0)).context("find a free port")?.local_addr()?.port())
}

fn answers(brokers: &str) -> anyhow::Result<bool> {
    let probe: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
    let metadata = probe.client().fetch_metadata(None, PROBE_LIMIT);
    Ok(metadata.is_ok_and(|metadata| !metadata.brokers().is_empty()))
}

fn command(libraries: &Path, folder: &Path) -> Command {
    let mut java = Command::new("java");
    java.args(["-Xms512m", "-Xmx1g", "-Dlog4j2.configurationFile=log4j2.properties", "-cp"]);
    java.arg(libraries.join("*")).args(["kafka.Kafka", "server.properties"]);
    java.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null());
    java
}

fn configure(folder: &Path, brokers: &str) -> anyhow::Result<()> {
    let controller = format!("127.0.0.1:{}", free_port()?);
    let write = |path: PathBuf, text: &str| {
        std::fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    std::fs::create_dir_all(folder.join("data")).context("create Kafka's data folder")?;
    // All of `kafka-storage format` that a broker asks for.
    write(folder.join("data/meta.properties"), "version=1\ncluster.id=dabi-bench-cluster-001\nnode.id=1\n")?;
    write(folder.join("log4j2.properties"), LOGGING)?;
    let settings = format!(
        "controller.quorum.voters=1@{controller}\n\
         listeners=PLAINTEXT://{brokers},CONTROLLER://{controller}\n\
         advertised.listeners=PLAINTEXT://{brokers}\n\
         {SETTINGS}"
    );
    write(folder.join("server.properties"), &settings)
}

const SETTINGS: &str = "\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=data
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
message.max.bytes=10485760
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
