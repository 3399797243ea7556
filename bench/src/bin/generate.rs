//! Fills a topic with change events of the synthetic table: a number of them as
//! fast as the broker takes them, or at a rate, stamped with the present; or with
//! the rows of a dimension that it refers to.
//!
//! Owns the producer and the pace. Does not own the events (the library).
//!
//! Invariant: one thread renders a partition, so its order is the workload's;
//! a record that the broker did not take fails the run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser};
use dabi_bench::{Change, DimensionRow, Envelope, Op, PARTITIONS, Shard, Stamp};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};

/// Write synthetic Debezium change events to a topic
#[derive(Debug, Parser)]
struct Arguments {
    /// Kafka brokers, host:port
    #[arg(long)]
    brokers: String,
    /// Topic, created if missing; the part before the first dot is the connector's name
    #[arg(long)]
    topic: String,
    /// With the schema in every record, as `schemas.enable=true` does
    #[arg(long)]
    schema: bool,
    /// With the context headers that Debezium 3 puts on every record
    #[arg(long)]
    headers: bool,
    /// What the changes are drawn from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    amount: Amount,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Amount {
    /// Change events to write, as fast as possible
    #[arg(long, conflicts_with_all = ["rate", "seconds"])]
    events: Option<u64>,
    /// Change events a second, stamped with the present
    #[arg(long, requires = "seconds")]
    rate: Option<u32>,
    /// How long, with --rate
    #[arg(long = "for", requires = "rate", value_name = "SECONDS")]
    seconds: Option<u32>,
    /// Instead of order items: the rows of a dimension with this key, each once
    #[arg(long, requires = "rows", value_name = "COLUMN", conflicts_with_all = ["events", "rate"])]
    dimension: Option<String>,
    /// Rows of the dimension; their keys count from 1
    #[arg(long, requires = "dimension")]
    rows: Option<u32>,
    /// What the names of the dimension's rows begin with
    #[arg(long, requires = "dimension", default_value = "first")]
    label: String,
}

/// Bytes that librdkafka may hold for the broker.
const QUEUE_KBYTES: u32 = 128 << 10;
const DELIVERY_DEADLINE: Duration = Duration::from_secs(120);

#[derive(Default)]
struct Deliveries {
    failed: AtomicU64,
}

