//! The events of one epoch → the rows of one table.
//!
//! Owns the fold's rules over the store: the last event of a key decides, a
//! delete acts on its own key, a truncate removes what it covers, unsent values
//! are kept. Does not own who is told of a change (`changes`).
//!
//! Invariant: after an epoch the store holds what the fold of all events so far
//! holds, but for rows that a truncate covers and a sweep has not come to; those
//! nobody is given.

use std::collections::BTreeMap;

use arrow::array::{Array, BinaryArray, BinaryBuilder, BooleanBuilder};

use xxhash_rust::xxh3::xxh3_128;

use super::EngineError;
use super::changes::{Changes, KeySet, covered, stored};
use super::clock::ClockSteps;
use super::entries::are_pending;
use super::events::{EventBatch, EventRef, has_row, in_order};
use super::history::Histories;
use super::record::{OwnedRecord, Record};
use super::relation::Relation;
use super::unsent::{KeyChanges, link_bytes};
use crate::change::Op;
use crate::engine::state::{Puts, Regroupings, State, StateError};
use crate::fold::key::key_of_header;
use crate::fold::{Truncates, link_id};

/// Rows that wait for a key change are read so many at a time.
const PENDING_PAGE_ROWS: usize = 10_000;
/// No event.
const NONE: u32 = u32::MAX;

/// What the epoch does to one table.
pub(super) struct Ingested {
    pub(super) changes: Changes,
    pub(super) puts: Vec<Puts>,
    pub(super) regroupings: Vec<Regroupings>,
    /// Events whose key has a null: no row can be matched.
    pub(super) keyless: u64,
    /// What its events show of the commit clock, where history is kept.
    pub(super) clock: ClockSteps,
}

/// Applies `batches`; `swept` are keys among which rows are looked for that a
/// truncate covers.
///
/// # Errors
/// If the store fails.
pub(super) fn ingest(
    relation: &Relation,
    truncates: &Truncates,
    batches: &[EventBatch<'_>],
    swept: &BinaryArray,
    state: &dyn State,
) -> Result<Ingested, EngineError> {
    let (mut keys, mut events, keyless) = KeyEvents::of(batches);
    add_pending(relation, state, &mut keys)?;
    add_covered(relation, truncates, swept, state, &mut keys)?;
    let (numbers, keys) = keys.finish();
    let old = if keys.is_empty() { keys.clone() } else { state.read(relation.rows, &keys)? };
    events.last.resize(keys.len(), NONE);
    events.special.resize(keys.len(), false);

    let mut links = KeyChanges::new(state, relation.links);
    // First, because a history knows what a row was although a truncate covers it.
    let histories =
        relation.history.map(|space| Histories::of(space, batches, &events, &keys, &mut links, state));
    let mut histories = histories.transpose()?;
    let mut special = replay_special(batches, &events, &keys, &old, &mut links)?;
    // Only a linked cell asks for the row of another key.
    let is_linked = histories.is_some() || special.values().flatten().any(|record| record.link.is_some());
    let snapshot = if is_linked { special.clone() } else { BTreeMap::new() };
    let mut current = |key: &[u8]| -> Result<Option<OwnedRecord>, StateError> {
        let record = match numbers.get(&xxh3_128(key)) {
            None => stored(state, relation.rows, key)?.map(|bytes| OwnedRecord::parse(&bytes)),
            Some(number) => match snapshot.get(number) {
                Some(record) => record.clone(),
                None => events.whole(batches, *number).map(|(batch, row)| batch.record(row)),
            },
        };
        Ok(record.filter(|record| !covered(truncates, &record.head)))
    };
    for record in special.values_mut().flatten() {
        links.fill(record, &mut current)?;
    }
    if let Some(histories) = &mut histories {
        histories.fill(&mut links, &mut current)?;
    }
    let new = new_rows(batches, &events, &special, truncates, keys.len());
    let changes = Changes::new(relation, truncates, (numbers, keys), (old, new), histories);
    let mut puts: Vec<Puts> = row_puts(relation, &changes).into_iter().collect();
    puts.extend(changes.histories.as_ref().and_then(|histories| histories.puts(&changes.keys)));
    puts.extend(links.puts());
    puts.extend(pending_puts(relation, &changes));
    let regroupings = match &changes.histories {
        Some(histories) => histories.regroupings(relation, &changes.keys, (&changes.old, &changes.new)),
        None => regroupings(relation, &changes),
    };
    let clock = changes.histories.as_ref().map(|histories| histories.clock).unwrap_or_default();
    Ok(Ingested { changes, puts, regroupings, keyless, clock })
}

/// The events of each key.
pub(super) struct KeyEvents {
    events: Vec<EventRef>,
    /// For each event the one of the same key before it.
    previous: Vec<u32>,
    /// For each key its last event.
    last: Vec<u32>,
    /// For each key: does one event of it depend on others?
    special: Vec<bool>,
}

impl KeyEvents {
    fn of(batches: &[EventBatch<'_>]) -> (KeySet, Self, u64) {
        let events = in_order(batches);
        let mut keys = KeySet::with_capacity(events.len());
        let mut previous = vec![NONE; events.len()];
        let (mut last, mut special): (Vec<u32>, Vec<bool>) = (Vec::new(), Vec::new());
        let mut keyless = 0;
        for (number, event) in (0_u32..).zip(&events) {
            let (batch, row) = (&batches[event.batch as usize], event.row as usize);
            if batch.ops[row] == Op::Truncate {
                continue;
            }
            if batch.keys.is_null(row) {
                keyless += 1;
                continue;
            }
            let (key, is_new) = keys.add(batch.keys.value(row));
            let key = key as usize;
            if is_new {
                last.push(number);
                special.push(false);
            } else {
                previous[number as usize] = std::mem::replace(&mut last[key], number);
            }
            special[key] |= batch.is_special(row);
        }
        (keys, Self { events, previous, last, special }, keyless)
    }

    /// The events of a key in their order.
    pub(super) fn of_key(&self, key: u32) -> Vec<EventRef> {
        let mut events = Vec::new();
        let mut event = self.last[key as usize];
        while event != NONE {
            events.push(self.events[event as usize]);
            event = self.previous[event as usize];
        }
        events.reverse();
        events
    }

    /// The last event of a key, if it leaves a row by itself.
    fn whole<'b, 'e>(&self, batches: &'b [EventBatch<'e>], key: u32) -> Option<(&'b EventBatch<'e>, usize)> {
        let event = self.events.get(self.last[key as usize] as usize)?;
        let (batch, row) = (&batches[event.batch as usize], event.row as usize);
        has_row(batch.ops[row]).then_some((batch, row))
    }
}

/// Rows that wait for a key change are looked at again.
fn add_pending(relation: &Relation, state: &dyn State, keys: &mut KeySet) -> Result<(), StateError> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = state.keys(relation.pending, after.as_deref(), PENDING_PAGE_ROWS)?;
        keys.add_all(&page);
        if page.len() < PENDING_PAGE_ROWS {
            return Ok(());
        }
        after = Some(page.value(page.len() - 1).to_vec());
    }
}

