//! Transactions as records of Debezium's PostgreSQL connector (3.6) through
//! Connect's JsonConverter.
//!
//! Owns keys, values, headers and partitions, with the schema in every record
//! and without. The shape is that of the captures in `runtime/fixtures/debezium`.
//!
//! Invariant: what a real connector could not know is not sent. Under `REPLICA
//! IDENTITY DEFAULT` an old row is its key and invented values; a long text that
//! an update leaves alone is [`UNAVAILABLE`], also behind a changed key.

mod json;
mod schema;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::sync::Arc;

use crate::catalogue::OUT_OF_LINE_BYTES;
use crate::row::{Row, Value};
use crate::table::{Identity, Table};
use crate::transaction::{Change, Lsn, Micros, Transaction};

/// What Debezium writes for a value that the database did not send it.
pub const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// The PostgreSQL schema that the tables stand in.
const NAMESPACE: &str = "public";
const DATABASE: &str = "shop";
/// From a commit to its records.
const PROCESSING_US: i64 = 500;

/// How the connector is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wire {
    /// `schemas.enable`: the schema in every record
    pub schemas: bool,
    /// Partitions of each topic.
    pub partitions: u32,
    /// `REPLICA IDENTITY` of the tables
    pub identity: Identity,
    /// `provide.transaction.metadata`: BEGIN and END of every transaction in a topic of their own
    pub transactions: bool,
}

impl Default for Wire {
    fn default() -> Self {
        Self { schemas: false, partitions: 3, identity: Identity::Default, transactions: true }
    }
}

/// A Kafka record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its topic.
    pub topic: Arc<str>,
    /// Its partition: as Kafka's own clients choose it by the key.
    pub partition: i32,
    /// Key; `None` for a null key.
    pub key: Option<Arc<str>>,
    /// Value; `None` for a tombstone.
    pub value: Option<String>,
    /// Headers in order.
    pub headers: Vec<(&'static str, Arc<str>)>,
    /// Kafka timestamp, ms since 1970.
    pub timestamp_ms: i64,
}

