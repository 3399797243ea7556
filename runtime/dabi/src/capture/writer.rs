//! Writing records to a Kafka: acknowledged, and no further ahead of the reader
//! than it may be.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use dabi_core::position::{Offset, Position, Topic, TopicPartition};
use rdkafka::client::Client;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::util::Timeout;
use rdkafka::{ClientConfig, ClientContext, Message as _};

use super::line::Line;
use super::pace::{Outstanding, Pace};

/// How long a broker may take to answer.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// How often a reader that is waited for is asked how far it is.
const ASK_INTERVAL: Duration = Duration::from_millis(50);
/// How many records may go by before a failed delivery is noticed.
const CHECK_EVERY: u64 = 1000;

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

/// Writes records; blocks while the reader is too far behind.
pub struct Writer<'a> {
    producer: BaseProducer<Deliveries>,
    deliveries: Deliveries,
    pace: &'a Pace<'a>,
    outstanding: Outstanding,
    written: u64,
}

impl<'a> Writer<'a> {
    /// A writer to the Kafka that `client` configures.
    ///
    /// # Errors
    /// If the configuration is refused.
    pub fn new(client: &ClientConfig, pace: &'a Pace<'a>) -> anyhow::Result<Self> {
        let deliveries = Deliveries::default();
        let mut config = client.clone();
        config
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("message.max.bytes", "10485760")
            .set("queue.buffering.max.kbytes", "65536");
        let producer = config.create_with_context(deliveries.clone()).context("make a producer")?;
        Ok(Self { producer, deliveries, pace, outstanding: Outstanding::default(), written: 0 })
    }

    pub(super) fn client(&self) -> &Client<impl ClientContext + use<>> {
        self.producer.client()
    }

    /// Writes a record and gives its bytes; calls `waits`, with the time since
    /// when, as long as the reader must be waited for.
    ///
    /// # Errors
    /// If the record is refused, an earlier one was not taken, or the reader
    /// has ended.
    pub fn write(
        &mut self,
        topic: &Topic,
        line: &Line,
        waits: &mut dyn FnMut(Duration),
    ) -> anyhow::Result<u64> {
        let size = size_of(line);
        if let Pace::Reader(position) = self.pace {
            let partition = TopicPartition::new(Arc::clone(topic), line.partition);
            self.wait_until(position, waits, |outstanding| outstanding.admits(&partition, size))?;
            let client = self.producer.client();
            self.outstanding.written(&partition, size, || {
                let (_, end) = client.fetch_watermarks(topic, partition.partition, ANSWER_WITHIN)?;
                Ok::<_, KafkaError>(Offset(end))
            })?;
        }
        self.send(topic, line)?;
        self.written += 1;
        if self.written.is_multiple_of(CHECK_EVERY) {
            self.check_deliveries()?;
        }
        Ok(u64::try_from(size).unwrap_or(u64::MAX))
    }

    /// Hands on what waits to be sent; call it now and then when nothing is written.
    ///
    /// # Errors
    /// If a record was not taken.
    pub fn poll(&self) -> anyhow::Result<()> {
        self.producer.poll(Duration::ZERO);
        self.check_deliveries()
    }

    /// Waits until every record is acknowledged.
    ///
    /// # Errors
    /// If one was not taken.
    pub fn flush(&self) -> anyhow::Result<()> {
        // Bounded by message.timeout.ms: each record is acknowledged or fails.
        self.producer.flush(Timeout::Never).context("wait for the last acknowledgements")?;
        self.check_deliveries()
    }

    /// Waits until the reader has every record.
    ///
    /// # Errors
    /// If one was not taken, or the reader has ended.
    pub fn wait_for_reader(&mut self) -> anyhow::Result<()> {
        self.flush()?;
        let Pace::Reader(position) = self.pace else { return Ok(()) };
        self.wait_until(position, &mut |_| (), Outstanding::is_empty)
    }

    fn wait_until(
        &mut self,
        position: &dyn Fn() -> anyhow::Result<Position>,
        waits: &mut dyn FnMut(Duration),
        done: impl Fn(&Outstanding) -> bool,
    ) -> anyhow::Result<()> {
        let since = Instant::now();
        while !done(&self.outstanding) {
            self.outstanding.read(&position()?);
            if done(&self.outstanding) {
                break;
            }
            self.producer.poll(ASK_INTERVAL);
            self.check_deliveries()?;
            waits(since.elapsed());
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
}

fn size_of(line: &Line) -> usize {
    let bytes = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
    let headers: usize = line.headers.iter().map(|(name, value)| name.len() + bytes(&value.0)).sum();
    bytes(&line.key) + bytes(&line.value) + headers
}