fn add_covered(
    relation: &Relation,
    truncates: &Truncates,
    swept: &BinaryArray,
    state: &dyn State,
    keys: &mut KeySet,
) -> Result<(), StateError> {
    if swept.is_empty() {
        return Ok(());
    }
    let rows = state.read(relation.rows, swept)?;
    for (key, row) in swept.iter().flatten().zip(&rows) {
        if row.is_some_and(|row| covered(truncates, &Record::parse(row).head)) {
            keys.add(key);
        }
    }
    Ok(())
}

/// The rows that do not follow from their last event alone, one event after the
/// other.
fn replay_special(
    batches: &[EventBatch<'_>],
    events: &KeyEvents,
    keys: &BinaryArray,
    old: &BinaryArray,
    links: &mut KeyChanges<'_>,
) -> Result<BTreeMap<u32, Option<OwnedRecord>>, StateError> {
    let mut special = BTreeMap::new();
    for number in 0..keys.len() {
        let untouched = events.last[number] == NONE;
        if !events.special[number] && !untouched {
            continue;
        }
        let key = u32::try_from(number).expect("fewer than 2^32 keys");
        let mut row = old.is_valid(number).then(|| OwnedRecord::parse(old.value(number)));
        for event in events.of_key(key) {
            let batch = &batches[event.batch as usize];
            replay(batch, event.row as usize, keys.value(number), &mut row, links)?;
        }
        special.insert(key, row);
    }
    Ok(special)
}

/// One event on the row that its key has.
fn replay(
    batch: &EventBatch<'_>,
    at: usize,
    key: &[u8],
    row: &mut Option<OwnedRecord>,
    links: &mut KeyChanges<'_>,
) -> Result<(), StateError> {
    if batch.ops[at] == Op::Delete {
        let old = row.take();
        if let Some(id) = key_change(batch, at, key) {
            links.deleted(&id, old)?;
        }
        return Ok(());
    }
    let mut record = row_of(batch, at, key, links)?;
    if let Some(before) = row.take() {
        record.take_unsent(&before);
    }
    *row = Some(record);
    Ok(())
}

/// The row that an event leaves; where the key changed with it, the values that it
/// was sent without are those of the old key.
pub(super) fn row_of(
    batch: &EventBatch<'_>,
    at: usize,
    key: &[u8],
    links: &mut KeyChanges<'_>,
) -> Result<OwnedRecord, StateError> {
    let mut record = batch.record(at);
    if let (Some(header), false) = (batch.extras.oldkey(at), batch.unsent(at).is_empty()) {
        let old_key = key_of_header(batch.batch, &batch.key, header);
        let keys = || Some((old_key.clone()?, key.into()));
        let id = link_bytes(&link_id(batch.batch, at, &batch.extras, keys));
        links.created(&id, old_key)?;
        record.link = Some(id.into());
        batch.unsent(at).iter().for_each(|cell| record.cells[*cell].linked = true);
    }
    Ok(record)
}

/// What a delete half of a key change is known by.
pub(super) fn key_change(batch: &EventBatch<'_>, at: usize, key: &[u8]) -> Option<Vec<u8>> {
    let header = batch.extras.newkey(at)?;
    let keys = || Some((key.into(), key_of_header(batch.batch, &batch.key, header)?));
    Some(link_bytes(&link_id(batch.batch, at, &batch.extras, keys)))
}

fn new_rows(
    batches: &[EventBatch<'_>],
    events: &KeyEvents,
    special: &BTreeMap<u32, Option<OwnedRecord>>,
    truncates: &Truncates,
    keys: usize,
) -> BinaryArray {
    let mut rows = BinaryBuilder::with_capacity(keys, keys * 64);
    let mut buffer = Vec::new();
    for key in (0_u32..).take(keys) {
        buffer.clear();
        if !events.special[key as usize] && events.last[key as usize] != NONE {
            if let Some((batch, row)) = events.whole(batches, key) {
                batch.push_record(&mut buffer, row);
            }
        } else if let Some(Some(record)) = special.get(&key) {
            record.push(&mut buffer);
        }
        if buffer.is_empty() || covered(truncates, &Record::parse(&buffer).head) {
            rows.append_null();
        } else {
            rows.append_value(&buffer);
        }
    }
    rows.finish()
}

fn row_puts(relation: &Relation, changes: &Changes) -> Option<Puts> {
    let (mut keys, mut values) = (BinaryBuilder::new(), BinaryBuilder::new());
    for (key, (old, new)) in changes.keys.iter().zip(changes.old.iter().zip(&changes.new)) {
        if old != new {
            keys.append_option(key);
            values.append_option(new);
        }
    }
    let keys = keys.finish();
    (!keys.is_empty()).then(|| Puts { space: relation.rows, keys, values: values.finish() })
}

fn pending_puts(relation: &Relation, changes: &Changes) -> Option<Puts> {
    let is_pending = |row: Option<&[u8]>| row.is_some_and(|row| Record::parse(row).link.is_some());
    let waits =
        |entries: &BinaryArray, number: usize| entries.is_valid(number) && are_pending(entries.value(number));
    let (mut keys, mut values) = (BinaryBuilder::new(), BinaryBuilder::new());
    for (number, (key, (old, new))) in
        changes.keys.iter().zip(changes.old.iter().zip(&changes.new)).enumerate()
    {
        let (mut was, mut is) = (is_pending(old), is_pending(new));
        if let Some(histories) = &changes.histories {
            was |= waits(&histories.old, number);
            is |= waits(&histories.new, number);
        }
        if was != is {
            keys.append_option(key);
            values.append_option(is.then_some(b""));
        }
    }
    let keys = keys.finish();
    (!keys.is_empty()).then(|| Puts { space: relation.pending, keys, values: values.finish() })
}

/// Which rows refer to what: of each reference those that change.
fn regroupings(relation: &Relation, changes: &Changes) -> Vec<Regroupings> {
    struct Builders(BinaryBuilder, BinaryBuilder, BooleanBuilder);
    let mut builders: Vec<Builders> = relation
        .indexes
        .iter()
        .map(|_| Builders(BinaryBuilder::new(), BinaryBuilder::new(), BooleanBuilder::new()))
        .collect();
    if builders.is_empty() {
        return Vec::new();
    }
    for (key, (old, new)) in changes.keys.iter().flatten().zip(changes.old.iter().zip(&changes.new)) {
        let (old, new) = (old.map(Record::parse), new.map(Record::parse));
        if old.map(|row| row.cells) == new.map(|row| row.cells) {
            continue;
        }
        let mut olds = old.into_iter().flat_map(|row| row.cells().skip(relation.columns.len()));
        let mut news = new.into_iter().flat_map(|row| row.cells().skip(relation.columns.len()));
        for Builders(groups, members, joins) in &mut builders {
            let (old, new) = (olds.next(), news.next());
            let (old, new) = (old.as_ref().and_then(|c| c.value()), new.as_ref().and_then(|c| c.value()));
            if old == new {
                continue;
            }
            for (group, join) in [(old, false), (new, true)] {
                if let Some(group) = group {
                    groups.append_value(group);
                    members.append_value(key);
                    joins.append_value(join);
                }
            }
        }
    }
    let finished = relation.indexes.iter().zip(builders).map(|(space, Builders(mut g, mut m, mut j))| {
        Regroupings { space: *space, groups: g.finish(), members: m.finish(), joins: j.finish() }
    });
    finished.filter(|regroupings| !regroupings.groups.is_empty()).collect()
}
