//! A source that never rests: orders that are made, changed, deleted and made
//! again, as Debezium would send them, and what stands at the end.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

pub(crate) const TOPIC: &str = "cdc.shop.orders";
pub(crate) const PARTITIONS: i32 = 3;
/// Orders that live at a time, about.
const KEYS: u64 = 2_000;

/// By id: customer, status, total in cents.
pub(crate) type Orders = BTreeMap<u64, (u64, &'static str, u64)>;

/// The star that the transform `orders` makes of them.
pub(crate) const STAR: &str =
    "SELECT id, customer_id, status, toString(total) FROM dabi.f_orders ORDER BY id FORMAT TabSeparated";

/// A load that runs until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Outcome>,
}

/// What a load has done.
pub(crate) struct Outcome {
    /// The orders that stand.
    pub(crate) orders: Orders,
    /// Change events sent.
    pub(crate) events: u64,
    /// Tombstones sent beside them.
    pub(crate) tombstones: u64,
}

impl Load {
    /// Sends `per_second` events to the topic, seeded.
    pub(crate) fn start(mut client: ClientConfig, per_second: u32, seed: u64) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        // An outage of Kafka is waited out here too.
        client.set("message.timeout.ms", "600000").set("enable.idempotence", "true").set("linger.ms", "5");
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let producer: BaseProducer = client.create().expect("make a producer");
            let mut source = Source { producer, random: Random(seed), outcome: Outcome::empty(), lsn: 1 };
            let pause = Duration::from_secs(1) / per_second;
            let mut due = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                source.step();
                due += pause;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            source.producer.flush(Duration::from_secs(60)).expect("Kafka takes what was sent");
            source.outcome
        });
        Self { stop, thread }
    }

    /// Ends it; everything it sent has been acknowledged.
    pub(crate) fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load does not panic")
    }
}

impl Outcome {
    fn empty() -> Self {
        Self { orders: Orders::new(), events: 0, tombstones: 0 }
    }

    /// What [`STAR`] gives once the star has all of it.
    pub(crate) fn star(&self) -> String {
        let mut lines = String::new();
        for (id, (customer, status, cents)) in &self.orders {
            let _ = writeln!(lines, "{id}\t{customer}\t{status}\t{}", decimal(*cents));
        }
        lines
    }
}

/// As ClickHouse prints a Decimal: without trailing zeros.
fn decimal(cents: u64) -> String {
    let (whole, cents) = (cents / 100, cents % 100);
    match cents {
        0 => whole.to_string(),
        _ if cents % 10 == 0 => format!("{whole}.{}", cents / 10),
        _ => format!("{whole}.{cents:02}"),
    }
}

struct Source {
    producer: BaseProducer,
    random: Random,
    outcome: Outcome,
    lsn: u64,
}

impl Source {
    fn step(&mut self) {
        let id = self.random.below(KEYS);
        let exists = self.outcome.orders.contains_key(&id);
        if exists && self.random.below(5) == 0 {
            let (customer, status, total) = self.outcome.orders.remove(&id).expect("it exists");
            self.send(id, "d", &row(id, customer, status, total), "null");
            self.record(id, None);
            self.outcome.tombstones += 1;
            return;
        }
        let statuses = ["new", "paid", "shipped", "returned"];
        let order = (
            self.random.below(500),
            statuses[usize::try_from(self.random.below(4)).expect("below 4")],
            self.random.below(1_000_000),
        );
        self.outcome.orders.insert(id, order);
        let after = row(id, order.0, order.1, order.2);
        self.send(id, if exists { "u" } else { "c" }, "null", &after);
    }

    fn send(&mut self, id: u64, op: &str, before: &str, after: &str) {
        self.lsn += 8;
        let (lsn, ts_ms) = (self.lsn, 1_795_358_915_343 + self.lsn);
        let value = format!(
            r#"{{"before":{before},"after":{after},"source":{{"version":"3.6.3.Final","connector":"postgresql","name":"cdc","ts_ms":{ts_ms},"snapshot":"false","db":"shop","sequence":"[null,\"{lsn}\"]","schema":"shop","table":"orders","txId":{lsn},"lsn":{lsn},"xmin":null}},"transaction":null,"op":"{op}","ts_ms":{ts_ms}}}"#
        );
        self.record(id, Some(&value));
        self.outcome.events += 1;
    }

    fn record(&self, id: u64, value: Option<&str>) {
        let key = format!(r#"{{"id":{id}}}"#);
        let partition = i32::try_from(id % PARTITIONS.unsigned_abs() as u64).expect("a few partitions");
        let mut record = BaseRecord::to(TOPIC).key(&key).partition(partition);
        record.payload = value;
        while let Err((_, back)) = self.producer.send(record) {
            self.producer.poll(Duration::from_millis(10));
            record = back;
        }
        self.producer.poll(Duration::ZERO);
    }
}

fn row(id: u64, customer: u64, status: &str, cents: u64) -> String {
    let total = BASE64_STANDARD.encode(cents.to_be_bytes());
    format!(
        r#"{{"id":{id},"customer_id":{customer},"ship_address_id":null,"status":"{status}","currency":"EUR","total":"{total}","note":null,"placed_at":"2025-02-02T01:16:49.381905Z","updated_at":1738459014917961}}"#
    )
}

/// xorshift64*: the same sequence for the same seed.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % limit
    }
}
