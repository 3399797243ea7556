//! What one epoch does to the rows of one table, and reading rows as it leaves
//! them.
//!
//! Owns the comparison of old and new rows: who is to be told. Does not own how
//! new rows come about (`ingest`).
//!
//! Invariant: a consumer is told of every row that comes, goes, or changes in a
//! cell that it asks for, and of no other.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use arrow::array::{Array, ArrayBuilder as _, BinaryArray, BinaryBuilder};
use xxhash_rust::xxh3::xxh3_128;

use super::history::Histories;
use super::record::{Head, Record};
use super::relation::Relation;
use super::timeline::Emptied;
use crate::engine::Hashed;
use crate::engine::state::{Space, State, StateError};
use crate::fold::Truncates;

/// Numbers of keys, found by their hash.
pub(super) type KeyNumbers = HashMap<u128, u32, BuildHasherDefault<Hashed>>;

/// Keys, each once, numbered in the order of their coming.
#[derive(Default)]
pub(super) struct KeySet {
    numbers: KeyNumbers,
    keys: BinaryBuilder,
}

impl KeySet {
    pub(super) fn with_capacity(keys: usize) -> Self {
        let numbers = KeyNumbers::with_capacity_and_hasher(keys, BuildHasherDefault::default());
        Self { numbers, keys: BinaryBuilder::with_capacity(keys, keys * 12) }
    }

    /// The number of a key, and whether it is new.
    pub(super) fn add(&mut self, key: &[u8]) -> (u32, bool) {
        let next = u32::try_from(self.keys.len()).expect("fewer than 2^32 keys in an epoch");
        let number = *self.numbers.entry(xxh3_128(key)).or_insert(next);
        if number == next {
            self.keys.append_value(key);
        }
        (number, number == next)
    }

    pub(super) fn add_all(&mut self, keys: &BinaryArray) {
        for key in keys.iter().flatten() {
            self.add(key);
        }
    }

    pub(super) fn finish(mut self) -> (KeyNumbers, BinaryArray) {
        (self.numbers, self.keys.finish())
    }
}

/// The rows that an epoch touches, as they were and as they become; null: there
/// is none.
pub(super) struct Changes {
    pub(super) numbers: KeyNumbers,
    pub(super) keys: BinaryArray,
    pub(super) old: BinaryArray,
    pub(super) new: BinaryArray,
    /// For each consumer of the relation the rows that it is told of.
    pub(super) told: Vec<Vec<u32>>,
    /// What each key was so far, where someone keeps its versions.
    pub(super) histories: Option<Histories>,
}

impl Changes {
    /// `keys` with their rows as stored and as they become. `truncates` already
    /// holds those of this epoch.
    pub(super) fn new(
        relation: &Relation,
        truncates: &Truncates,
        (numbers, keys): (KeyNumbers, BinaryArray),
        (old, new): (BinaryArray, BinaryArray),
        histories: Option<Histories>,
    ) -> Self {
        let mut told = vec![Vec::new(); relation.consumers.len()];
        let mut touched = vec![false; relation.consumers.len()];
        for (number, (old, new)) in (0_u32..).zip(old.iter().zip(&new)) {
            match (old, new) {
                (None, None) => continue,
                (Some(old), Some(new)) if !covered(truncates, &Record::parse(old).head) => {
                    touched.fill(false);
                    touch(relation, &Record::parse(old), &Record::parse(new), &mut touched);
                }
                // It comes or goes; a row that a truncate of this epoch removes goes too.
                _ => touched.fill(true),
            }
            for (told, touched) in told.iter_mut().zip(&touched) {
                if *touched {
                    told.push(number);
                }
            }
        }
        Self { numbers, keys, old, new, told, histories }
    }
}

fn touch(relation: &Relation, old: &Record<'_>, new: &Record<'_>, touched: &mut [bool]) {
    if old.cells == new.cells {
        return;
    }
    for (consumers, (old, new)) in relation.consumers_of.iter().zip(old.cells().zip(new.cells())) {
        if !old.reads_as(&new) {
            consumers.iter().for_each(|consumer| touched[*consumer] = true);
        }
    }
}

/// Is the row gone, although a sweep has not come to it yet?
pub(super) fn covered(truncates: &Truncates, head: &Head) -> bool {
    truncates.cover(head.lsn, head.ts_us)
}

/// One table as an epoch leaves it.
pub(super) struct Rows<'a> {
    pub(super) space: Space,
    pub(super) history: Option<Space>,
    pub(super) changes: &'a Changes,
    pub(super) truncates: &'a Truncates,
    /// When it was emptied; only where someone keeps versions.
    pub(super) emptied: Emptied,
}

/// What was asked for.
pub(super) struct Found<'a> {
    changed: &'a BinaryArray,
    read: BinaryArray,
    places: Vec<Place>,
}

#[derive(Clone, Copy)]
enum Place {
    None,
    Changed(u32),
    Read(u32),
}

impl<'a> Rows<'a> {
    /// The live rows of `keys`, each of which may be null.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn find(&self, state: &dyn State, keys: &BinaryArray) -> Result<Found<'a>, StateError> {
        let mut found = self.find_in(self.space, &self.changes.new, state, keys)?;
        for place in &mut found.places {
            if let Place::Read(number) = *place
                && covered(self.truncates, &Record::parse(found.read.value(number as usize)).head)
            {
                *place = Place::None;
            }
        }
        Ok(found)
    }

    /// The histories of `keys`; nothing if none are kept.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn find_histories(
        &self,
        state: &dyn State,
        keys: &BinaryArray,
    ) -> Result<Option<Found<'a>>, StateError> {
        let (Some(space), Some(changed)) = (self.history, &self.changes.histories) else { return Ok(None) };
        self.find_in(space, &changed.new, state, keys).map(Some)
    }

    fn find_in(
        &self,
        space: Space,
        changed: &'a BinaryArray,
        state: &dyn State,
        keys: &BinaryArray,
    ) -> Result<Found<'a>, StateError> {
        let mut asked = BinaryBuilder::with_capacity(keys.len(), keys.value_data().len());
        let mut places = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(key) = key else {
                places.push(Place::None);
                continue;
            };
            let number = if changed.is_empty() { None } else { self.changes.numbers.get(&xxh3_128(key)) };
            if let Some(number) = number {
                let is_there = changed.is_valid(*number as usize);
                places.push(if is_there { Place::Changed(*number) } else { Place::None });
            } else {
                places.push(Place::Read(u32::try_from(asked.len()).expect("as few as keys")));
                asked.append_value(key);
            }
        }
        let asked = asked.finish();
        let read = if asked.is_empty() { asked } else { state.read(space, &asked)? };
        for place in &mut places {
            if matches!(place, Place::Read(number) if read.is_null(*number as usize)) {
                *place = Place::None;
            }
        }
        Ok(Found { changed, read, places })
    }
}

impl Found<'_> {
    pub(super) fn get(&self, index: usize) -> Option<&[u8]> {
        match self.places[index] {
            Place::None => None,
            Place::Changed(number) => Some(self.changed.value(number as usize)),
            Place::Read(number) => Some(self.read.value(number as usize)),
        }
    }
}

/// The stored row of a key, covered or not.
///
/// # Errors
/// If the store fails.
pub(super) fn stored(state: &dyn State, space: Space, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
    let read = state.read(space, &BinaryArray::from_iter_values([key]))?;
    Ok(read.is_valid(0).then(|| read.value(0).to_vec()))
}
