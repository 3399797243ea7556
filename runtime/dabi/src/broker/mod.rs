//! The embedded Kafka broker: librdkafka's own cluster for tests, which speaks
//! the real protocol on loopback and keeps everything in memory.
//!
//! Owns its start, its topics, and the port through which other processes
//! reach it. Does not make it a real Kafka: it forgets without a word what
//! lies beyond 5 MB or 100,000 batches of a partition, so whoever writes to it
//! is paced by the reader (`capture::Pace`), and nothing survives its end.

mod listener;

use std::ffi::CString;

use anyhow::{Context as _, ensure};
use rdkafka::ClientConfig;
use rdkafka::producer::{DefaultProducerContext, Producer, ThreadedProducer};

pub use listener::Listener;

/// How many partitions the broker gives a topic that a client asks for and
/// nobody created.
pub const AUTO_PARTITIONS: i32 = 4;

/// The only broker of its cluster has this id.
const BROKER_ID: i32 = 1;

/// A running embedded broker; it ends when dropped.
pub struct EmbeddedBroker {
    // A client that has a cluster made for it owns that cluster. Its thread
    // takes away the log lines, which would pile up otherwise.
    owner: ThreadedProducer<DefaultProducerContext>,
    address: String,
}

impl EmbeddedBroker {
    /// Starts one on free loopback ports.
    ///
    /// # Errors
    /// If no port or thread can be had.
    pub fn start() -> anyhow::Result<Self> {
        let owner: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
            .set("test.mock.num.brokers", "1")
            .create()
            .context("start the embedded Kafka broker")?;
        let address = owner
            .client()
            .mock_cluster()
            .context("the embedded Kafka broker did not start")?
            .bootstrap_servers();
        Ok(Self { owner, address })
    }

    /// `host:port` where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// If it exists already.
    pub fn create_topic(&self, topic: &str, partitions: i32) -> anyhow::Result<()> {
        ensure!(partitions > 0, "topic {topic}: {partitions} partitions; it needs at least one");
        let cluster = self.owner.client().mock_cluster().context("the embedded Kafka broker has ended")?;
        cluster
            .create_topic(topic, partitions, 1)
            .with_context(|| format!("create topic {topic} on the embedded Kafka broker"))
    }

    /// Ends all connections and takes no new ones, or takes them again: an
    /// outage for tests. Records stay.
    ///
    /// # Errors
    /// If the broker has ended.
    pub fn set_reachable(&self, reachable: bool) -> anyhow::Result<()> {
        let cluster = self.owner.client().mock_cluster().context("the embedded Kafka broker has ended")?;
        let result = if reachable { cluster.broker_up(BROKER_ID) } else { cluster.broker_down(BROKER_ID) };
        result.context("change whether the embedded Kafka broker can be reached")
    }

    /// Makes the broker name `host:port` as its address, to which clients go
    /// after their first request.
    fn advertise(&self, host: &str, port: u16) -> anyhow::Result<()> {
        // librdkafka keeps it in a buffer of 128 bytes.
        ensure!(host.len() < 128, "the address to advertise is too long: {host}");
        let host = CString::new(host).context("the address to advertise contains a NUL")?;
        // SAFETY: `owner` was made with a cluster (checked in `start`), which
        // lives as long as it; librdkafka copies the name, under its lock.
        unsafe {
            let cluster = rdkafka_sys::rd_kafka_handle_mock_cluster(self.owner.client().native_ptr());
            rdkafka_sys::rd_kafka_mock_broker_set_host_port(cluster, BROKER_ID, host.as_ptr(), port.into());
        }
        Ok(())
    }
}

/// Is this the id of an embedded broker's cluster?
#[must_use]
pub fn is_embedded(cluster_id: &str) -> bool {
    cluster_id.starts_with("mockCluster")
}
