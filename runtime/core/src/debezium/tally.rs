//! The account of a topic's records: every one is a row or stands here.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::refusal::{Fault, Refusal};
use super::{Decoded, Record, Skip};
use crate::change::ChangeBatch;
use crate::dead_letter::{DeadLetter, Stage};
use crate::position::{Span, Topic};

/// Counts since the last [`Tally::finish`].
#[derive(Default)]
pub(super) struct Tally {
    records: u64,
    /// the partition of the last record, not yet among `spans`
    current: Option<(i32, Span)>,
    spans: BTreeMap<i32, Span>,
    skipped: BTreeMap<Skip, u64>,
    dead_letters: Vec<DeadLetter>,
}

impl Tally {
    /// Counts a record.
    pub(super) fn note(&mut self, record: &Record<'_>) {
        self.records += 1;
        let next = record.offset.next();
        match &mut self.current {
            Some((partition, span)) if *partition == record.partition => span.to = span.to.max(next),
            _ => {
                self.settle();
                let span = self.spans.remove(&record.partition).unwrap_or(Span::new(record.offset, next));
                self.current = Some((record.partition, Span::new(span.from, span.to.max(next))));
            }
        }
    }

    fn settle(&mut self) {
        self.spans.extend(self.current.take());
    }

    /// Counts a record that became no row, and keeps what must be kept of it.
    pub(super) fn refuse(&mut self, topic: &Topic, record: &Record<'_>, refusal: Refusal) {
        let skip = match refusal {
            Refusal::Skip(skip) => skip,
            Refusal::Fault(Fault { code, message }) => {
                self.dead_letters.push(DeadLetter {
                    refuser: None,
                    topic: Arc::clone(topic),
                    partition: record.partition,
                    offset: record.offset,
                    timestamp_ms: record.timestamp_ms,
                    stage: Stage::Decode,
                    code: code.to_owned(),
                    message,
                    key: record.key.map(<[u8]>::to_vec),
                    value: record.value.map(<[u8]>::to_vec),
                });
                Skip::DeadLetter
            }
        };
        *self.skipped.entry(skip).or_default() += 1;
    }

    /// The account, with the rows that the other records became.
    pub(super) fn finish(&mut self, topic: &Topic, batches: Vec<ChangeBatch>) -> Decoded {
        self.settle();
        let tally = std::mem::take(self);
        Decoded {
            topic: Arc::clone(topic),
            spans: tally.spans,
            records: tally.records,
            batches,
            skipped: tally.skipped,
            dead_letters: tally.dead_letters,
        }
    }
}
