//! Change batches made by hand, for tests of what comes after the decoder.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, Int64Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
    TimestampMicrosecondArray, TimestampMillisecondArray,
};
use arrow::datatypes::{Field, Fields, Int8Type};

use super::{ChangeBatch, Op, change_schema};
use crate::table::SourceTable;

/// What stands in the meta columns of one event.
#[derive(Clone, Debug)]
pub struct Event {
    /// `_op`
    pub op: Op,
    /// `_offset`
    pub offset: i64,
    /// `_kafka_ts`
    pub kafka_ts_ms: Option<i64>,
    /// `_ts`
    pub ts_us: Option<i64>,
    /// `_lsn`
    pub lsn: Option<i64>,
    /// `_tx`
    pub tx: Option<String>,
    /// `_snapshot`
    pub snapshot: Option<&'static str>,
    /// `_unavailable`; empty for null
    pub unavailable: Vec<String>,
    /// `_newkey`
    pub newkey: Option<String>,
    /// `_oldkey`
    pub oldkey: Option<String>,
}

impl Event {
    /// An event at `offset`, whose times follow from it.
    #[must_use]
    pub fn new(op: Op, offset: i64) -> Self {
        Self {
            op,
            offset,
            kafka_ts_ms: Some(1_735_689_600_000 + offset),
            ts_us: Some(1_735_689_600_000_000 + offset * 1000),
            lsn: Some(1000 + offset),
            tx: Some(format!("{}", 700 + offset / 3)),
            snapshot: None,
            unavailable: Vec::new(),
            newkey: None,
            oldkey: None,
        }
    }
}

/// A batch of `columns`, with the meta columns of `events`.
///
/// # Panics
/// If the parts do not make a change batch.
#[must_use]
pub fn change_batch(
    table: &SourceTable,
    key: &[&str],
    columns: Vec<(Field, ArrayRef)>,
    (topic, partition): (&str, i32),
    events: &[Event],
) -> ChangeBatch {
    let fields: Fields = columns.iter().map(|(field, _)| field.clone()).collect();
    let mut arrays: Vec<ArrayRef> = columns.into_iter().map(|(_, array)| array).collect();
    let texts = |of: fn(&Event) -> Option<&str>| -> ArrayRef {
        Arc::new(events.iter().map(of).collect::<StringArray>())
    };
    let mut unavailable = ListBuilder::new(StringBuilder::new());
    for event in events {
        for column in &event.unavailable {
            unavailable.values().append_value(column);
        }
        unavailable.append(!event.unavailable.is_empty());
    }
    let ts: TimestampMicrosecondArray = events.iter().map(|e| e.ts_us).collect();
    let kafka_ts: TimestampMillisecondArray = events.iter().map(|e| e.kafka_ts_ms).collect();
    let ops: DictionaryArray<Int8Type> = events.iter().map(|e| e.op.letter()).collect();
    let topics: DictionaryArray<Int8Type> = events.iter().map(|_| topic).collect();
    let snapshots: DictionaryArray<Int8Type> = events.iter().map(|e| e.snapshot).collect();
    arrays.extend([
        Arc::new(ops) as ArrayRef,
        Arc::new(ts.with_timezone("UTC")),
        Arc::new(Int64Array::from_iter(events.iter().map(|e| e.lsn))),
        texts(|e| e.tx.as_deref()),
        Arc::new(Int64Array::from_iter(events.iter().map(|_| None))),
        Arc::new(snapshots),
        Arc::new(topics),
        Arc::new(Int32Array::from_iter_values(events.iter().map(|_| partition))),
        Arc::new(Int64Array::from_iter_values(events.iter().map(|e| e.offset))),
        Arc::new(kafka_ts.with_timezone("UTC")),
        Arc::new(unavailable.finish()),
        texts(|e| e.newkey.as_deref()),
        texts(|e| e.oldkey.as_deref()),
    ]);
    let schema = change_schema(table, key, &fields, false);
    let batch = RecordBatch::try_new(schema, arrays).expect("columns of one length, of the declared types");
    ChangeBatch::try_new(batch).expect("events of one partition in offset order")
}
