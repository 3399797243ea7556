//! Keys of changes: what tells the rows of an append target apart.
//!
//! A change is known by its commit time, its LSN, its transaction, its operation
//! and the key of its row. These stay the same however often Kafka brings the
//! event, so an event that comes again writes the rows that it wrote before. The
//! change key is `xxh3`, 64 bits, of their texts with a zero byte between them,
//! and of which row of the change it is (0 for the first). ClickHouse computes
//! the same from the lake's files, for a table with the key `id`:
//!
//! ```sql
//! xxh3(concatWithSeparator('\0', ifNull(toString(toUnixTimestamp64Micro(_ts)), ''), toString(_lsn),
//!                          ifNull(_tx, ''), _op, toString(id), '0'))
//! ```
//!
//! Values of a key of several columns stand in the order of the columns' names;
//! they have the texts by which dead letters name a row (a date is its number of
//! days, a time its microseconds).
//!
//! An event without an LSN, or of a row without a key, cannot be told from
//! another of the same commit. It is known by where it stands instead, and
//! doubles its rows when it is sent again: `_topic`, `_partition` and `_offset`
//! take the place of time, LSN and transaction.
//!
//! A target's own key stands before the change key, so only changes of one such
//! key can be taken for each other: by a chance of n²/2⁶⁵ for n of them.

use std::collections::HashMap;
use std::fmt::{Display, Write};

use arrow::array::{
    Array, ArrowPrimitiveType, AsArray, BinaryArray, PrimitiveArray, StringArray, UInt64Array,
};
use xxhash_rust::xxh3::xxh3_64;

use crate::change::{ChangeBatch, Op, meta};
use crate::fold::key::shown_values;

const SEPARATOR: char = '\0';

/// The change keys of output rows: `origins` has for each of them the row of
/// `batch` that it comes from. One that stands there again is another row of the
/// same change.
#[must_use]
pub fn change_keys(batch: &ChangeBatch, origins: &[u32]) -> UInt64Array {
    let identities = Identities::of(batch);
    let mut ordinals: HashMap<u32, u32> = HashMap::new();
    let mut bytes = String::new();
    let keys = origins.iter().map(|origin| {
        let ordinal = ordinals.entry(*origin).or_default();
        bytes.clear();
        identities.push(*origin as usize, &mut bytes);
        let _ = write!(bytes, "{ordinal}");
        *ordinal += 1;
        xxh3_64(bytes.as_bytes())
    });
    keys.collect()
}

/// Has `batch` a change without an LSN or without a key, which stands twice when it
/// is sent again? Reads of a snapshot may: they come again only with another snapshot.
#[must_use]
pub fn has_changes_known_by_place(batch: &ChangeBatch) -> bool {
    let (lsns, keys) = (batch.lsns(), batch.named_keys());
    let is_change = |op: Op| !matches!(op, Op::Read | Op::Truncate);
    let has_key = |row: usize| keys.as_ref().is_some_and(|keys| keys.is_valid(row));
    batch.ops().enumerate().any(|(row, op)| is_change(op) && (lsns.is_null(row) || !has_key(row)))
}

/// What the events of a batch are known by.
struct Identities<'a> {
    batch: &'a ChangeBatch,
    ops: Vec<Op>,
    transactions: &'a StringArray,
    keys: Option<BinaryArray>,
}

impl<'a> Identities<'a> {
    fn of(batch: &'a ChangeBatch) -> Self {
        let transactions = batch.meta(meta::TX).as_string();
        Self { batch, ops: batch.ops().collect(), transactions, keys: batch.named_keys() }
    }

    /// Adds everything of the text but the ordinal.
    fn push(&self, row: usize, text: &mut String) {
        let key = self.keys.as_ref().and_then(|keys| keys.is_valid(row).then(|| keys.value(row)));
        let (batch, mut add) = (self.batch, |part: &dyn Display| {
            let _ = write!(text, "{part}{SEPARATOR}");
        });
        match (value(batch.lsns(), row), key) {
            (Some(lsn), Some(_)) => {
                match value(batch.commit_ts(), row) {
                    Some(time_us) => add(&time_us),
                    None => add(&""),
                }
                add(&lsn);
                add(&if self.transactions.is_valid(row) { self.transactions.value(row) } else { "" });
            }
            _ => {
                add(batch.topic());
                add(&batch.partition());
                add(&batch.offsets().value(row));
            }
        }
        add(&self.ops[row].letter());
        for part in key.map(shown_values).unwrap_or_default() {
            add(&part);
        }
    }
}

