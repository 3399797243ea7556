//! Changes as Debezium's PostgreSQL connector writes them, as JSON.

use serde_json::{Map, Value, json};

use crate::database::{Act, Change, Key, Row};
use crate::schema::{Schema, Table};
use crate::transforms::time_text;

/// Stands for a value that was stored out of line and did not change.
const UNAVAILABLE: &str = "__debezium_unavailable_value";

/// A Kafka record.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) key: Option<Vec<u8>>,
    /// `None` for a tombstone.
    pub(crate) value: Option<Vec<u8>>,
    /// Name and value.
    pub(crate) header: Option<(&'static str, Vec<u8>)>,
    pub(crate) timestamp_ms: i64,
}

/// The records of `change`: the event, and the tombstone behind a delete.
pub(crate) fn messages(schema: &Schema, change: &Change) -> Vec<Message> {
    let table = &schema.tables[change.table];
    let event = event(schema, table, change);
    let tombstone = Message { value: None, header: None, ..event.clone() };
    match change.act {
        Act::Delete(_) | Act::Leave { .. } => vec![event, tombstone],
        _ => vec![event],
    }
}

/// The key that decides the partition; `None` for a truncate.
pub(crate) fn key_of(change: &Change) -> Option<&Key> {
    match &change.act {
        Act::Create(key, _)
        | Act::Update { key, .. }
        | Act::Delete(key)
        | Act::Leave { key, .. }
        | Act::Arrive { key, .. } => Some(key),
        Act::Truncate => None,
    }
}

fn event(schema: &Schema, table: &Table, change: &Change) -> Message {
    let after = |key: &Key, row: &Row, big_unsent: bool| image(table, key, Some((row, big_unsent)));
    let (op, before, after) = match &change.act {
        Act::Create(key, row) => ("c", Value::Null, after(key, row, false)),
        Act::Update { key, row, big_unsent } => ("u", Value::Null, after(key, row, *big_unsent)),
        Act::Arrive { key, row, big_unsent, .. } => ("c", Value::Null, after(key, row, *big_unsent)),
        Act::Delete(key) | Act::Leave { key, .. } => ("d", image(table, key, None), Value::Null),
        Act::Truncate => ("t", Value::Null, Value::Null),
    };
    let has_schemas = schema.has_schemas(change.tx);
    let mut source = json!({
        "connector": "postgresql", "name": "cdc", "snapshot": "false", "db": "shop", "schema": "shop",
        "table": table.name().table(), "ts_us": change.ts_us, "ts_ms": change.ts_us / 1000, "txId": change.tx,
    });
    if schema.has_lsn {
        source["lsn"] = change.lsn.into();
    }
    let payload =
        json!({"before": before, "after": after, "source": source, "op": op, "ts_ms": change.ts_us / 1000});
    let value = if has_schemas { json!({"schema": envelope(table), "payload": payload}) } else { payload };
    let key_json = |key: &Key| {
        let payload = image_of_key(table, key);
        if has_schemas {
            json!({"schema": struct_of("Key", &key_fields(table)), "payload": payload})
        } else {
            payload
        }
    };
    let header = match &change.act {
        Act::Leave { to, .. } => Some(("__debezium.newkey", bytes(&key_json(to)))),
        Act::Arrive { from, .. } => Some(("__debezium.oldkey", bytes(&key_json(from)))),
        _ => None,
    };
    let key = key_of(change).map(|key| bytes(&key_json(key)));
    Message { key, value: Some(bytes(&value)), header, timestamp_ms: change.ts_us / 1000 + 5 }
}

fn bytes(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}

fn image_of_key(table: &Table, key: &Key) -> Value {
    let mut fields = Map::from_iter([("id".to_owned(), key.id.into())]);
    if table.composite {
        fields.insert("sub".into(), key.sub.clone().into());
    }
    Value::Object(fields)
}

/// All columns; without a row, those beside the key are null, as in the
/// before-image of a delete under the default replica identity.
fn image(table: &Table, key: &Key, row: Option<(&Row, bool)>) -> Value {
    let Value::Object(mut fields) = image_of_key(table, key) else { unreachable!("an object") };
    fields.insert("v".into(), row.and_then(|(row, _)| row.v).into());
    let big = row.and_then(|(row, unsent)| if unsent { Some(UNAVAILABLE) } else { row.big.as_deref() });
    fields.insert("big".into(), big.into());
    fields.insert(
        "at".into(),
        row.and_then(|(row, _)| row.at_us).map(|at_us| format!("{}Z", time_text(at_us))).into(),
    );
    for place in 0..table.references.len() {
        let reference = row.and_then(|(row, _)| row.references[place].as_ref());
        fields.insert(format!("r{place}"), reference.map(|key| key.id).into());
        fields.insert(format!("r{place}_sub"), reference.and_then(|key| key.sub.clone()).into());
    }
    Value::Object(fields)
}

fn field(name: &str, kind: &str, optional: bool) -> Value {
    json!({"type": kind, "optional": optional, "field": name})
}

fn key_fields(table: &Table) -> Vec<Value> {
    let mut fields = vec![field("id", "int64", false)];
    if table.composite {
        fields.push(field("sub", "string", false));
    }
    fields
}

fn struct_of(name: &str, fields: &[Value]) -> Value {
    json!({"type": "struct", "optional": false, "name": name, "fields": fields})
}

fn envelope(table: &Table) -> Value {
    let mut row = key_fields(table);
    row.push(field("v", "int64", true));
    row.push(field("big", "string", true));
    let mut at = field("at", "string", true);
    at["name"] = "io.debezium.time.ZonedTimestamp".into();
    row.push(at);
    for place in 0..table.references.len() {
        row.push(field(&format!("r{place}"), "int64", true));
        row.push(field(&format!("r{place}_sub"), "string", true));
    }
    let image = |name: &str| json!({"type": "struct", "optional": true, "name": "Value", "field": name, "fields": row});
    let source: Vec<Value> = ["connector", "name", "snapshot", "db", "schema", "table"]
        .map(|name| field(name, "string", false))
        .into_iter()
        .chain(["ts_us", "ts_ms", "txId", "lsn"].map(|name| field(name, "int64", true)))
        .collect();
    let source =
        json!({"type": "struct", "optional": false, "name": "Source", "field": "source", "fields": source});
    struct_of(
        "Envelope",
        &[
            image("before"),
            image("after"),
            source,
            field("op", "string", false),
            field("ts_ms", "int64", true),
        ],
    )
}
