//! Values that were not sent (unchanged TOAST): where they come from.
//!
//! Owns the fold's two ways (`fold::held`), over the store: the row that the key
//! held before, or, after a key change, the row of the old key as its delete half
//! found it. The halves lie on any two partitions; until the delete half is seen,
//! the old key's row so far stands in, and the row is *pending*: looked at again
//! in every epoch of its table.
//!
//! Invariant: a key change, once its delete half was seen with a row, keeps that
//! row for good, because a redelivered create half asks for it again.

use std::collections::BTreeMap;

use arrow::array::{Array, BinaryArray};

use super::bytes::{push_bytes, take_bytes};
use super::record::{Known, OwnedCell, OwnedRecord};
use crate::engine::state::{Puts, Space, State, StateError};
use crate::fold::held::LinkId;

/// A key change as it lies in the store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Link {
    /// The row under the old key, as the delete half found it.
    old: Option<OwnedRecord>,
    /// Has the delete half been seen?
    deleted: bool,
    /// The old key, if the create half could be read so far.
    old_key: Option<Box<[u8]>>,
}

/// Gives the row that a key has.
pub(super) type CurrentRow<'a> = dyn FnMut(&[u8]) -> Result<Option<OwnedRecord>, StateError> + 'a;

const DELETED: u8 = 1;
const HAS_OLD: u8 = 2;
const HAS_KEY: u8 = 4;

impl Link {
    fn parse(mut bytes: &[u8]) -> Self {
        let flags = bytes[0];
        bytes = &bytes[1..];
        let old_key = (flags & HAS_KEY != 0).then(|| take_bytes(&mut bytes).into());
        let old = (flags & HAS_OLD != 0).then(|| OwnedRecord::parse(bytes));
        Self { old, deleted: flags & DELETED != 0, old_key }
    }

    fn bytes(&self) -> Vec<u8> {
        let flag = |has: bool, flag: u8| if has { flag } else { 0 };
        let mut buffer = vec![
            flag(self.deleted, DELETED)
                | flag(self.old.is_some(), HAS_OLD)
                | flag(self.old_key.is_some(), HAS_KEY),
        ];
        if let Some(key) = &self.old_key {
            push_bytes(&mut buffer, key);
        }
        if let Some(old) = &self.old {
            old.push(&mut buffer);
        }
        buffer
    }
}

/// The key changes of a table that an epoch has to do with.
pub(super) struct KeyChanges<'a> {
    state: &'a dyn State,
    space: Space,
    /// Each with what the store has of it.
    links: BTreeMap<Vec<u8>, (Link, Option<Link>)>,
}

impl<'a> KeyChanges<'a> {
    pub(super) fn new(state: &'a dyn State, space: Space) -> Self {
        Self { state, space, links: BTreeMap::new() }
    }

    fn get(&mut self, id: &[u8]) -> Result<&mut Link, StateError> {
        if !self.links.contains_key(id) {
            let read = self.state.read(self.space, &BinaryArray::from_iter_values([id]))?;
            let stored = read.is_valid(0).then(|| Link::parse(read.value(0)));
            self.links.insert(id.to_vec(), (stored.clone().unwrap_or_default(), stored));
        }
        Ok(&mut self.links.get_mut(id).expect("just put there").0)
    }

    /// The delete half: `old` is what the old key held.
    pub(super) fn deleted(&mut self, id: &[u8], old: Option<OwnedRecord>) -> Result<(), StateError> {
        let link = self.get(id)?;
        link.deleted = true;
        if link.old.is_none() {
            link.old = old;
        }
        Ok(())
    }

    /// The create half.
    pub(super) fn created(&mut self, id: &[u8], old_key: Option<Box<[u8]>>) -> Result<(), StateError> {
        self.get(id)?.old_key = old_key;
        Ok(())
    }

    /// Fills the linked cells of `record` as far as it goes; if none of them can
    /// change any more, they are its own. `current` gives the row that a key has.
    pub(super) fn fill(
        &mut self,
        record: &mut OwnedRecord,
        current: &mut CurrentRow<'_>,
    ) -> Result<(), StateError> {
        let Some(link) = record.link.clone() else { return Ok(()) };
        let mut settled = true;
        for cell in 0..record.cells.len() {
            if record.cells[cell].linked {
                let (found, is_final) = self.follow(&link, cell, current)?;
                record.cells[cell] = OwnedCell { linked: true, ..found };
                settled &= is_final;
            }
        }
        if settled {
            record.link = None;
            record.cells.iter_mut().for_each(|cell| cell.linked = false);
        }
        Ok(())
    }

    /// What a cell is at the end of a chain of key changes, and whether that is
    /// final.
    fn follow(
        &mut self,
        link: &[u8],
        cell: usize,
        current: &mut CurrentRow<'_>,
    ) -> Result<(OwnedCell, bool), StateError> {
        let nowhere = OwnedCell { known: Known::Nowhere, linked: false, bytes: Box::default() };
        let mut id: Box<[u8]> = link.into();
        let mut seen = Vec::new();
        let mut is_final = true;
        // A circle has no value in it.
        while !seen.contains(&id) {
            let link = self.get(&id)?;
            let old = match (&link.old, link.deleted, &link.old_key) {
                (Some(old), ..) => Some(old.clone()),
                (None, false, Some(key)) => {
                    is_final = false;
                    current(&key.clone())?
                }
                _ => None,
            };
            // Without a row the delete half may still bring one, if it comes again.
            let Some(old) = old else { return Ok((nowhere, false)) };
            let next = match (&old.cells[cell], old.link) {
                (found, Some(next)) if found.linked => next,
                (found, _) => return Ok((found.clone(), is_final)),
            };
            seen.push(std::mem::replace(&mut id, next));
        }
        Ok((nowhere, false))
    }

    /// What is to be written.
    pub(super) fn puts(&self) -> Option<Puts> {
        let changed: Vec<_> = self
            .links
            .iter()
            .filter(|(_, (link, stored))| stored.as_ref() != Some(link) && *link != Link::default())
            .collect();
        (!changed.is_empty()).then(|| Puts {
            space: self.space,
            keys: BinaryArray::from_iter_values(changed.iter().map(|(id, _)| id.as_slice())),
            values: BinaryArray::from_iter_values(changed.iter().map(|(_, (link, _))| link.bytes())),
        })
    }
}

/// The name of a key change in the store.
pub(super) fn link_bytes(id: &LinkId) -> Vec<u8> {
    let mut buffer = Vec::new();
    for number in [id.lsn, id.ts_us] {
        buffer.push(u8::from(number.is_some()));
        buffer.extend(number.unwrap_or_default().to_be_bytes());
    }
    push_bytes(&mut buffer, id.tx.as_deref().unwrap_or_default().as_bytes());
    if let Some((old, new)) = &id.keys {
        push_bytes(&mut buffer, old);
        push_bytes(&mut buffer, new);
    }
    buffer
}