fn value<T: ArrowPrimitiveType>(values: &PrimitiveArray<T>, row: usize) -> Option<T::Native> {
    values.is_valid(row).then(|| values.value(row))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::{DataType, Field};

    use super::*;
    use crate::change::testing::{Event, change_batch};
    use crate::change::{Wire, row_field};

    fn column(name: &str, values: &[i64]) -> (Field, ArrayRef) {
        let field = row_field(name, DataType::Int64, Wire::Typed, None);
        (field, Arc::new(Int64Array::from(values.to_vec())))
    }

    fn batch(key: &[&str], first_offset: i64, event: &Event) -> ChangeBatch {
        let events = [0, 1].map(|row| Event { offset: first_offset + row, ..event.clone() });
        let columns = vec![column("b", &[7, 8]), column("a", &[70, 80])];
        change_batch(&"shop.orders".parse().unwrap(), key, columns, ("cdc.orders", 3), &events)
    }

    fn event(lsn: Option<i64>) -> Event {
        Event { ts_us: Some(-5), lsn, tx: Some("700".into()), ..Event::new(Op::Update, 0) }
    }

    fn keys(batch: &ChangeBatch, origins: &[u32]) -> Vec<u64> {
        change_keys(batch, origins).values().to_vec()
    }

    #[test]
    fn a_key_is_the_hash_of_the_text_that_is_documented() {
        let ordinals = [&b"-5\x0042\x00700\0u\x0070\x007\x000"[..], b"-5\x0042\x00700\0u\x0080\x008\x000"];
        assert_eq!(keys(&batch(&["b", "a"], 10, &event(Some(42))), &[0, 1]), ordinals.map(xxh3_64));
        let unknown = Event { ts_us: None, tx: None, ..event(Some(42)) };
        assert_eq!(keys(&batch(&["b"], 10, &unknown), &[0]), [xxh3_64(b"\x0042\0\0u\x007\x000")]);
    }

    #[test]
    fn rows_of_one_change_are_numbered() {
        let several = keys(&batch(&["b"], 10, &event(Some(42))), &[1, 0, 1]);
        assert_eq!(several[0], xxh3_64(b"-5\x0042\x00700\0u\x008\x000"));
        assert_eq!(several[2], xxh3_64(b"-5\x0042\x00700\0u\x008\x001"));
    }

    #[test]
    fn a_change_that_comes_again_is_the_same_wherever_it_stands() {
        let sent = |offset| keys(&batch(&["b"], offset, &event(Some(42))), &[0, 1]);
        assert_eq!(sent(10), sent(500));
        let later = Event { ts_us: Some(6), ..event(Some(42)) };
        assert_ne!(sent(10), keys(&batch(&["b"], 10, &later), &[0, 1]));
    }

    #[test]
    fn only_changes_are_missed_an_lsn_or_a_key() {
        let lacks =
            |key: &[&str], op, lsn| has_changes_known_by_place(&batch(key, 10, &Event { op, ..event(lsn) }));
        assert!(lacks(&["b"], Op::Delete, None) && !lacks(&["b"], Op::Delete, Some(1)));
        assert!(lacks(&[], Op::Delete, Some(1)));
        assert!(!lacks(&["b"], Op::Read, None) && !lacks(&[], Op::Read, Some(1)));
    }

    #[test]
    fn without_an_lsn_or_a_key_the_place_tells_changes_apart() {
        let by_place = batch(&["b"], 10, &event(None));
        assert_eq!(keys(&by_place, &[1]), [xxh3_64(b"cdc.orders\x003\x0011\0u\x008\x000")]);
        let keyless = batch(&[], 10, &event(Some(42)));
        assert_eq!(keys(&keyless, &[1]), [xxh3_64(b"cdc.orders\x003\x0011\0u\x000")]);
    }
}
