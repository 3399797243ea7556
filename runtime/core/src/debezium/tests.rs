//! Tests of the decoder as a whole, on real captures and on made-up records.

mod capture;
mod corners;
mod differential;
mod fixtures;
mod oracle;

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::DataType;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::{Decoded, Record, TopicDecoder};
use crate::change::{ChangeBatch, meta};
use crate::position::Offset;

/// Decodes records of partition 0 with ascending offsets.
fn decode(topic: &str, records: &[(Option<&str>, Option<&str>)]) -> Decoded {
    let mut decoder = TopicDecoder::new(Arc::from(topic));
    for (offset, (key, value)) in records.iter().enumerate() {
        decoder.push(&record(i64::try_from(offset).unwrap(), *key, *value));
    }
    decoder.finish()
}

fn record<'a>(offset: i64, key: Option<&'a str>, value: Option<&'a str>) -> Record<'a> {
    Record {
        partition: 0,
        offset: Offset(offset),
        timestamp_ms: Some(1_700_000_000_000),
        key: key.map(str::as_bytes),
        value: value.map(str::as_bytes),
        headers: &(),
    }
}

/// Each record is a row or counted.
fn assert_complete(decoded: &Decoded) {
    let rows: usize = decoded.batches.iter().map(ChangeBatch::num_rows).sum();
    let skipped: u64 = decoded.skipped.values().sum();
    assert_eq!(decoded.records, rows as u64 + skipped);
    let dead = decoded.skipped.get(&super::Skip::DeadLetter).copied().unwrap_or(0);
    assert_eq!(dead, decoded.dead_letters.len() as u64);
}

/// Columns with their types, then rows as `name=value`, nulls left out.
fn show(batch: &ChangeBatch) -> String {
    let batch_key = batch.key().iter().map(|at| batch.row_fields()[*at].name().clone()).collect::<Vec<_>>();
    let mut text = format!("table {} key {batch_key:?}\n", batch.table());
    for field in batch.row_fields() {
        let mut metadata: Vec<_> = field.metadata().iter().collect();
        metadata.sort();
        let metadata: Vec<_> = metadata.into_iter().map(|(_, value)| value.as_str()).collect();
        text += &format!("  {}: {} {metadata:?}\n", field.name(), field.data_type());
    }
    for row in 0..batch.num_rows() {
        text += &format!("{}\n", show_row(batch, row));
    }
    text
}

/// A row as `name=value`, nulls and the constant columns left out.
fn show_row(batch: &ChangeBatch, row: usize) -> String {
    let schema = batch.record_batch().schema();
    let cells = schema.fields().iter().zip(batch.record_batch().columns()).filter_map(|(field, column)| {
        let constant = [meta::TOPIC, meta::PARTITION, meta::KAFKA_TS].contains(&field.name().as_str());
        (!constant && column.is_valid(row) && *column.data_type() != DataType::Null)
            .then(|| format!("{}={}", field.name(), cell(column.as_ref(), row)))
    });
    cells.collect::<Vec<_>>().join(" ")
}

fn cell(column: &dyn Array, row: usize) -> String {
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).to_owned(),
        // as numbers: Arrow prints nothing beyond its calendar
        DataType::Date32 | DataType::Time32(_) => number(column, row, &DataType::Int32),
        DataType::Timestamp(..) | DataType::Time64(_) => number(column, row, &DataType::Int64),
        DataType::Struct(fields) => {
            let columns = column.as_struct().columns();
            let cells = fields.iter().zip(columns).filter(|(_, column)| column.is_valid(row));
            let cells: Vec<_> = cells
                .map(|(field, column)| format!("{}={}", field.name(), cell(column.as_ref(), row)))
                .collect();
            format!("{{{}}}", cells.join(" "))
        }
        _ => {
            let options = FormatOptions::default().with_null("null");
            ArrayFormatter::try_new(column, &options).unwrap().value(row).to_string()
        }
    }
}

fn number(column: &dyn Array, row: usize, storage: &DataType) -> String {
    let number = arrow::compute::cast(&column.slice(row, 1), storage).unwrap();
    ArrayFormatter::try_new(&number, &FormatOptions::default()).unwrap().value(0).to_string()
}
