//! A capture as topics of a Kafka.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use dabi_core::position::{Offset, Position, Topic};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::{Client, DefaultClientContext};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::producer::{BaseProducer, Producer};
use rdkafka::{ClientConfig, ClientContext, TopicPartitionList};

use super::files::{TopicFile, topic_files};
use super::pace::Pace;
use super::writer::{ANSWER_WITHIN, Writer};
use crate::broker::{AUTO_PARTITIONS, is_embedded};

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
    let mut writer = Writer::new(client, pace)?;
    create_topics(client, writer.client(), &files)?;
    let mut played = Played { topics: files.len(), ..Played::default() };
    for file in &files {
        play_topic(file, &mut writer, &mut played, progress)
            .with_context(|| format!("play topic {}", file.topic))?;
    }
    writer.flush()?;
    Ok(played)
}

fn play_topic(
    file: &TopicFile,
    writer: &mut Writer<'_>,
    played: &mut Played,
    progress: &mut dyn FnMut(Progress<'_>),
) -> anyhow::Result<()> {
    let topic: Topic = file.topic.as_str().into();
    for line in file.lines()? {
        let records = played.records;
        let mut waits = |since| progress(Progress { topic: &topic, records, waiting: Some(since) });
        played.bytes += writer.write(&topic, &line?, &mut waits)?;
        played.records += 1;
        if played.records.is_multiple_of(1000) {
            progress(Progress { topic: &topic, records: played.records, waiting: None });
        }
    }
    progress(Progress { topic: &topic, records: played.records, waiting: None });
    Ok(())
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
