//! The parts of a payload as JSON.

use std::fmt::Write;

use chrono::{DateTime, SecondsFormat};

use super::{DATABASE, Image, NAMESPACE, Place, UNAVAILABLE, out_of_line};
use crate::row::{Row, Value};
use crate::table::{Column, ColumnType, Table};
use crate::transaction::Micros;

/// The key of a row.
pub(super) fn key(row: &Row) -> String {
    let mut json = String::new();
    object(row.table().columns().iter().zip(row.key()), &mut json);
    json
}

/// What an event says of a row, or null.
pub(super) fn image(image: Option<Image<'_>>, json: &mut String) {
    let Some(image) = image else { return json.push_str("null") };
    let columns = image.row().table().columns();
    match image {
        Image::Whole(row) => object(columns.iter().zip(row.values()), json),
        Image::Changed(row, before) => {
            let sent = row.values().into_iter().zip(before.values()).map(|(value, before)| {
                let unsent = value == before && out_of_line(value);
                if unsent { Value::Text(UNAVAILABLE) } else { value }
            });
            object(columns.iter().zip(sent), json);
        }
        Image::Key(row) => {
            let keys = row.table().key_columns();
            let values = row
                .values()
                .into_iter()
                .enumerate()
                .zip(columns)
                .map(|((at, value), column)| if at < keys { value } else { invented(column) });
            object(columns.iter().zip(values), json);
        }
    }
}

/// What Debezium puts where it knows nothing and null is not allowed.
fn invented(column: &Column) -> Value<'static> {
    match column.column_type {
        _ if column.nullable => Value::Null,
        ColumnType::Integer | ColumnType::BigInt => Value::Integer(0),
        ColumnType::Boolean => Value::Boolean(false),
        ColumnType::Text => Value::Text(""),
        ColumnType::TimestampTz => Value::Timestamp(Micros(0)),
    }
}

fn object<'a>(fields: impl Iterator<Item = (&'a Column, Value<'a>)>, json: &mut String) {
    json.push('{');
    for (at, (column, value)) in fields.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let name = column.name;
        match value {
            Value::Null => write!(json, r#"{comma}"{name}":null"#),
            Value::Integer(number) => write!(json, r#"{comma}"{name}":{number}"#),
            Value::Boolean(flag) => write!(json, r#"{comma}"{name}":{flag}"#),
            Value::Text(text) => write!(json, r#"{comma}"{name}":{}"#, serde_json::Value::from(text)),
            Value::Timestamp(time) => write!(json, r#"{comma}"{name}":"{}""#, zoned(time)),
        }
        .expect("writing to a string");
    }
    json.push('}');
}

/// ISO 8601 with the column's six digits; the invented epoch has none.
fn zoned(Micros(us): Micros) -> String {
    let time = DateTime::from_timestamp_micros(us).expect("the shop's times are of this age");
    let digits = if us == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    time.to_rfc3339_opts(digits, true)
}

pub(super) fn source(prefix: &str, place: &Place<'_>, json: &mut String) {
    let us = place.transaction.committed.0;
    let (ms, ns) = (us / 1_000, us * 1_000);
    let (lsn, id) = (place.lsn.0, place.transaction.id.0);
    let (snapshot, table) = (place.snapshot, place.table.name());
    let last = match place.transaction.snapshot {
        true => "null".to_owned(),
        false => format!(r#"\"{}\""#, place.transaction.begins.0),
    };
    write!(
        json,
        r#","source":{{"version":"3.6.3.Final","connector":"postgresql","name":"{prefix}","ts_ms":{ms},"snapshot":"{snapshot}","db":"{DATABASE}","sequence":"[{last},\"{lsn}\"]","ts_us":{us},"ts_ns":{ns},"schema":"{NAMESPACE}","table":"{table}","txId":{id},"lsn":{lsn},"xmin":null,"origin":null,"origin_lsn":null}}"#,
    )
    .expect("writing to a string");
}

pub(super) fn transaction(place: &Place<'_>, json: &mut String) {
    let Some((total, of_table)) = place.order else { return json.push_str(r#","transaction":null"#) };
    let (id, lsn) = (place.transaction.id.0, place.lsn.0);
    write!(
        json,
        r#","transaction":{{"id":"{id}:{lsn}","total_order":{total},"data_collection_order":{of_table}}}"#
    )
    .expect("writing to a string");
}

/// What the end of a transaction says of its events.
pub(super) fn counts(counts: &[u64; Table::ALL.len()]) -> String {
    let total: u64 = counts.iter().sum();
    let tables = Table::ALL.iter().zip(counts).filter(|(_, count)| **count > 0).map(|(table, count)| {
        format!(r#"{{"data_collection":"{NAMESPACE}.{}","event_count":{count}}}"#, table.name())
    });
    format!(r#""event_count":{total},"data_collections":[{}]"#, tables.collect::<Vec<_>>().join(","))
}
