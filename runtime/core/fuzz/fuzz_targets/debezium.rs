//! Whatever the bytes, every record is a row, a count or a dead letter.
//!
//! `cargo +nightly fuzz run debezium` in `runtime/core`. The input is a sequence
//! of records for one decoder, so that what one teaches it meets the next: lines,
//! each with its key before a tab and its value after it.
#![no_main]

use dabi_core::change::ChangeBatch;
use dabi_core::debezium::{Record, TopicDecoder};
use dabi_core::position::Offset;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut decoder = TopicDecoder::new("cdc.shop.things".into());
    for (offset, line) in (0..).zip(bytes.split(|byte| *byte == b'\n')) {
        let mut parts = line.splitn(2, |byte| *byte == b'\t');
        let (first, second) = (parts.next(), parts.next());
        let (key, value) = if second.is_some() { (first, second) } else { (None, first) };
        decoder.push(&Record {
            partition: 0,
            offset: Offset(offset),
            timestamp_ms: None,
            key,
            value,
            headers: &(),
        });
    }
    let open = decoder.rows();
    let decoded = decoder.finish();
    let rows: usize = decoded.batches.iter().map(ChangeBatch::num_rows).sum();
    let skipped: u64 = decoded.skipped.values().sum();
    assert_eq!(open, rows);
    assert_eq!(decoded.records, rows as u64 + skipped);
});
