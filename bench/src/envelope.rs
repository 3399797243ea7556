//! A change as Debezium's PostgreSQL connector (3.6) writes it through Connect's
//! JsonConverter.
//!
//! Owns keys and values on the wire, with the schema and without. The shape is
//! that of the captures in `runtime/fixtures/debezium`.

use std::fmt::Write;

use crate::order_item::{Key, OrderItem};
use crate::workload::{Change, Op};

/// When a change was committed, µs since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Stamp(pub i64);

/// A row of a dimension: an integer key and a name.
#[derive(Clone, Copy, Debug)]
pub struct DimensionRow<'a> {
    /// Its table.
    pub table: &'a str,
    /// The key's column.
    pub key: &'a str,
    /// The key.
    pub id: u32,
    /// What the name begins with.
    pub label: &'a str,
}

/// Renders keys and values; holds what is the same in all of them.
#[derive(Clone, Debug)]
pub struct Envelope {
    seed: u64,
    name: String,
    key_schema: Option<String>,
    value_schema: Option<String>,
}

/// Changes in one database transaction.
const TRANSACTION_CHANGES: u64 = 5;
const FIRST_LSN: u64 = 95_702_592;
const LSN_STEP: u64 = 152;
const FIRST_TRANSACTION: u64 = 8_733;
/// Connector's delay between commit and processing.
const PROCESSING_US: i64 = 1_234;

impl Envelope {
    /// Envelopes of the connector `name` (its topic prefix), schemas off.
    #[must_use]
    pub fn plain(seed: u64, name: &str) -> Self {
        Self { seed, name: name.to_owned(), key_schema: None, value_schema: None }
    }

    /// The same with `schemas.enable=true`.
    #[must_use]
    pub fn with_schema(seed: u64, name: &str) -> Self {
        let key_schema = include_str!("key_schema.json").trim_end().replace("$NAME", name);
        let row = include_str!("row_schema.json").trim_end().replace("$NAME", name);
        let value_schema =
            include_str!("envelope_schema.json").trim_end().replace("$NAME", name).replace("$ROW", &row);
        Self { seed, name: name.to_owned(), key_schema: Some(key_schema), value_schema: Some(value_schema) }
    }

