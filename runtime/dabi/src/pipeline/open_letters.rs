//! The open dead letters of a transform without row state.
//!
//! Owns what such a letter is of, and when it is no more: the next event of its
//! source row went through, or the row is gone. (The engine knows that of its own
//! rows.) Where every change is kept, a letter is of one change, and is no more
//! when that very change went through.
//!
//! Invariant: a key that is here has a letter in the warehouse, and its event is
//! the last one of that key. Memory: about 150 bytes a letter.

use std::collections::{BTreeMap, BTreeSet};

use dabi_core::change::ChangeBatch;
use dabi_core::engine::{Verdict, Verdicts};
use dabi_core::fold::Truncate;
use dabi_core::position::Topic;
use dabi_core::spec::Spec;
use dabi_core::star::change_keys;

use super::evaluate::Failure;
use crate::warehouse::OpenLetter;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenLetters(BTreeMap<String, Place>);

/// The event that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    topic: Topic,
    partition: i32,
    offset: i64,
    lsn: Option<i64>,
    ts_us: Option<i64>,
}

impl Place {
    fn of(event: &ChangeBatch) -> Self {
        let Truncate { lsn, ts_us } = Truncate::at(event, 0);
        let offset = event.span().from.0;
        Self { topic: Topic::clone(event.topic()), partition: event.partition(), offset, lsn, ts_us }
    }
}

impl FromIterator<OpenLetter> for OpenLetters {
    fn from_iter<I: IntoIterator<Item = OpenLetter>>(letters: I) -> Self {
        let place = |letter: OpenLetter| {
            let OpenLetter { key, topic, partition, offset, lsn, ts_us } = letter;
            (key, Place { topic: topic.into(), partition, offset, lsn, ts_us })
        };
        Self(letters.into_iter().map(place).collect())
    }
}

impl OpenLetters {
    /// Takes in what became of an epoch: `failures` are open from now on. Gives
    /// the keys that are not any more.
    pub(super) fn learn(
        &mut self,
        spec: &Spec,
        batches: &[ChangeBatch],
        verdicts: &Verdicts,
        failures: &[Failure],
        truncates: &[Truncate],
    ) -> Vec<String> {
        let mut repaired = Vec::new();
        if !self.0.is_empty() {
            let failed: BTreeSet<&String> =
                failures.iter().filter_map(|failure| failure.key.as_ref()).collect();
            let decided = decided_keys(spec, batches, verdicts);
            let is_repaired = |key: &String, place: &Place| {
                let covered = || truncates.iter().any(|truncate| truncate.covers(place.lsn, place.ts_us));
                !failed.contains(key) && (decided.contains(key) || covered())
            };
            repaired.extend(
                self.0.iter().filter(|(key, place)| is_repaired(key, place)).map(|(key, _)| key.clone()),
            );
            repaired.iter().for_each(|key| drop(self.0.remove(key)));
        }
        for failure in failures {
            if let Some(key) = &failure.key {
                self.0.insert(key.clone(), Place::of(&failure.event));
            }
        }
        repaired
    }

    /// Takes over those of another part of the same table.
    pub(super) fn merge(&mut self, other: Self) {
        for (key, place) in other.0 {
            self.0.entry(key).or_insert(place);
        }
    }

    /// The events of `batches` that still are the last of a key with a letter.
    pub(super) fn still_open(&self, spec: &Spec, batches: &[ChangeBatch]) -> Vec<ChangeBatch> {
        let mut open = Vec::new();
        for batch in batches {
            for (row, key) in letter_keys(spec, batch).into_iter().enumerate() {
                let event = batch.slice(row, 1);
                if key.is_some_and(|key| self.0.get(&key) == Some(&Place::of(&event))) {
                    open.push(event);
                }
            }
        }
        open
    }
}

/// What a dead letter of each event would be of: the source row, or the change of
/// it (`17 change 8094…`, the number being its change key).
pub(crate) fn letter_keys(spec: &Spec, batch: &ChangeBatch) -> Vec<Option<String>> {
    let rows = batch.shown_keys();
    if !spec.keeps_changes() {
        return rows;
    }
    let all: Vec<u32> = (0u32..).take(rows.len()).collect();
    let changes = change_keys(batch, &all);
    let of_change = |(row, change): (Option<String>, &u64)| Some(format!("{} change {change}", row?));
    rows.into_iter().zip(changes.values()).map(of_change).collect()
}

/// Keys of the events that decide theirs.
fn decided_keys(spec: &Spec, batches: &[ChangeBatch], verdicts: &Verdicts) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    for (index, batch) in batches.iter().enumerate() {
        let of_batch = letter_keys(spec, batch);
        let decides = [Verdict::Evaluate, Verdict::Tombstone].map(|verdict| verdicts.rows(index, verdict));
        let decided = decides.into_iter().flatten();
        keys.extend(decided.filter_map(|row| of_batch.get(row as usize).cloned().flatten()));
    }
    keys
}
