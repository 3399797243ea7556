//! Connect schemas, for `schemas.enable=true`.

use serde_json::{Value, json};

use crate::table::{Column, ColumnType, Table};

/// Of the keys of `table` in `topic`.
pub(super) fn key(topic: &str, table: Table) -> Value {
    let columns = &table.columns()[..table.key_columns()];
    json!({
        "type": "struct",
        "fields": columns.iter().map(column).collect::<Vec<_>>(),
        "optional": false,
        "name": format!("{topic}.Key"),
    })
}

/// Of the values.
pub(super) fn envelope(topic: &str, table: Table) -> Value {
    json!({
        "type": "struct",
        "fields": [
            image(topic, table, "before"),
            image(topic, table, "after"),
            source(),
            {
                "type": "struct",
                "fields": [
                    field("string", false, "id"),
                    field("int64", false, "total_order"),
                    field("int64", false, "data_collection_order"),
                ],
                "optional": true,
                "name": "event.block",
                "version": 1,
                "field": "transaction",
            },
            field("string", false, "op"),
            field("int64", true, "ts_ms"),
            field("int64", true, "ts_us"),
            field("int64", true, "ts_ns"),
        ],
        "optional": false,
        "name": format!("{topic}.Envelope"),
        "version": 2,
    })
}

/// Of keys and values of the topic of transactions.
pub(super) fn transaction() -> (Value, Value) {
    let key = json!({
        "type": "struct",
        "fields": [field("string", false, "id")],
        "optional": false,
        "name": "io.debezium.connector.common.TransactionMetadataKey",
        "version": 1,
    });
    let value = json!({
        "type": "struct",
        "fields": [
            field("string", false, "status"),
            field("string", false, "id"),
            field("int64", true, "event_count"),
            {
                "type": "array",
                "items": {
                    "type": "struct",
                    "fields": [field("string", false, "data_collection"), field("int64", false, "event_count")],
                    "optional": true,
                    "name": "event.collection",
                    "version": 1,
                },
                "optional": true,
                "field": "data_collections",
            },
            field("int64", false, "ts_ms"),
        ],
        "optional": false,
        "name": "io.debezium.connector.common.TransactionMetadataValue",
        "version": 1,
    });
    (key, value)
}

/// Of keys and values of the topic of heartbeats.
pub(super) fn heartbeat() -> (Value, Value) {
    let of = |name: &str, only: Value| {
        let name = format!("io.debezium.connector.common.{name}");
        json!({ "type": "struct", "fields": [only], "optional": false, "name": name, "version": 1 })
    };
    (
        of("ServerNameKey", field("string", false, "serverName")),
        of("Heartbeat", field("int64", false, "ts_ms")),
    )
}

fn image(topic: &str, table: Table, name: &str) -> Value {
    json!({
        "type": "struct",
        "fields": table.columns().iter().map(column).collect::<Vec<_>>(),
        "optional": true,
        "name": format!("{topic}.Value"),
        "field": name,
    })
}

fn column(column: &Column) -> Value {
    let (optional, name) = (column.nullable, column.name);
    match column.column_type {
        ColumnType::Integer => field("int32", optional, name),
        ColumnType::BigInt => field("int64", optional, name),
        ColumnType::Boolean => field("boolean", optional, name),
        ColumnType::Text => field("string", optional, name),
        ColumnType::TimestampTz => json!({
            "type": "string",
            "optional": optional,
            "name": "io.debezium.time.ZonedTimestamp",
            "version": 1,
            "field": name,
        }),
    }
}

fn field(connect_type: &str, optional: bool, name: &str) -> Value {
    json!({ "type": connect_type, "optional": optional, "field": name })
}

fn source() -> Value {
    json!({
        "type": "struct",
        "fields": [
            field("string", false, "version"),
            field("string", false, "connector"),
            field("string", false, "name"),
            field("int64", false, "ts_ms"),
            {
                "type": "string",
                "optional": true,
                "name": "io.debezium.data.Enum",
                "version": 1,
                "parameters": {
                    "allowed": "true,first,first_in_data_collection,last_in_data_collection,last,false,incremental",
                },
                "default": "false",
                "field": "snapshot",
            },
            field("string", false, "db"),
            field("string", true, "sequence"),
            field("int64", true, "ts_us"),
            field("int64", true, "ts_ns"),
            field("string", false, "schema"),
            field("string", false, "table"),
            field("int64", true, "txId"),
            field("int64", true, "lsn"),
            field("int64", true, "xmin"),
            field("string", true, "origin"),
            field("int64", true, "origin_lsn"),
        ],
        "optional": false,
        "name": "io.debezium.connector.postgresql.Source",
        "version": 1,
        "field": "source",
    })
}