    /// Overwrites `json` with the record's key.
    pub fn render_key(&self, Key { order_id, line_no }: Key, json: &mut String) {
        json.clear();
        wrapped(self.key_schema.as_deref(), json, |json| {
            write!(json, r#"{{"order_id":{order_id},"line_no":{line_no}}}"#).expect("writing to a string");
        });
    }

    /// Overwrites `json` with the record's value.
    pub fn render_value(&self, change: &Change, committed: Stamp, json: &mut String) {
        json.clear();
        wrapped(self.value_schema.as_deref(), json, |json| {
            self.images(change, committed, json);
            self.source(change, committed, json);
            transaction(change, json);
            let (us, op) = (committed.0 + PROCESSING_US, change.op.code());
            let (ms, ns) = (us / 1_000, us * 1_000);
            write!(json, r#","op":"{op}","ts_ms":{ms},"ts_us":{us},"ts_ns":{ns}}}"#)
                .expect("writing to a string");
        });
    }

    /// Overwrites `key` and `value` with those of an update of a dimension's row,
    /// schemas off.
    pub fn render_dimension(
        &self,
        row: &DimensionRow<'_>,
        committed: Stamp,
        key: &mut String,
        value: &mut String,
    ) {
        key.clear();
        value.clear();
        let DimensionRow { table, key: column, id, label } = row;
        write!(key, r#"{{"{column}":{id}}}"#).expect("writing to a string");
        write!(value, r#"{{"before":null,"after":{{"{column}":{id},"name":"{label} {id}"}}"#)
            .expect("writing to a string");
        self.origin(table, committed, false, FIRST_TRANSACTION, FIRST_LSN + u64::from(*id), value);
        let (us, op) = (committed.0 + PROCESSING_US, Op::Update.code());
        let (ms, ns) = (us / 1_000, us * 1_000);
        write!(value, r#","transaction":null,"op":"{op}","ts_ms":{ms},"ts_us":{us},"ts_ns":{ns}}}"#)
            .expect("writing to a string");
    }

    fn images(&self, change: &Change, committed: Stamp, json: &mut String) {
        if change.op == Op::Delete {
            json.push_str(r#"{"before":"#);
            OrderItem::render_deleted(change.key, json);
            json.push_str(r#","after":null"#);
        } else {
            json.push_str(r#"{"before":null,"after":"#);
            OrderItem::new(self.seed, change.key, change.updates, committed.0).render(json);
        }
    }

    fn source(&self, change: &Change, committed: Stamp, json: &mut String) {
        let snapshot = change.op == Op::Read;
        self.origin("order_items", committed, snapshot, transaction_id(change), lsn(change.sequence), json);
    }

    fn origin(&self, table: &str, committed: Stamp, snapshot: bool, id: u64, lsn: u64, json: &mut String) {
        let name = &self.name;
        let (ms, us, ns) = (committed.0 / 1_000, committed.0, committed.0 * 1_000);
        write!(
            json,
            r#","source":{{"version":"3.6.3.Final","connector":"postgresql","name":"{name}","ts_ms":{ms},"snapshot":"{snapshot}","db":"shop","sequence":"[\"{}\",\"{lsn}\"]","ts_us":{us},"ts_ns":{ns},"schema":"shop","table":"{table}","txId":{id},"lsn":{lsn},"xmin":null,"origin":null,"origin_lsn":null}}"#,
            lsn.saturating_sub(LSN_STEP)
        )
        .expect("writing to a string");
    }
}

fn transaction(change: &Change, json: &mut String) {
    if change.op == Op::Read {
        json.push_str(r#","transaction":null"#);
        return;
    }
    let (id, lsn) = (transaction_id(change), lsn(change.sequence));
    let order = change.sequence % TRANSACTION_CHANGES + 1;
    write!(
        json,
        r#","transaction":{{"id":"{id}:{lsn}","total_order":{order},"data_collection_order":{order}}}"#
    )
    .expect("writing to a string");
}

fn transaction_id(change: &Change) -> u64 {
    FIRST_TRANSACTION + change.sequence / TRANSACTION_CHANGES
}

fn lsn(sequence: u64) -> u64 {
    FIRST_LSN + sequence * LSN_STEP
}

fn wrapped(schema: Option<&str>, json: &mut String, payload: impl FnOnce(&mut String)) {
    let Some(schema) = schema else { return payload(json) };
    json.push_str(r#"{"schema":"#);
    json.push_str(schema);
    json.push_str(r#","payload":"#);
    payload(json);
    json.push('}');
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::workload::Shard;

    const STAMP: Stamp = Stamp(1_795_358_954_630_183);

    /// Every value parses, and the mean length is near `bytes`.
    fn check(envelope: &Envelope, bytes: usize) -> Vec<Value> {
        let (mut json, mut total) = (String::new(), 0);
        let events: Vec<Value> = Shard::new(1, 0, 3_000)
            .take(3_000)
            .map(|change| {
                envelope.render_value(&change, STAMP, &mut json);
                total += json.len();
                serde_json::from_str(&json).unwrap()
            })
            .collect();
        let mean = total / events.len();
        assert!(mean.abs_diff(bytes) < bytes / 20, "{mean} bytes");
        events
    }

    #[test]
    fn plain_envelopes_have_the_size_of_real_ones() {
        let events = check(&Envelope::plain(1, "plain"), 800);
        assert!(events.iter().all(|event| event["source"]["table"] == "order_items"));
    }

    #[test]
    fn a_row_of_a_dimension_is_an_envelope_like_any_other() {
        let row = DimensionRow { table: "products", key: "product_id", id: 7, label: "second" };
        let (mut key, mut value) = (String::new(), String::new());
        Envelope::plain(1, "plain").render_dimension(&row, STAMP, &mut key, &mut value);
        let (key, value): (Value, Value) =
            (serde_json::from_str(&key).unwrap(), serde_json::from_str(&value).unwrap());
        assert_eq!(key["product_id"], 7);
        assert_eq!(value["after"]["name"], "second 7");
        assert_eq!((&value["source"]["table"], &value["op"]), (&"products".into(), &"u".into()));
    }

    #[test]
    fn the_schema_describes_the_payload() {
        let events = check(&Envelope::with_schema(1, "schema"), 4_600);
        let fields = |schema: &Value| -> Vec<String> {
            let fields = schema["fields"].as_array().unwrap();
            fields.iter().map(|field| field["field"].as_str().unwrap().to_owned()).collect()
        };
        let keys = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
        for event in events {
            assert_eq!(fields(&event["schema"]), keys(&event["payload"]));
            for field in event["schema"]["fields"].as_array().unwrap() {
                let value = &event["payload"][field["field"].as_str().unwrap()];
                if value.is_object() {
                    assert_eq!(fields(field), keys(value));
                }
            }
        }
    }
}
