//! What decoding costs the plain way: a `serde_json::Value` for each message,
//! then Arrow builders filled from it.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanBuilder, Decimal128Builder, Int16Builder, Int32Builder, Int64Builder, RecordBatch,
    StringBuilder, StringDictionaryBuilder,
};
use arrow::datatypes::Int8Type;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::BATCH_ROWS;
use super::messages::{COLUMNS, Message, Shape};

enum Column {
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Text(StringBuilder),
    Boolean(BooleanBuilder),
    Decimal(Decimal128Builder),
}

/// Decodes in batches; gives the number of rows.
pub(crate) fn decode(messages: &[Message], shape: Shape) -> usize {
    messages
        .chunks(BATCH_ROWS)
        .map(|chunk| {
            let mut batch = Batch::new(shape);
            for (offset, message) in (0..).zip(chunk) {
                batch.push(offset, &message.value);
            }
            batch.finish().num_rows()
        })
        .sum()
}

struct Batch {
    shape: Shape,
    columns: Vec<Column>,
    op: StringDictionaryBuilder<Int8Type>,
    ts: Int64Builder,
    lsn: Int64Builder,
    tx: StringBuilder,
    snapshot: StringDictionaryBuilder<Int8Type>,
    offset: Int64Builder,
}

impl Batch {
    fn new(shape: Shape) -> Self {
        let column = |(_, kind, _): (&str, &str, &str)| match (shape, kind) {
            (Shape::Schemaless | Shape::Shuffled, "int16" | "int32" | "int64") => {
                Column::Int64(Int64Builder::new())
            }
            (Shape::WithSchema, "bytes") => Column::Decimal(Decimal128Builder::new()),
            (Shape::WithSchema, "int16") => Column::Int16(Int16Builder::new()),
            (Shape::WithSchema, "int32") => Column::Int32(Int32Builder::new()),
            (Shape::WithSchema, "int64") => Column::Int64(Int64Builder::new()),
            (_, "boolean") => Column::Boolean(BooleanBuilder::new()),
            // instants stay text here: in the baseline's favour
            _ => Column::Text(StringBuilder::new()),
        };
        Self {
            shape,
            columns: COLUMNS.into_iter().map(column).collect(),
            op: StringDictionaryBuilder::new(),
            ts: Int64Builder::new(),
            lsn: Int64Builder::new(),
            tx: StringBuilder::new(),
            snapshot: StringDictionaryBuilder::new(),
            offset: Int64Builder::new(),
        }
    }

    fn push(&mut self, offset: i64, value: &[u8]) {
        let value: Value = serde_json::from_slice(value).expect("the messages are valid");
        let payload = if self.shape == Shape::WithSchema { &value["payload"] } else { &value };
        let op = payload["op"].as_str().expect("every message has an op");
        let row = &payload[if op == "d" { "before" } else { "after" }];
        for ((name, ..), column) in COLUMNS.into_iter().zip(&mut self.columns) {
            column.push(&row[name]);
        }
        let source = &payload["source"];
        self.op.append_value(op);
        self.ts.append_option(source["ts_us"].as_i64());
        self.lsn.append_option(source["lsn"].as_i64());
        self.tx.append_option(source["txId"].as_i64().map(|tx| tx.to_string()));
        self.snapshot.append_option(source["snapshot"].as_str());
        self.offset.append_value(offset);
    }

    fn finish(mut self) -> RecordBatch {
        let mut arrays: Vec<(String, ArrayRef)> = COLUMNS
            .into_iter()
            .zip(self.columns)
            .map(|((name, ..), column)| (name.to_owned(), column.finish()))
            .collect();
        let meta: [(&str, ArrayRef); 6] = [
            ("_op", Arc::new(self.op.finish())),
            ("_ts", Arc::new(self.ts.finish())),
            ("_lsn", Arc::new(self.lsn.finish())),
            ("_tx", Arc::new(self.tx.finish())),
            ("_snapshot", Arc::new(self.snapshot.finish())),
            ("_offset", Arc::new(self.offset.finish())),
        ];
        arrays.extend(meta.map(|(name, array)| (name.to_owned(), array)));
        RecordBatch::try_from_iter_with_nullable(arrays.into_iter().map(|(name, array)| (name, array, true)))
            .expect("columns of equal length")
    }
}

impl Column {
    fn push(&mut self, value: &Value) {
        match self {
            Self::Int16(builder) => builder.append_option(value.as_i64().and_then(|v| v.try_into().ok())),
            Self::Int32(builder) => builder.append_option(value.as_i64().and_then(|v| v.try_into().ok())),
            Self::Int64(builder) => builder.append_option(value.as_i64()),
            Self::Text(builder) => builder.append_option(value.as_str()),
            Self::Boolean(builder) => builder.append_option(value.as_bool()),
            Self::Decimal(builder) => builder.append_option(value.as_str().map(|text| {
                let bytes = STANDARD.decode(text).expect("the messages are valid");
                let negative = bytes.first().is_some_and(|byte| *byte >= 0x80);
                bytes
                    .iter()
                    .fold(if negative { -1 } else { 0 }, |value, byte| (value << 8) | i128::from(*byte))
            })),
        }
    }

    fn finish(self) -> ArrayRef {
        match self {
            Self::Int16(mut builder) => Arc::new(builder.finish()),
            Self::Int32(mut builder) => Arc::new(builder.finish()),
            Self::Int64(mut builder) => Arc::new(builder.finish()),
            Self::Text(mut builder) => Arc::new(builder.finish()),
            Self::Boolean(mut builder) => Arc::new(builder.finish()),
            Self::Decimal(builder) => {
                Arc::new(builder.with_precision_and_scale(10, 2).expect("a valid decimal").finish())
            }
        }
    }
}
