//! A source that never rests: orders that are made, changed, deleted and made
//! again, and where asked for parcels that refer to them, as Debezium would send
//! them, and what stands at the end. A connector that restarts sends again what
//! it sent last; so does this one with parcels.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

pub(crate) const TOPIC: &str = "cdc.shop.orders";
pub(crate) const PARCELS_TOPIC: &str = "cdc.shop.parcels";
pub(crate) const PARTITIONS: i32 = 3;
/// Orders that live at a time, about; of parcels as many.
const KEYS: u64 = 2_000;
/// When most orders were placed.
const PLACED_AT: &str = "2025-02-02T01:16:49.381905Z";
/// ClickHouse's DateTime64 does not go so far back, so no star row is made of it.
const PLACED_TOO_EARLY: &str = "1500-01-01T00:00:00Z";
/// From one event to the next.
const LSN_STEP: u64 = 8;
/// How long the load rests before it writes to new partitions.
const LEARNS_WITHIN: Duration = Duration::from_millis(100);
/// Records that a restarted connector sends again.
const SENT_AGAIN: usize = 300;

/// By id: customer, status, total in cents.
pub(crate) type Orders = BTreeMap<u64, (u64, &'static str, u64)>;

/// By id: the order, which may be none, or not there.
pub(crate) type Parcels = BTreeMap<u64, Option<u64>>;

/// The star that the transform `orders` makes of them.
pub(crate) const STAR: &str =
    "SELECT id, customer_id, status, toString(total) FROM dabi.f_orders ORDER BY id FORMAT TabSeparated";

/// The star that the guest `parcels` makes of them.
pub(crate) const PARCELS_STAR: &str =
    "SELECT id, order_id, customer_id, status FROM dabi.f_parcels ORDER BY id FORMAT TabSeparated";

/// A load that runs until it is stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    partitions: Arc<AtomicI32>,
    thread: JoinHandle<Outcome>,
}

/// What a load has done.
#[derive(Clone)]
pub(crate) struct Outcome {
    /// The orders that stand.
    pub(crate) orders: Orders,
    /// The parcels that stand.
    pub(crate) parcels: Parcels,
    /// Change events of orders sent.
    pub(crate) events: u64,
    /// Change events of parcels sent.
    pub(crate) parcel_events: u64,
    /// Tombstones sent beside them.
    pub(crate) tombstones: u64,
    /// Records sent that are no events.
    pub(crate) unreadable: u64,
}

/// Another writer beside a load: single changes of rows that no load has.
pub(crate) struct Hand(Source);

impl Load {
    /// Sends `per_second` events of orders, seeded.
    pub(crate) fn start(client: ClientConfig, per_second: u32, seed: u64) -> Self {
        Self::spawn(client, per_second, Outcome::empty(), seed, Source::order)
    }

    /// The same, of orders and of parcels, from a connector that restarts now and
    /// then.
    pub(crate) fn with_parcels(client: ClientConfig, per_second: u32, seed: u64) -> Self {
        Self::spawn(client, per_second, Outcome::empty(), seed, Source::order_or_parcel)
    }

    /// The same, going on from what another load has done. Now and then an order
    /// cannot be a row of the star, until it changes again or the load ends.
    pub(crate) fn with_unusable_orders(
        client: ClientConfig,
        per_second: u32,
        outcome: Outcome,
        seed: u64,
    ) -> Self {
        Self::spawn(client, per_second, outcome, seed, |source| match source.random.below(50) {
            0 => source.unusable_order(),
            _ => source.order_or_parcel(),
        })
    }

    fn spawn(
        mut client: ClientConfig,
        per_second: u32,
        outcome: Outcome,
        seed: u64,
        step: fn(&mut Source),
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        // An outage of Kafka is waited out here too.
        client.set("message.timeout.ms", "600000").set("enable.idempotence", "true").set("linger.ms", "5");
        // It is to see new partitions soon.
        client.set("topic.metadata.refresh.interval.ms", "1000");
        let partitions = Arc::new(AtomicI32::new(PARTITIONS));
        let (stopped, spread) = (Arc::clone(&stop), Arc::clone(&partitions));
        let thread = std::thread::spawn(move || {
            let producer: BaseProducer = client.create().expect("make a producer");
            let mut source = Source::new(producer, outcome, seed);
            let pause = Duration::from_secs(1) / per_second;
            let mut due = Instant::now();
            while !stopped.load(Ordering::Relaxed) {
                source.spread_over(spread.load(Ordering::Relaxed));
                step(&mut source);
                due += pause;
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            source.mend_orders();
            source.flush();
            source.outcome
        });
        Self { stop, partitions, thread }
    }

    /// From now on every topic has so many partitions.
    pub(crate) fn spread_over(&self, partitions: i32) {
        self.partitions.store(partitions, Ordering::Relaxed);
    }

    /// Ends it; everything it sent has been acknowledged.
    pub(crate) fn stop(self) -> Outcome {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load does not panic")
    }
}

impl Outcome {
    /// Nothing.
    pub(crate) fn empty() -> Self {
        let (orders, parcels) = (Orders::new(), Parcels::new());
        Self { orders, parcels, events: 0, parcel_events: 0, tombstones: 0, unreadable: 0 }
    }

