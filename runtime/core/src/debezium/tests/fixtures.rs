//! The real captures, all four variants.

use std::collections::BTreeMap;

use arrow::array::Array;

use super::capture::{VARIANTS, decode_topic, topics};
use super::{assert_complete, show, show_row};
use crate::change::{ChangeBatch, meta};
use crate::debezium::Skip;

#[test]
fn every_record_is_a_row_or_recognised() {
    for variant in VARIANTS {
        let mut skipped: BTreeMap<Skip, u64> = BTreeMap::new();
        let mut rows = 0;
        let mut batches = 0;
        for topic in topics(variant) {
            let decoded = decode_topic(variant, &topic);
            assert_complete(&decoded);
            if let Some(dead) = decoded.dead_letters.first() {
                panic!("{topic}: {} {}", dead.code, dead.message);
            }
            for (skip, count) in decoded.skipped {
                *skipped.entry(skip).or_default() += count;
            }
            rows += decoded.batches.iter().map(ChangeBatch::num_rows).sum::<usize>();
            batches += decoded.batches.len();
        }
        insta::assert_snapshot!(
            format!("counts_{variant}"),
            format!("{rows} rows in {batches} batches, skipped {skipped:?}")
        );
    }
}

/// The columns of partition 0, and the first row of each operation.
fn outline(variant: &str, topic: &str) -> String {
    let mut text = String::new();
    for batch in decode_topic(variant, topic).batches.iter().filter(|batch| batch.partition() == 0) {
        text += &show(&batch.slice(0, 1));
        let mut seen = Vec::new();
        for (row, op) in batch.ops().enumerate() {
            if row > 0 && !seen.contains(&op) {
                text += &format!("{}\n", show_row(batch, row));
            }
            seen.push(op);
        }
    }
    text
}

#[test]
fn each_form_in_each_type() {
    for variant in VARIANTS {
        for table in ["type_zoo", "type_zoo_full", "order_items", "addresses", "carts", "products"] {
            let topic = format!("cdc_{variant}.shop.{table}");
            insta::assert_snapshot!(format!("{variant}_{table}"), outline(variant, &topic));
        }
    }
}

#[test]
fn values_that_were_not_sent_are_named() {
    for variant in VARIANTS {
        let mut text = String::new();
        for table in ["type_zoo", "type_zoo_full", "products", "customers"] {
            for batch in decode_topic(variant, &format!("cdc_{variant}.shop.{table}")).batches {
                let unavailable = batch.meta(meta::UNAVAILABLE);
                for row in (0..batch.num_rows()).filter(|row| unavailable.is_valid(*row)) {
                    text += &format!("{table} {}\n", show_row(&batch, row));
                }
            }
        }
        assert!(!text.contains("__debezium"), "{text}");
        insta::assert_snapshot!(format!("{variant}_unavailable"), text);
    }
}
