//! A capture as topics of a Kafka.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use dabi_core::position::{Offset, Position, Topic, TopicPartition};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, ClientContext, Message as _, TopicPartitionList};

use super::files::{TopicFile, topic_files};
use super::line::Line;
use super::pace::{Outstanding, Pace};
use crate::broker::{AUTO_PARTITIONS, is_embedded};

/// How long a broker may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often a reader that is waited for is asked how far it is.
const ASK_INTERVAL: Duration = Duration::from_millis(50);

/// Where a player is.
#[derive(Clone, Copy, Debug)]
pub struct Progress<'a> {
    /// The topic being played.
    pub topic: &'a str,
    /// Records written, over all topics.
    pub records: u64,
    /// Since when the reader is waited for; `None` if it is not.
    pub waiting: Option<Duration>,
}

/// What was played.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Played {
    /// How many topics.
    pub topics: usize,
    /// How many records.
    pub records: u64,
    /// Bytes of keys, values and headers.
    pub bytes: u64,
}

/// Writes the capture in `dir` to the Kafka that `client` configures (from
/// [`KafkaSettings::client_config`](crate::source::KafkaSettings::client_config)),
/// topic by topic, and returns once the broker has acknowledged every record.
///
/// Topics that do not exist are created with the capture's number of
/// partitions and without retention by age (the records keep their old
/// timestamps). Blocks: not for a thread of an async runtime.
///
/// # Errors
/// If the capture cannot be read, the broker does not answer, a topic has too
/// few partitions, or a record is refused.
pub fn play(
    dir: &Path,
    client: &ClientConfig,
    pace: &Pace<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> anyhow::Result<Played> {
    let files = topic_files(dir)?;
    let deliveries = Deliveries::default();
    let mut config = client.clone();
    config
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "10")
        .set("message.max.bytes", "10485760")
        .set("queue.buffering.max.kbytes", "65536");
    let producer: BaseProducer<Deliveries> =
        config.create_with_context(deliveries.clone()).context("make a producer")?;
    create_topics(client, producer.client(), &files)?;
    let mut player = Player {
        producer,
        deliveries,
        pace,
        outstanding: Outstanding::default(),
        played: Played { topics: files.len(), ..Played::default() },
    };
    for file in &files {
        player.play_topic(file, progress).with_context(|| format!("play topic {}", file.topic))?;
    }
    player.finish()
}

/// The position of the reader that commits under `group`, for [`Pace::Reader`]:
/// how a player keeps behind a dabi in another process.
///
/// # Errors
/// If no client can be made.
pub fn committed_position(
    client: &ClientConfig,
    group: &str,
    files: &[TopicFile],
) -> anyhow::Result<impl Fn() -> anyhow::Result<Position> + use<>> {
    let mut config = client.clone();
    config.set("group.id", group).set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().context("make a consumer")?;
    let mut wanted = TopicPartitionList::new();
    for file in files {
        wanted.add_partition_range(&file.topic, 0, file.partitions - 1);
    }
    Ok(move || {
        let committed =
            consumer.committed_offsets(wanted.clone(), ANSWER_WITHIN).context("ask how far the reader is")?;
        let mut position = Position::default();
        for element in committed.elements() {
            if let rdkafka::Offset::Offset(next) = element.offset() {
                position.set(&element.topic().into(), element.partition(), Offset(next));
            }
        }
        Ok(position)
    })
}

/// Is the broker that `client` configures an embedded one, whose writers must be paced?
///
/// # Errors
/// If it does not answer.
pub fn needs_pace(client: &ClientConfig) -> anyhow::Result<bool> {
    let producer: BaseProducer = client.create().context("make a client")?;
    let client = producer.client();
    client.fetch_metadata(None, ANSWER_WITHIN).context("no Kafka broker answers: check --brokers")?;
    Ok(client.fetch_cluster_id(ANSWER_WITHIN).is_some_and(|id| is_embedded(&id)))
}

/// The first delivery that failed.
#[derive(Clone, Default)]
struct Deliveries {
    failed: Arc<Mutex<Option<String>>>,
}

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if let Err((error, record)) = result {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            let (topic, partition) = (record.topic(), record.partition());
            failed.get_or_insert_with(|| format!("{topic}[{partition}]: {error}"));
        }
    }
}

struct Player<'a> {
    producer: BaseProducer<Deliveries>,
    deliveries: Deliveries,
    pace: &'a Pace<'a>,
    outstanding: Outstanding,
    played: Played,
}