/// Writes records; holds what is the same in all of them.
#[derive(Clone, Debug)]
pub struct Envelopes {
    prefix: String,
    wire: Wire,
    frames: Vec<Frame>,
    transaction: Frame,
    heartbeat: Frame,
    context: [(&'static str, Arc<str>); 4],
}

/// A topic and what stands around the payloads in it.
#[derive(Clone, Debug)]
struct Frame {
    topic: Arc<str>,
    key_schema: Option<String>,
    value_schema: Option<String>,
}

/// What an event says of a row.
#[derive(Clone, Copy)]
enum Image<'a> {
    /// All of it.
    Whole(&'a Row),
    /// All that the database had to read; the second row is the one before.
    Changed(&'a Row, &'a Row),
    /// Its key.
    Key(&'a Row),
}

/// Where an event stands.
struct Place<'a> {
    transaction: &'a Transaction,
    table: Table,
    lsn: Lsn,
    /// `source.snapshot`
    snapshot: &'static str,
    /// Its number in the transaction, and among those of its table.
    order: Option<(u64, u64)>,
}

impl Envelopes {
    /// Records of the connector `prefix` (`topic.prefix`).
    #[must_use]
    pub fn new(prefix: &str, wire: Wire) -> Self {
        let frame = |topic: String, schemas: (serde_json::Value, serde_json::Value)| Frame {
            topic: topic.into(),
            key_schema: wire.schemas.then(|| schemas.0.to_string()),
            value_schema: wire.schemas.then(|| schemas.1.to_string()),
        };
        let frames = Table::ALL.map(|table| {
            let topic = format!("{prefix}.{NAMESPACE}.{}", table.name());
            let schemas = (schema::key(&topic, table), schema::envelope(&topic, table));
            frame(topic, schemas)
        });
        Self {
            frames: frames.into(),
            transaction: frame(format!("{prefix}.transaction"), schema::transaction()),
            heartbeat: frame(format!("__debezium-heartbeat.{prefix}"), schema::heartbeat()),
            context: [
                ("__debezium.context.connectorLogicalName", prefix.into()),
                ("__debezium.context.taskId", "0".into()),
                ("__debezium.context.connectorName", "postgresql".into()),
                ("__debezium.context.runId", "01a203ba-f804-7294-a356-3f721819cca8".into()),
            ],
            prefix: prefix.to_owned(),
            wire,
        }
    }

    /// Every topic that records may be written to; each has [`Wire::partitions`]
    /// partitions.
    pub fn topics(&self) -> impl Iterator<Item = &str> {
        let transaction = self.wire.transactions.then_some(&self.transaction);
        self.frames.iter().chain(transaction).chain([&self.heartbeat]).map(|frame| &*frame.topic)
    }

    /// The topic of `table`.
    #[must_use]
    pub fn topic(&self, table: Table) -> &Arc<str> {
        &self.frame(table).topic
    }

    /// The records of a transaction, in the order of the log.
    #[must_use]
    pub fn records(&self, transaction: &Transaction) -> Vec<Record> {
        let mut writer =
            Writer { envelopes: self, transaction, counts: Counts::default(), records: Vec::new() };
        let bounded = self.wire.transactions && !transaction.snapshot;
        if bounded {
            writer.boundary("BEGIN", transaction.begins);
        }
        for (at, (lsn, change)) in transaction.changes.iter().enumerate() {
            writer.change(at, *lsn, change);
        }
        if bounded {
            writer.boundary("END", transaction.ends);
        }
        writer.records
    }

    /// What a connector sends when nothing happens.
    #[must_use]
    pub fn heartbeat(&self, now: Micros) -> Record {
        let ms = now.0 / 1_000;
        let frame = &self.heartbeat;
        let key: Arc<str> =
            wrapped(frame.key_schema.as_deref(), &format!(r#"{{"serverName":"{}"}}"#, self.prefix)).into();
        let value = wrapped(frame.value_schema.as_deref(), &format!(r#"{{"ts_ms":{ms}}}"#));
        self.record(frame, Some(key), Some(value), Vec::new(), now)
    }

    fn frame(&self, table: Table) -> &Frame {
        let at = Table::ALL.iter().position(|other| *other == table).expect("all tables have a frame");
        &self.frames[at]
    }

    fn record(
        &self,
        frame: &Frame,
        key: Option<Arc<str>>,
        value: Option<String>,
        headers: Vec<(&'static str, Arc<str>)>,
        committed: Micros,
    ) -> Record {
        Record {
            topic: Arc::clone(&frame.topic),
            partition: partition(key.as_deref(), self.wire.partitions),
            key,
            value,
            headers,
            timestamp_ms: (committed.0 + PROCESSING_US) / 1_000,
        }
    }
}

/// Events of a transaction so far, by table.
#[derive(Default)]
struct Counts([u64; Table::ALL.len()]);

impl Counts {
    /// The next event's number in all and among those of `table`.
    fn next(&mut self, table: Table) -> (u64, u64) {
        let at = Table::ALL.iter().position(|other| *other == table).expect("all tables are counted");
        self.0[at] += 1;
        (self.0.iter().sum(), self.0[at])
    }
}

/// Writes the records of one transaction.
struct Writer<'a> {
    envelopes: &'a Envelopes,
    transaction: &'a Transaction,
    counts: Counts,
    records: Vec<Record>,
}

impl Writer<'_> {
    fn change(&mut self, at: usize, lsn: Lsn, change: &Change) {
        let full = self.envelopes.wire.identity == Identity::Full;
        let old = |row| if full { Image::Whole(row) } else { Image::Key(row) };
        match change {
            Change::Insert(row) if self.transaction.snapshot => {
                self.event("r", at, lsn, None, Some(Image::Whole(row)), None);
            }
            Change::Insert(row) => self.event("c", at, lsn, None, Some(Image::Whole(row)), None),
            Change::Update { before, after } => {
                let new = if full { Image::Whole(after) } else { Image::Changed(after, before) };
                if change.moves() {
                    self.event("d", at, lsn, Some(old(before)), None, Some(("__debezium.newkey", after)));
                    self.event("c", at, lsn, None, Some(new), Some(("__debezium.oldkey", before)));
                } else {
                    self.event("u", at, lsn, full.then_some(old(before)), Some(new), None);
                }
            }
            Change::Delete(row) => self.event("d", at, lsn, Some(old(row)), None, None),
            Change::Truncate(table) => self.truncate(at, lsn, *table),
        }
    }

    /// An event of a row, a delete with its tombstone.
    fn event(
        &mut self,
        op: &str,
        at: usize,
        lsn: Lsn,
        before: Option<Image<'_>>,
        after: Option<Image<'_>>,
        moved: Option<(&'static str, &Row)>,
    ) {
        let Some(row) = after.or(before).map(Image::row) else { return };
        let (table, frame) = (row.table(), self.envelopes.frame(row.table()));
        let key: Arc<str> = wrapped(frame.key_schema.as_deref(), &json::key(row)).into();
        let value = self.value(op, at, lsn, table, before, after);
        let mut headers: Vec<(&'static str, Arc<str>)> =
            moved.map(|(name, other)| (name, json::key(other).into())).into_iter().collect();
        headers.extend(self.envelopes.context.clone());
        self.push(frame, Some(Arc::clone(&key)), Some(value), headers.clone());
        if op == "d" {
            self.push(frame, Some(key), None, headers);
        }
    }

    fn truncate(&mut self, at: usize, lsn: Lsn, table: Table) {
        let value = self.value("t", at, lsn, table, None, None);
        self.push(self.envelopes.frame(table), None, Some(value), self.envelopes.context.to_vec());
    }

    fn value(
        &mut self,
        op: &str,
        at: usize,
        lsn: Lsn,
        table: Table,
        before: Option<Image<'_>>,
        after: Option<Image<'_>>,
    ) -> String {
        let snapshot = snapshot_mark(self.transaction, at);
        let order = (!self.transaction.snapshot).then(|| self.counts.next(table));
        let place = Place { transaction: self.transaction, table, lsn, snapshot, order };
        let mut payload = String::from(r#"{"before":"#);
        json::image(before, &mut payload);
        payload.push_str(r#","after":"#);
        json::image(after, &mut payload);
        json::source(&self.envelopes.prefix, &place, &mut payload);
        json::transaction(&place, &mut payload);
        let us = self.transaction.committed.0 + PROCESSING_US;
        let (ms, ns) = (us / 1_000, us * 1_000);
        write!(payload, r#","op":"{op}","ts_ms":{ms},"ts_us":{us},"ts_ns":{ns}}}"#)
            .expect("writing to a string");
        wrapped(self.envelopes.frame(table).value_schema.as_deref(), &payload)
    }

    fn boundary(&mut self, status: &str, lsn: Lsn) {
        let frame = &self.envelopes.transaction;
        let id = format!("{}:{}", self.transaction.id.0, lsn.0);
        let key: Arc<str> = wrapped(frame.key_schema.as_deref(), &format!(r#"{{"id":"{id}"}}"#)).into();
        let counts = match status {
            "END" => json::counts(&self.counts.0),
            _ => r#""event_count":null,"data_collections":null"#.to_owned(),
        };
        let ms = self.transaction.committed.0 / 1_000;
        let payload = format!(r#"{{"status":"{status}","id":"{id}",{counts},"ts_ms":{ms}}}"#);
        let value = wrapped(frame.value_schema.as_deref(), &payload);
        self.push(frame, Some(key), Some(value), Vec::new());
    }

    fn push(
        &mut self,
        frame: &Frame,
        key: Option<Arc<str>>,
        value: Option<String>,
        headers: Vec<(&'static str, Arc<str>)>,
    ) {
        let record = self.envelopes.record(frame, key, value, headers, self.transaction.committed);
        self.records.push(record);
    }
}

impl<'a> Image<'a> {
    fn row(self) -> &'a Row {
        match self {
            Self::Whole(row) | Self::Changed(row, _) | Self::Key(row) => row,
        }
    }
}

/// Does PostgreSQL keep this value beside its row?
fn out_of_line(value: Value<'_>) -> bool {
    matches!(value, Value::Text(text) if text.len() > OUT_OF_LINE_BYTES)
}

/// `source.snapshot` of the change at that place.
fn snapshot_mark(transaction: &Transaction, at: usize) -> &'static str {
    if !transaction.snapshot {
        return "false";
    }
    let table = |at: usize| transaction.changes.get(at).map(|(_, change)| change.table());
    let (here, before, behind) = (table(at), at.checked_sub(1).and_then(table), table(at + 1));
    match (before, behind) {
        (None, _) => "first",
        (_, None) => "last",
        (before, _) if before != here => "first_in_data_collection",
        (_, behind) if behind != here => "last_in_data_collection",
        _ => "true",
    }
}

fn wrapped(schema: Option<&str>, payload: &str) -> String {
    match schema {
        Some(schema) => format!(r#"{{"schema":{schema},"payload":{payload}}}"#),
        None => payload.to_owned(),
    }
}

/// The partition of a key, as Kafka's own producer chooses it. What has no key
/// lands on the first, unordered against everything elsewhere.
fn partition(key: Option<&str>, partitions: u32) -> i32 {
    let Some(key) = key else { return 0 };
    let hash = murmur2::murmur2(key.as_bytes(), murmur2::KAFKA_SEED) & 0x7fff_ffff;
    i32::try_from(hash % partitions.max(1)).unwrap_or(0)
}
