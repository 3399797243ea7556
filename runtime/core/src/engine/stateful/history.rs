//! What the events of an epoch add to the history of a table's keys.
//!
//! Owns that every event of a key makes an entry, not only the last, and that an
//! entry keeps the row that its key had, whatever a truncate covers by now. Does
//! not own the entries' order and bytes (`entries`), nor the current rows
//! (`ingest`).
//!
//! Invariant: the store has an entry for each identity that any event of the key
//! came with.

use std::collections::BTreeSet;

use arrow::array::{Array, BinaryArray, BinaryBuilder, BooleanBuilder};

use super::clock::ClockSteps;
use super::entries::{are_pending, entries, filled, push_history, row_before, without_repeated};
use super::events::{EventBatch, has_row};
use super::ingest::{KeyEvents, key_change, row_of};
use super::record::{Known, Record, push_head};
use super::relation::Relation;
use super::unsent::{CurrentRow, KeyChanges};
use crate::engine::state::{Puts, Regroupings, Space, State, StateError};

/// The entries of keys that an epoch touches, as they were and as they become;
/// null: there are none.
pub(super) struct Histories {
    space: Space,
    pub(super) old: BinaryArray,
    pub(super) new: BinaryArray,
    /// What the epoch's events show of the commit clock.
    pub(super) clock: ClockSteps,
}

impl Histories {
    /// # Errors
    /// If the store fails.
    pub(super) fn of(
        space: Space,
        batches: &[EventBatch<'_>],
        events: &KeyEvents,
        keys: &BinaryArray,
        links: &mut KeyChanges<'_>,
        state: &dyn State,
    ) -> Result<Self, StateError> {
        let old = if keys.is_empty() { keys.clone() } else { state.read(space, keys)? };
        let mut new = BinaryBuilder::with_capacity(keys.len(), old.value_data().len());
        let mut clock = ClockSteps::default();
        for ((number, key), stored) in (0_u32..).zip(keys.iter().flatten()).zip(&old) {
            let own = events.of_key(number);
            if own.is_empty() {
                new.append_option(stored);
                continue;
            }
            let mut all = stored.unwrap_or_default().to_vec();
            for event in &own {
                push_event(&mut all, &batches[event.batch as usize], event.row as usize, key, links)?;
            }
            clock.add(ClockSteps::of(&all, entries(stored.unwrap_or_default()).count()));
            let all = without_repeated(&all);
            for event in &own {
                let (batch, row) = (&batches[event.batch as usize], event.row as usize);
                if !has_row(batch.ops[row])
                    && let Some(id) = key_change(batch, row, key)
                {
                    links.deleted(&id, row_before(&all, &batch.head(row)))?;
                }
            }
            new.append_value(all);
        }
        Ok(Self { space, old, new: new.finish(), clock })
    }

    /// Looks again for values that were not sent with a key change; `current` gives
    /// the row that a key has.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn fill(
        &mut self,
        links: &mut KeyChanges<'_>,
        current: &mut CurrentRow<'_>,
    ) -> Result<(), StateError> {
        if !self.new.iter().flatten().any(are_pending) {
            return Ok(());
        }
        let mut new = BinaryBuilder::with_capacity(self.new.len(), self.new.value_data().len());
        for entries in &self.new {
            let filled = entries.map(|entries| filled(entries, |record| links.fill(record, current)));
            new.append_option(filled.transpose()?);
        }
        self.new = new.finish();
        Ok(())
    }

    /// Keys whose entries change.
    pub(super) fn changed(&self) -> impl Iterator<Item = u32> {
        let pairs = (0_u32..).zip(self.old.iter().zip(&self.new));
        pairs.filter(|(_, (old, new))| old != new).map(|(number, _)| number)
    }

    /// What is to be written.
    pub(super) fn puts(&self, keys: &BinaryArray) -> Option<Puts> {
        let (mut changed, mut values) = (BinaryBuilder::new(), BinaryBuilder::new());
        for number in self.changed() {
            changed.append_value(keys.value(number as usize));
            values.append_value(self.new.value(number as usize));
        }
        let keys = changed.finish();
        (!keys.is_empty()).then(|| Puts { space: self.space, keys, values: values.finish() })
    }

    /// Which keys refer to what, with any row that they ever had: of each reference
    /// those that change. `rows` are the current ones, before and after.
    pub(super) fn regroupings(
        &self,
        relation: &Relation,
        keys: &BinaryArray,
        rows: (&BinaryArray, &BinaryArray),
    ) -> Vec<Regroupings> {
        let mut all = Vec::with_capacity(relation.indexes.len());
        for (number, space) in relation.indexes.iter().enumerate() {
            let cell = relation.reference_cell(number);
            let (mut groups, mut members, mut joins) =
                (BinaryBuilder::new(), BinaryBuilder::new(), BooleanBuilder::new());
            for (place, key) in keys.iter().flatten().enumerate() {
                let old = references(cell, &self.old, rows.0, place);
                let new = references(cell, &self.new, rows.1, place);
                for group in old.symmetric_difference(&new) {
                    groups.append_value(group);
                    members.append_value(key);
                    joins.append_value(new.contains(group));
                }
            }
            let groups = groups.finish();
            if !groups.is_empty() {
                let (members, joins) = (members.finish(), joins.finish());
                all.push(Regroupings { space: *space, groups, members, joins });
            }
        }
        all
    }
}

fn push_event(
    buffer: &mut Vec<u8>,
    batch: &EventBatch<'_>,
    row: usize,
    key: &[u8],
    links: &mut KeyChanges<'_>,
) -> Result<(), StateError> {
    let mut record = Vec::new();
    let has_row = has_row(batch.ops[row]);
    if !has_row {
        push_head(&mut record, &batch.head(row), None);
    } else if batch.is_special(row) {
        row_of(batch, row, key, links)?.push(&mut record);
    } else {
        batch.push_record(&mut record, row);
    }
    push_history(buffer, batch.extras.tx(row), has_row, &record);
    Ok(())
}

/// What the rows of a key refer to in `cell`.
fn references<'a>(
    cell: usize,
    histories: &'a BinaryArray,
    rows: &'a BinaryArray,
    place: usize,
) -> BTreeSet<&'a [u8]> {
    let row = rows.is_valid(place).then(|| rows.value(place));
    let history = if histories.is_valid(place) { histories.value(place) } else { &[] };
    let of_history = entries(history).filter(|entry| entry.has_row).map(|entry| entry.record);
    let cells = row.into_iter().chain(of_history).filter_map(|row| Record::parse(row).cells().nth(cell));
    cells.filter(|cell| cell.known == Known::Value).map(|cell| cell.bytes).collect()
}