impl Player<'_> {
    fn play_topic(&mut self, file: &TopicFile, progress: &mut dyn FnMut(Progress<'_>)) -> anyhow::Result<()> {
        let topic: Topic = file.topic.as_str().into();
        for line in file.lines()? {
            let line = line?;
            let size = size_of(&line);
            let partition = TopicPartition::new(Arc::clone(&topic), line.partition);
            if let Pace::Reader(position) = self.pace {
                self.wait_for_reader(&partition, size, position, progress)?;
                let client = self.producer.client();
                self.outstanding.written(&partition, size, || {
                    let (_, end) =
                        client.fetch_watermarks(&partition.topic, partition.partition, ANSWER_WITHIN)?;
                    Ok::<_, KafkaError>(Offset(end))
                })?;
            }
            self.send(&topic, &line)?;
            self.played.records += 1;
            self.played.bytes += u64::try_from(size).unwrap_or(u64::MAX);
            if self.played.records.is_multiple_of(1000) {
                self.check_deliveries()?;
                progress(Progress { topic: &topic, records: self.played.records, waiting: None });
            }
        }
        progress(Progress { topic: &topic, records: self.played.records, waiting: None });
        Ok(())
    }

    fn wait_for_reader(
        &mut self,
        partition: &TopicPartition,
        size: usize,
        position: &dyn Fn() -> anyhow::Result<Position>,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> anyhow::Result<()> {
        let since = Instant::now();
        while !self.outstanding.admits(partition, size) {
            self.outstanding.read(&position()?);
            if self.outstanding.admits(partition, size) {
                break;
            }
            self.producer.poll(ASK_INTERVAL);
            self.check_deliveries()?;
            let waiting = Some(since.elapsed());
            progress(Progress { topic: &partition.topic, records: self.played.records, waiting });
        }
        Ok(())
    }

    fn send(&self, topic: &str, line: &Line) -> anyhow::Result<()> {
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(line.partition);
        record.key = line.key.as_deref();
        record.payload = line.value.as_deref();
        if line.timestamp_ms >= 0 {
            record = record.timestamp(line.timestamp_ms);
        }
        if !line.headers.is_empty() {
            let headers = line.headers.iter().fold(OwnedHeaders::new(), |headers, (key, value)| {
                headers.insert(Header { key, value: value.0.as_deref() })
            });
            record = record.headers(headers);
        }
        loop {
            self.producer.poll(Duration::ZERO);
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(ASK_INTERVAL);
                    self.check_deliveries()?;
                }
                Err((error, _)) => {
                    bail!("record {} of partition {}: {error}", line.offset, line.partition)
                }
            }
        }
    }

    fn check_deliveries(&self) -> anyhow::Result<()> {
        let failed = self.deliveries.failed.lock().unwrap_or_else(PoisonError::into_inner).take();
        match failed {
            Some(failed) => bail!("the broker did not take a record: {failed}"),
            None => Ok(()),
        }
    }

    fn finish(self) -> anyhow::Result<Played> {
        // Bounded by message.timeout.ms: each record is acknowledged or fails.
        self.producer.flush(Timeout::Never).context("wait for the last acknowledgements")?;
        self.check_deliveries()?;
        Ok(self.played)
    }
}

fn size_of(line: &Line) -> usize {
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = line.headers.iter().map(|(name, value)| name.len() + bytes(&value.0)).sum();
    bytes(&line.key) + bytes(&line.value) + headers
}

fn create_topics<C: ClientContext>(
    config: &ClientConfig,
    client: &Client<C>,
    files: &[TopicFile],
) -> anyhow::Result<()> {
    let there =
        client.fetch_metadata(None, ANSWER_WITHIN).context("no Kafka broker answers: check --brokers")?;
    let there: BTreeMap<&str, usize> =
        there.topics().iter().map(|topic| (topic.name(), topic.partitions().len())).collect();
    let mut missing = Vec::new();
    for file in files {
        match there.get(file.topic.as_str()) {
            None => missing.push(file),
            Some(have) => ensure!(
                usize::try_from(file.partitions).is_ok_and(|needed| needed <= *have),
                "topic {} has {have} partitions, the capture {}: delete the topic, or raise its partitions",
                file.topic,
                file.partitions
            ),
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    if client.fetch_cluster_id(ANSWER_WITHIN).is_some_and(|id| is_embedded(&id)) {
        return have_topics_made(client, &missing);
    }
    let admin: AdminClient<DefaultClientContext> = config.create().context("make an admin client")?;
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .map(|file| {
            NewTopic::new(&file.topic, file.partitions, TopicReplication::Fixed(-1))
                .set("retention.ms", "-1")
                .set("max.message.bytes", "10485760")
        })
        .collect();
    let options =
        AdminOptions::new().request_timeout(Some(ANSWER_WITHIN)).operation_timeout(Some(ANSWER_WITHIN));
    let results =
        futures::executor::block_on(admin.create_topics(&topics, &options)).context("create topics")?;
    for result in results {
        if let Err((topic, error)) = result {
            bail!("create topic {topic}: {error}");
        }
    }
    Ok(())
}

/// The embedded broker takes no request to create topics; it creates those
/// that are asked for, always with the same number of partitions.
fn have_topics_made<C: ClientContext>(client: &Client<C>, missing: &[&TopicFile]) -> anyhow::Result<()> {
    for TopicFile { topic, partitions, .. } in missing {
        ensure!(
            *partitions <= AUTO_PARTITIONS,
            "topic {topic} needs {partitions} partitions, more than the embedded broker gives by itself: \
             start it with --topic {topic}:{partitions}"
        );
        client.fetch_metadata(Some(topic), ANSWER_WITHIN).with_context(|| format!("create topic {topic}"))?;
    }
    Ok(())
}
