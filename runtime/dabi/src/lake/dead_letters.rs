//! Dead letters as a table of the lake: `_dabi/dead_letters/date=…/….parquet`.
//!
//! Owns its columns. A letter of a record that nobody could read keeps its bytes,
//! so nothing is lost and it can be tried again; one of a transform names the
//! transform, and the row is in the lake anyway.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, Int32Array, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use bytes::Bytes;
use dabi_core::dead_letter::{DeadLetter, Refuser};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;

use super::dates::Day;

/// Letters that wait to be written.
#[derive(Default)]
pub(super) struct DeadLetters {
    by_day: BTreeMap<Day, Vec<DeadLetter>>,
    bytes: usize,
}

impl DeadLetters {
    pub(super) fn push(&mut self, letter: DeadLetter) {
        let held = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        self.bytes +=
            size_of::<DeadLetter>() + letter.message.len() + held(&letter.key) + held(&letter.value);
        self.by_day.entry(Day::of(letter.timestamp_ms)).or_default().push(letter);
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Encodes and forgets them: per day the file and its number of rows.
    pub(super) fn close(&mut self) -> Result<Vec<(Day, u64, Bytes)>, ParquetError> {
        self.bytes = 0;
        let by_day = std::mem::take(&mut self.by_day);
        by_day.into_iter().map(|(day, letters)| Ok((day, letters.len() as u64, encode(&letters)?))).collect()
    }
}

fn encode(letters: &[DeadLetter]) -> Result<Bytes, ParquetError> {
    let text = |of: fn(&DeadLetter) -> &str| Arc::new(StringArray::from_iter_values(letters.iter().map(of)));
    let bytes =
        |of: fn(&DeadLetter) -> Option<&[u8]>| Arc::new(BinaryArray::from_iter(letters.iter().map(of)));
    let times: TimestampMillisecondArray = letters.iter().map(|l| l.timestamp_ms).collect();
    let refuser = |of: fn(&Refuser) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter(letters.iter().map(|letter| letter.refuser.as_ref().map(of))))
    };
    let columns: [(&str, ArrayRef, bool); 11] = [
        ("transform", refuser(|refuser| &refuser.transform), true),
        ("module", refuser(|refuser| &refuser.module), true),
        ("topic", text(|l| &l.topic), false),
        ("partition", Arc::new(Int32Array::from_iter_values(letters.iter().map(|l| l.partition))), false),
        ("offset", Arc::new(Int64Array::from_iter_values(letters.iter().map(|l| l.offset.0))), false),
        ("kafka_ts", Arc::new(times.with_timezone("UTC")), true),
        ("stage", text(|l| l.stage.as_str()), false),
        ("code", text(|l| &l.code), false),
        ("message", text(|l| &l.message), false),
        ("key", bytes(|l| l.key.as_deref()), true),
        ("value", bytes(|l| l.value.as_deref()), true),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?.into())
}
