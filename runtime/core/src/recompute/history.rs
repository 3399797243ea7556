//! What happened to every key of a table, by the definition of history.
//!
//! Owns which events of a key count, in which order, and what they left at each
//! commit time. Does not own what a transform makes of it (`versions`).
//!
//! - An event that comes again, with the commit time, LSN and transaction of one
//!   before, takes its place.
//! - Events stand in the order of commit time and LSN; Kafka's order decides what
//!   those do not. Without a commit time one stands at the beginning, in 1970.
//! - Of one commit time the last event counts. A truncate counts for every key
//!   that has none of its time, and against one that it covers.
//!
//! Invariant: moments of a key ascend in time, each time is there once.

use std::collections::{BTreeMap, HashMap, HashSet};

use arrow::array::{Array, BinaryArray};

use super::tables::{RowPlace, TableRows, key_names, references};
use crate::change::{ChangeBatch, Op};
use crate::fold::every::{EventAt, every_row};
use crate::fold::{Extras, Resnapshot, Truncate, Truncates};
use crate::position::Topic;
use crate::table::SourceTable;

/// What held of a key from a commit on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) at_us: i64,
    /// `None`: there was no row.
    pub(super) row: Option<RowPlace>,
}

/// The history of a table's keys.
#[derive(Debug, Default)]
pub struct TableHistory {
    rows: TableRows,
    by_key: BTreeMap<Box<[u8]>, Vec<Moment>>,
}

/// An event of a key.
struct Event {
    at: EventAt,
    stood: Truncate,
    has_row: bool,
}

impl Event {
    fn place(&self) -> (i64, Option<i64>) {
        (time_us(self.stood), self.stood.lsn)
    }
}

impl TableHistory {
    /// The history that `events` of `table` come to; those of one partition stand in
    /// their order. `snapshots` are such that some of the events do not tell of.
    #[must_use]
    pub fn of(table: &SourceTable, events: &[ChangeBatch], snapshots: &[Resnapshot]) -> Self {
        let (by_key, truncates) = events_by_key(events);
        let mut order: Vec<&Event> = by_key.values().flatten().collect();
        order.sort_by_key(|event| (event.place(), event.at));
        let order: Vec<EventAt> = order.into_iter().map(|event| event.at).collect();
        let rows = every_row(table, events, &order);
        let places = places(&rows);
        let place = |event: &Event| {
            let batch = &events[event.at.0];
            let offset = batch.offsets().value(event.at.1);
            places.get(&(Topic::clone(batch.topic()), batch.partition(), offset)).copied()
        };
        let mut learned = Truncates::default();
        learned.learn(events);
        let snapshots = learned.resnapshots().chain(snapshots.iter().copied()).collect();
        let ends = Ends { truncates, snapshots };
        let by_key = by_key.into_iter().map(|(key, events)| (key, moments(&events, &ends, place)));
        Self { by_key: by_key.collect(), rows: TableRows::without_keys(rows) }
    }

    pub(super) fn rows(&self) -> &TableRows {
        &self.rows
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.by_key.keys().map(AsRef::as_ref)
    }

    /// What happened to a key.
    pub(super) fn moments(&self, key: &[u8]) -> &[Moment] {
        self.by_key.get(key).map(Vec::as_slice).unwrap_or_default()
    }
}

/// What ended rows of a table without naming them.
struct Ends {
    truncates: Vec<Truncate>,
    /// Of the rows that they did not read.
    snapshots: Vec<Resnapshot>,
}

type ByKey<T> = BTreeMap<Box<[u8]>, Vec<T>>;

/// The events of each key that count, in their order, and all truncates.
fn events_by_key(batches: &[ChangeBatch]) -> (ByKey<Event>, Vec<Truncate>) {
    let mut by_key: ByKey<(Event, Option<&str>)> = BTreeMap::new();
    let extras: Vec<Extras<'_>> = batches.iter().map(Extras::of).collect();
    let mut truncates = Vec::new();
    for (number, batch) in batches.iter().enumerate() {
        let keys: BinaryArray = references(batch, &key_names(batch));
        for (row, op) in batch.ops().enumerate() {
            let stood = Truncate::at(batch, row);
            if op == Op::Truncate {
                truncates.push(stood);
            } else if keys.is_valid(row) {
                let event = Event { at: (number, row), stood, has_row: op != Op::Delete };
                by_key.entry(keys.value(row).into()).or_default().push((event, extras[number].tx(row)));
            }
        }
    }
    let by_key = by_key.into_iter().map(|(key, mut events)| {
        let mut seen = HashSet::new();
        events.reverse();
        events.retain(|(event, tx)| seen.insert((event.stood.ts_us, event.stood.lsn, *tx)));
        events.reverse();
        let mut events: Vec<Event> = events.into_iter().map(|(event, _)| event).collect();
        events.sort_by_key(Event::place);
        (key, events)
    });
    (by_key.collect(), truncates)
}

fn moments(events: &[Event], ends: &Ends, place: impl Fn(&Event) -> Option<RowPlace>) -> Vec<Moment> {
    let Ends { truncates, snapshots } = ends;
    let taken_us = |snapshot: &Resnapshot| snapshot.at_us.max(0);
    let mut at: BTreeMap<i64, &Event> = BTreeMap::new();
    at.extend(events.iter().map(|event| (time_us(event.stood), event)));
    let row = |at_us: i64, event: &Event| {
        let Truncate { lsn, ts_us } = event.stood;
        let mut truncates = truncates.iter().filter(|truncate| time_us(**truncate) == at_us);
        let mut snapshots = snapshots.iter().filter(|snapshot| taken_us(snapshot) == at_us);
        let is_covered = truncates.any(|truncate| truncate.covers(lsn, ts_us))
            || snapshots.any(|snapshot| snapshot.covers(lsn, ts_us));
        place(event).filter(|_| event.has_row && !is_covered)
    };
    let mut moments: BTreeMap<i64, Option<RowPlace>> =
        truncates.iter().map(|truncate| (time_us(*truncate), None)).collect();
    for snapshot in snapshots {
        let last = at.range(..taken_us(snapshot)).next_back();
        if last.is_some_and(|(_, event)| snapshot.covers(event.stood.lsn, event.stood.ts_us)) {
            moments.insert(taken_us(snapshot), None);
        }
    }
    moments.extend(at.into_iter().map(|(at_us, event)| (at_us, row(at_us, event))));
    moments.into_iter().map(|(at_us, row)| Moment { at_us, row }).collect()
}

/// Where the rows of each event are.
fn places(rows: &[ChangeBatch]) -> HashMap<(Topic, i32, i64), RowPlace> {
    let mut places = HashMap::new();
    for (number, batch) in rows.iter().enumerate() {
        for (row, offset) in batch.offsets().values().iter().enumerate() {
            let at = (Topic::clone(batch.topic()), batch.partition(), *offset);
            places.insert(at, RowPlace { batch: number, row });
        }
    }
    places
}

/// When an event counts: never before 1970, where history begins.
fn time_us(stood: Truncate) -> i64 {
    stood.ts_us.unwrap_or_default().max(0)
}