    /// What both have done, of rows that only one of them has.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.orders.extend(other.orders);
        self.parcels.extend(other.parcels);
        self.events += other.events;
        self.parcel_events += other.parcel_events;
        self.tombstones += other.tombstones;
        self.unreadable += other.unreadable;
        self
    }

    /// Sends what stands, as a connector's snapshot reads it.
    pub(crate) fn snapshot(&self, client: &ClientConfig) {
        let producer = client.create().expect("make a producer");
        let mut source = Source::new(producer, Outcome::empty(), 0);
        for (id, (customer, status, total)) in &self.orders {
            source.send(TOPIC, *id, "r", "null", &row(*id, *customer, status, *total));
        }
        for (id, order_id) in &self.parcels {
            source.send(PARCELS_TOPIC, *id, "r", "null", &parcel_row(*id, *order_id));
        }
        source.flush();
    }

    /// What [`STAR`] gives once the star has all of it.
    pub(crate) fn star(&self) -> String {
        let mut lines = String::new();
        for (id, (customer, status, cents)) in &self.orders {
            let _ = writeln!(lines, "{id}\t{customer}\t{status}\t{}", decimal(*cents));
        }
        lines
    }

    /// What [`PARCELS_STAR`] gives once the star has all of it.
    pub(crate) fn parcels_star(&self) -> String {
        let mut lines = String::new();
        for (id, order_id) in &self.parcels {
            let shown = order_id.map_or_else(|| "\\N".to_owned(), |order_id| order_id.to_string());
            let order = order_id.and_then(|order_id| self.orders.get(&order_id));
            let _ = match order {
                Some((customer, status, _)) => writeln!(lines, "{id}\t{shown}\t{customer}\t{status}"),
                None => writeln!(lines, "{id}\t{shown}\t\\N\t\\N"),
            };
        }
        lines
    }
}

impl Hand {
    pub(crate) fn new(client: &ClientConfig) -> Self {
        Self(Source::new(client.create().expect("make a producer"), Outcome::empty(), 0))
    }

    /// Writes an order: it is there afterwards, with `status`.
    pub(crate) fn order(&mut self, id: u64, status: &'static str) {
        let op = if self.0.outcome.orders.insert(id, (7, status, 100)).is_some() { "u" } else { "c" };
        self.0.send(TOPIC, id, op, "null", &row(id, 7, status, 100));
    }

    /// Writes a parcel: it is there afterwards, with `order_id`.
    pub(crate) fn parcel(&mut self, id: u64, order_id: Option<u64>) {
        let op = if self.0.outcome.parcels.insert(id, order_id).is_some() { "u" } else { "c" };
        self.0.send(PARCELS_TOPIC, id, op, "null", &parcel_row(id, order_id));
    }

    /// Sends bytes with the key of a row.
    pub(crate) fn bytes(&mut self, topic: &'static str, id: u64, value: &[u8]) {
        self.0.outcome.unreadable += 1;
        self.0.produce(topic, id, Some(value));
    }

