//! Decoding whole captures.

use dabi_core::change::ChangeBatch;
use dabi_core::debezium::TopicDecoder;
use dabi_core::position::Topic;

/// The change events of a table, partition by partition.
pub(crate) fn change_batches(variant: &str, table: &str) -> Vec<ChangeBatch> {
    let topic = format!("cdc_{variant}.shop.{table}");
    let mut decoder = TopicDecoder::new(Topic::from(topic.as_str()));
    for captured in dabi_fixtures::records(variant, &topic) {
        decoder.push(&captured.record());
    }
    let decoded = decoder.finish();
    assert!(decoded.dead_letters.is_empty(), "{topic}: {}", decoded.dead_letters[0].message);
    decoded.batches
}