impl rdkafka::ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        if result.is_err() {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Topic {
    producer: BaseProducer<Deliveries>,
    name: String,
    headers: Option<OwnedHeaders>,
    envelope: Envelope,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    create_topic(&arguments)?;
    let topic = Arc::new(open(&arguments)?);
    let started = Instant::now();
    let records = match &arguments.amount {
        Amount { events: Some(events), .. } => fill(&topic, arguments.seed, *events)?,
        Amount { rate: Some(rate), seconds: Some(seconds), .. } => {
            pace(&topic, arguments.seed, *rate, *seconds)?
        }
        Amount { dimension: Some(key), rows: Some(rows), label, .. } => describe(&topic, key, *rows, label)?,
        _ => bail!("say --events N, --rate N --for SECONDS, or --dimension COLUMN --rows N"),
    };
    topic.producer.flush(DELIVERY_DEADLINE).context("wait for the broker to take every record")?;
    let failed = topic.producer.context().failed.load(Ordering::Relaxed);
    ensure!(failed == 0, "the broker refused {failed} records");
    println!("{}", serde_json::json!({ "records": records, "seconds": started.elapsed().as_secs_f64() }));
    Ok(())
}

fn create_topic(arguments: &Arguments) -> anyhow::Result<()> {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", &arguments.brokers)
        .create()
        .context("create admin client")?;
    let topic = NewTopic::new(&arguments.topic, PARTITIONS, TopicReplication::Fixed(1));
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    let created =
        futures::executor::block_on(admin.create_topics([&topic], &options)).context("create topic")?;
    for answer in created {
        match answer {
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => bail!("create topic {name}: {code}"),
        }
    }
    Ok(())
}

fn open(arguments: &Arguments) -> anyhow::Result<Topic> {
    let paced = arguments.amount.rate.is_some();
    let producer = ClientConfig::new()
        .set("bootstrap.servers", &arguments.brokers)
        .set("compression.codec", "lz4")
        .set("acks", "1")
        .set("linger.ms", if paced { "0" } else { "50" })
        .set("batch.size", "262144")
        .set("queue.buffering.max.kbytes", QUEUE_KBYTES.to_string())
        .create_with_context(Deliveries::default())
        .context("create producer")?;
    let connector = arguments.topic.split('.').next().unwrap_or(&arguments.topic);
    let envelope = match arguments.schema {
        true => Envelope::with_schema(arguments.seed, connector),
        false => Envelope::plain(arguments.seed, connector),
    };
    let headers = arguments.headers.then(|| context_headers(connector));
    Ok(Topic { producer, name: arguments.topic.clone(), headers, envelope })
}

fn context_headers(connector: &str) -> OwnedHeaders {
    let headers = [
        ("__debezium.context.connectorLogicalName", connector),
        ("__debezium.context.taskId", "0"),
        ("__debezium.context.connectorName", "postgresql"),
        ("__debezium.context.runId", "01a203ba-f804-7294-a356-3f721819cca8"),
    ];
    headers
        .iter()
        .fold(OwnedHeaders::new(), |all, (key, value)| all.insert(Header { key, value: Some(*value) }))
}

/// Writes `events` change events, each partition from a thread of its own;
/// gives the number of records, tombstones included.
fn fill(topic: &Arc<Topic>, seed: u64, events: u64) -> anyhow::Result<u64> {
    // The changes end at the present.
    let start_us = now_us() - i64::try_from(events).context("too many events")?;
    let threads: Vec<_> = (0..)
        .zip(Shard::split(seed, events))
        .map(|(partition, changes)| {
            let topic = Arc::clone(topic);
            std::thread::spawn(move || -> anyhow::Result<u64> {
                let (mut writer, mut records) = (Writer::default(), 0);
                for change in changes {
                    let committed = Stamp(start_us + i64::try_from(change.sequence)?);
                    records += writer.write(&topic, partition, &change, committed)?;
                }
                Ok(records)
            })
        })
        .collect();
    let mut records = 0;
    for thread in threads {
        records += thread.join().expect("a panic of a thread is one of the process")?;
    }
    Ok(records)
}

/// Writes `rate` change events a second for `seconds`.
fn pace(topic: &Topic, seed: u64, rate: u32, seconds: u32) -> anyhow::Result<u64> {
    let mut shards: Vec<(i32, Shard)> =
        (0..).zip((0..3).map(|partition| Shard::new(seed, partition, 0))).collect();
    let (mut writer, mut records) = (Writer::default(), 0);
    let start = Instant::now();
    for number in 0..rate * seconds {
        let due = start + Duration::from_secs(1) * number / rate;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        topic.producer.poll(Duration::ZERO);
        let (partition, shard) = &mut shards[number as usize % 3];
        let change = shard.next().expect("a shard has no end");
        records += writer.write(topic, *partition, &change, Stamp(now_us()))?;
    }
    Ok(records)
}

/// Writes the rows of a dimension, stamped with the present.
fn describe(topic: &Topic, key: &str, rows: u32, label: &str) -> anyhow::Result<u64> {
    let table = topic.name.rsplit('.').next().unwrap_or(&topic.name);
    let mut writer = Writer::default();
    for id in 1..=rows {
        let row = DimensionRow { table, key, id, label };
        topic.envelope.render_dimension(&row, Stamp(now_us()), &mut writer.key, &mut writer.value);
        let partition = i32::try_from(id % PARTITIONS.unsigned_abs())?;
        send(topic, partition, &writer.key, Some(&writer.value))?;
    }
    Ok(rows.into())
}

#[derive(Default)]
struct Writer {
    key: String,
    value: String,
}

impl Writer {
    /// Hands a change to the producer, a delete with its tombstone; gives the
    /// number of records.
    fn write(
        &mut self,
        topic: &Topic,
        partition: i32,
        change: &Change,
        committed: Stamp,
    ) -> anyhow::Result<u64> {
        topic.envelope.render_key(change.key, &mut self.key);
        topic.envelope.render_value(change, committed, &mut self.value);
        send(topic, partition, &self.key, Some(&self.value))?;
        if change.op != Op::Delete {
            return Ok(1);
        }
        send(topic, partition, &self.key, None)?;
        Ok(2)
    }
}

fn send(topic: &Topic, partition: i32, key: &str, value: Option<&str>) -> anyhow::Result<()> {
    let mut record = BaseRecord::to(&topic.name).partition(partition).key(key);
    record.payload = value;
    record.headers.clone_from(&topic.headers);
    while let Err((error, unsent)) = topic.producer.send(record) {
        if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
            return Err(error).context("produce");
        }
        topic.producer.poll(Duration::from_millis(10));
        record = unsent;
    }
    Ok(())
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_micros()).expect("the clock is before the year 290000")
}
