//! The shop at work: transactions at a rate, written to Kafka as Debezium would.
//!
//! Invariants: at most a second of missed transactions is made up for, so that
//! a reader who was away is not met by a flood; and when the shop is closed the
//! reader has everything it ever wrote.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use dabi_core::position::{Position, Topic};
use dabi_shop::{Envelopes, HISTORY, Micros, Record, Settings, Shop, Transaction, Wire};
use rdkafka::ClientConfig;
use tokio_util::sync::CancellationToken;

use crate::capture::{HeaderValue, Line, Pace, TimestampKind, Writer};

/// The prefix of the shop's topics.
const PREFIX: &str = "shop";
/// How much of what was missed is made up for.
const CATCH_UP_MAX: Duration = Duration::from_secs(1);
/// A longer pause would show in the latency of what is written next.
const PAUSE_MAX: Duration = Duration::from_millis(2);

/// A shop that is not open yet.
pub struct Seller {
    shop: Shop,
    envelopes: Envelopes,
    wire: Wire,
    rate: u32,
}

/// What came of it.
pub struct Sold {
    /// The shop as it was closed.
    pub shop: Shop,
    /// Change events since the opening, which is a snapshot and not among them.
    pub events: u64,
    /// How long it was open.
    pub open: Duration,
}

impl Seller {
    /// A shop that makes `rate` change events a second (0: as fast as the reader
    /// reads); with `schemas`, each record carries its schema.
    #[must_use]
    pub fn new(seed: u64, schemas: bool, rate: u32) -> Self {
        let wire = Wire { schemas, ..Wire::default() };
        let shop = Shop::new(seed, Settings { history: HISTORY, ..Settings::default() });
        Self { shop, envelopes: Envelopes::new(PREFIX, wire), wire, rate }
    }

    /// The topics that it writes to, with their partitions.
    pub fn topics(&self) -> impl Iterator<Item = (&str, i32)> {
        let partitions = i32::try_from(self.wire.partitions).unwrap_or(i32::MAX);
        self.envelopes.topics().map(move |topic| (topic, partitions))
    }

    /// Opens the shop, waits until `reader` has its tables, says so, sells until
    /// `stop`, and waits until `reader` has everything. Blocks.
    ///
    /// # Errors
    /// If Kafka does not take a record, or the reader has ended.
    pub fn run(
        mut self,
        client: &ClientConfig,
        reader: &dyn Fn() -> anyhow::Result<Position>,
        open: impl FnOnce(),
        stop: &CancellationToken,
    ) -> anyhow::Result<Sold> {
        let pace = Pace::Reader(reader);
        let mut writer = Writer::new(client, &pace)?;
        let opening = self.shop.open(now());
        self.write(&opening, &mut writer)?;
        writer.wait_for_reader().context("bring the shop's tables to the star")?;

        open();
        let opened = Instant::now();
        let (mut schedule, mut events) = (Schedule::new(self.rate, opened), 0);
        while !stop.is_cancelled() {
            let wait = schedule.wait(Instant::now());
            if !wait.is_zero() {
                writer.poll()?;
                std::thread::sleep(wait.min(PAUSE_MAX));
                continue;
            }
            let transaction = self.shop.transact(now());
            schedule.done(transaction.events());
            events += transaction.events();
            self.write(&transaction, &mut writer)?;
        }
        let open = opened.elapsed();
        writer.wait_for_reader().context("bring the last events to the star")?;
        Ok(Sold { shop: self.shop, events, open })
    }

    fn write(&self, transaction: &Transaction, writer: &mut Writer<'_>) -> anyhow::Result<()> {
        for record in self.envelopes.records(transaction) {
            let topic = Topic::clone(&record.topic);
            writer.write(&topic, &line(record), &mut |_| ())?;
        }
        Ok(())
    }
}

fn line(record: Record) -> Line {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let header =
        |(name, value): (&str, std::sync::Arc<str>)| (name.to_owned(), HeaderValue(Some(bytes(&value))));
    Line {
        partition: record.partition,
        // Given by the broker.
        offset: 0,
        timestamp_ms: record.timestamp_ms,
        timestamp_kind: Some(TimestampKind::Create),
        key: record.key.as_deref().map(bytes),
        value: record.value.map(String::into_bytes),
        headers: record.headers.into_iter().map(header).collect(),
    }
}

fn now() -> Micros {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// When the next transaction is due. Pure: time is an argument.
struct Schedule {
    rate: u32,
    /// When the next event is due.
    next: Instant,
}

impl Schedule {
    fn new(rate: u32, now: Instant) -> Self {
        Self { rate, next: now }
    }

    /// How long until the next transaction; zero: now.
    fn wait(&mut self, now: Instant) -> Duration {
        if self.rate == 0 {
            return Duration::ZERO;
        }
        if let Some(oldest) = now.checked_sub(CATCH_UP_MAX) {
            self.next = self.next.max(oldest);
        }
        self.next.saturating_duration_since(now)
    }

    /// A transaction of so many events was made.
    fn done(&mut self, events: u64) {
        if self.rate > 0 {
            let events = u32::try_from(events).unwrap_or(u32::MAX);
            self.next += Duration::from_secs(1) * events / self.rate;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many of `per_call` events are made within `time` from `from` on.
    fn made(schedule: &mut Schedule, from: Instant, time: Duration, per_call: u64) -> u64 {
        let mut events = 0;
        while schedule.wait(from + time).is_zero() {
            schedule.done(per_call);
            events += per_call;
        }
        events
    }

    #[test]
    fn a_rate_counts_events_and_not_transactions() {
        let start = Instant::now();
        let mut schedule = Schedule::new(1000, start);
        assert!((500..=507).contains(&made(&mut schedule, start, Duration::from_millis(500), 7)));
        assert!(schedule.wait(start + Duration::from_millis(500)) <= Duration::from_millis(7));
    }

    #[test]
    fn an_absent_reader_is_not_met_by_a_flood() {
        let start = Instant::now();
        let mut schedule = Schedule::new(1000, start);
        assert!(made(&mut schedule, start, Duration::from_secs(60), 1) <= 1001);
    }

    #[test]
    fn without_a_rate_the_next_is_always_due() {
        let start = Instant::now();
        let mut schedule = Schedule::new(0, start);
        schedule.done(1_000_000);
        assert_eq!(schedule.wait(start), Duration::ZERO);
    }
}