    /// Waits until Kafka has all of it; gives what has been done so far.
    pub(crate) fn done(&self) -> &Outcome {
        self.0.flush();
        &self.0.outcome
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
    partitions: i32,
    /// The records sent last, each with its topic and key.
    last: VecDeque<(&'static str, u64, Option<String>)>,
    /// Orders that the star cannot hold as they are.
    unusable: BTreeSet<u64>,
    outcome: Outcome,
    lsn: u64,
}

impl Source {
    fn new(producer: BaseProducer, outcome: Outcome, seed: u64) -> Self {
        Self {
            producer,
            random: Random(seed),
            partitions: PARTITIONS,
            last: VecDeque::new(),
            unusable: BTreeSet::new(),
            // Not below any that was given: each belongs to an event.
            lsn: 1 + LSN_STEP * (outcome.events + outcome.parcel_events),
            outcome,
        }
    }

    fn order_or_parcel(&mut self) {
        match self.random.below(3_000) {
            0 => self.restart(),
            1..1_000 => self.parcel(),
            _ => self.order(),
        }
    }

    /// An order as any other, but for when it was placed.
    fn unusable_order(&mut self) {
        let id = self.random.below(KEYS);
        let Some((customer, status, total)) = self.outcome.orders.get(&id).copied() else { return };
        self.unusable.insert(id);
        self.send(TOPIC, id, "u", "null", &row_placed(PLACED_TOO_EARLY, id, customer, status, total));
    }

    /// Lets the star hold every order that stands.
    fn mend_orders(&mut self) {
        for id in std::mem::take(&mut self.unusable) {
            let (customer, status, total) = self.outcome.orders[&id];
            self.send(TOPIC, id, "u", "null", &row(id, customer, status, total));
        }
    }

    fn order(&mut self) {
        let id = self.random.below(KEYS);
        self.unusable.remove(&id);
        let exists = self.outcome.orders.contains_key(&id);
        if exists && self.random.below(5) == 0 {
            let (customer, status, total) = self.outcome.orders.remove(&id).expect("it exists");
            self.send(TOPIC, id, "d", &row(id, customer, status, total), "null");
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
        self.send(TOPIC, id, if exists { "u" } else { "c" }, "null", &after);
    }

    /// A parcel of an order that is there or not, or of none.
    fn parcel(&mut self) {
        let id = self.random.below(KEYS);
        let exists = self.outcome.parcels.contains_key(&id);
        if exists && self.random.below(5) == 0 {
            self.outcome.parcels.remove(&id);
            self.send(PARCELS_TOPIC, id, "d", &parcel_row(id, None), "null");
            return;
        }
        let order_id = Some(self.random.below(KEYS)).filter(|order_id| order_id % 10 != 0);
        self.outcome.parcels.insert(id, order_id);
        self.send(PARCELS_TOPIC, id, if exists { "u" } else { "c" }, "null", &parcel_row(id, order_id));
    }

    /// Sends an event, and behind a delete its tombstone.
    fn send(&mut self, topic: &'static str, id: u64, op: &str, before: &str, after: &str) {
        self.lsn += LSN_STEP;
        let table = topic.trim_start_matches("cdc.shop.");
        let (lsn, ts_ms) = (self.lsn, 1_795_358_915_343 + self.lsn);
        let value = format!(
            r#"{{"before":{before},"after":{after},"source":{{"version":"3.6.3.Final","connector":"postgresql","name":"cdc","ts_ms":{ts_ms},"snapshot":"false","db":"shop","sequence":"[null,\"{lsn}\"]","schema":"shop","table":"{table}","txId":{lsn},"lsn":{lsn},"xmin":null}},"transaction":null,"op":"{op}","ts_ms":{ts_ms}}}"#
        );
        self.record(topic, id, Some(value));
        if op == "d" {
            self.record(topic, id, None);
        }
    }

    /// Sends once more what was sent last, in its order: deletes, and what was
    /// made again after them, among it.
    fn restart(&mut self) {
        for (topic, id, value) in std::mem::take(&mut self.last) {
            self.record(topic, id, value);
        }
    }

    fn spread_over(&mut self, partitions: i32) {
        if partitions != self.partitions {
            self.flush();
            // A producer that learns of new partitions asks for their leaders first.
            std::thread::sleep(LEARNS_WITHIN);
            self.partitions = partitions;
        }
    }

    fn flush(&self) {
        self.producer.flush(Duration::from_secs(60)).expect("Kafka takes what was sent");
    }

    fn record(&mut self, topic: &'static str, id: u64, value: Option<String>) {
        let count = match (&value, topic) {
            (None, _) => &mut self.outcome.tombstones,
            (_, PARCELS_TOPIC) => &mut self.outcome.parcel_events,
            _ => &mut self.outcome.events,
        };
        *count += 1;
        self.produce(topic, id, value.as_deref().map(str::as_bytes));
        self.last.push_back((topic, id, value));
        if self.last.len() > SENT_AGAIN {
            self.last.pop_front();
        }
    }

    fn produce(&self, topic: &str, id: u64, value: Option<&[u8]>) {
        let key = format!(r#"{{"id":{id}}}"#);
        let partition = i32::try_from(id % u64::from(self.partitions.unsigned_abs())).expect("a few");
        let mut record = BaseRecord::to(topic).key(&key).partition(partition);
        record.payload = value;
        while let Err((_, back)) = self.producer.send(record) {
            self.producer.poll(Duration::from_millis(10));
            record = back;
        }
        self.producer.poll(Duration::ZERO);
    }
}

fn row(id: u64, customer: u64, status: &str, cents: u64) -> String {
    row_placed(PLACED_AT, id, customer, status, cents)
}

fn row_placed(placed_at: &str, id: u64, customer: u64, status: &str, cents: u64) -> String {
    let total = BASE64_STANDARD.encode(cents.to_be_bytes());
    format!(
        r#"{{"id":{id},"customer_id":{customer},"ship_address_id":null,"status":"{status}","currency":"EUR","total":"{total}","note":null,"placed_at":"{placed_at}","updated_at":1738459014917961}}"#
    )
}

fn parcel_row(id: u64, order_id: Option<u64>) -> String {
    let order_id = order_id.map_or_else(|| "null".to_owned(), |order_id| order_id.to_string());
    format!(r#"{{"id":{id},"order_id":{order_id}}}"#)
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
