//! Single change events of orders and parcels, as Debezium would send them: for
//! tests that need to know each.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

use super::load::{PARCELS_TOPIC, TOPIC};

/// When an order was placed that every star can hold.
pub(crate) const GOOD: &str = "2025-02-02T01:16:49.381905Z";
/// ClickHouse's DateTime64 does not go so far back.
pub(crate) const TOO_EARLY: &str = "1500-01-01T00:00:00Z";

/// Sends them to partition 0 of their topic, and waits until Kafka has each.
pub(crate) struct ShopEvents {
    producer: BaseProducer,
    lsn: u64,
    tells_lsn: bool,
}

impl ShopEvents {
    pub(crate) fn new(brokers: &str) -> Self {
        let producer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
        Self { producer, lsn: 1, tells_lsn: true }
    }

    /// From now on no event says where it stands in the database's log.
    pub(crate) fn leave_lsn_out(&mut self) {
        self.tells_lsn = false;
    }

    /// A change of order `id`.
    pub(crate) fn order(&mut self, op: &str, id: u64, placed_at: &str) {
        let row = format!(
            r#"{{"id":{id},"customer_id":1,"ship_address_id":null,"status":"new","currency":"EUR","total":"AfQ=","note":null,"placed_at":"{placed_at}","updated_at":1738459014917961}}"#
        );
        self.send(TOPIC, op, id, &row);
    }

    /// A parcel that is new, with the order that it is of, as JSON.
    pub(crate) fn parcel(&mut self, id: u64, order_id: &str) {
        self.send(PARCELS_TOPIC, "c", id, &format!(r#"{{"id":{id},"order_id":{order_id}}}"#));
    }

    fn send(&mut self, topic: &str, op: &str, id: u64, row: &str) {
        self.lsn += 8;
        let (lsn, ts_ms) = (self.lsn, 1_795_358_915_343 + self.lsn);
        let told = if self.tells_lsn { format!(r#","lsn":{lsn}"#) } else { String::new() };
        let table = topic.trim_start_matches("cdc.shop.");
        let (before, after) = if op == "d" { (row, "null") } else { ("null", row) };
        let value = format!(
            r#"{{"before":{before},"after":{after},"source":{{"connector":"postgresql","name":"cdc","ts_ms":{ts_ms},"snapshot":"false","db":"shop","schema":"shop","table":"{table}","txId":{lsn}{told}}},"op":"{op}","ts_ms":{ts_ms}}}"#
        );
        let key = format!(r#"{{"id":{id}}}"#);
        self.producer.send(BaseRecord::to(topic).key(&key).partition(0).payload(&value)).unwrap();
        self.producer.flush(Duration::from_secs(30)).unwrap();
    }
}
