//! Where the value of a column that was not sent comes from.
//!
//! Owns the two ways an unchanged TOAST value is found: in the row that the key
//! held before, or, after a key change, in the row of the old key as its delete
//! half found it. The halves of a key change lie on any two partitions and come
//! in any order, so the second way is kept as a *link* and followed when rows
//! are asked for.
//!
//! Invariant: a link, once its delete half has been seen with a row, keeps that
//! row for good. A redelivered delete half finds the old key gone and must not
//! undo it.

use std::collections::HashMap;

use super::key::Key;
use super::store::RowRef;

/// A column name, interned: columns keep their identity across wire schemas by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ColumnId(pub(super) usize);

/// Where one unsent value is.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Row(RowRef),
    Link(usize),
    /// The fold began after it was sent.
    Nowhere,
}

/// The unsent columns of a row.
pub(super) type Held = Box<[(ColumnId, Source)]>;

/// A row, and where the values are that it was sent without.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) row: RowRef,
    pub(super) held: Held,
}

impl Kept {
    /// Where the value of `column` of this row is.
    pub(super) fn source(&self, column: ColumnId) -> Source {
        let held = self.held.iter().find(|(unsent, _)| *unsent == column);
        held.map_or(Source::Row(self.row), |(_, source)| *source)
    }
}

/// What both halves of a key change carry alike. LSNs tell changes apart; where
/// the wire has none, the keys must.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LinkId {
    pub(crate) lsn: Option<i64>,
    pub(crate) ts_us: Option<i64>,
    pub(crate) tx: Option<Box<str>>,
    pub(crate) keys: Option<(Key, Key)>,
}

/// A key change.
#[derive(Debug, Default)]
pub(super) struct Link {
    /// The row under the old key, as the delete half found it.
    pub(super) old: Option<Kept>,
    /// Has the delete half been seen?
    pub(super) deleted: bool,
    /// The old key, if the create half could be read so far.
    pub(super) old_key: Option<Key>,
}

/// All key changes seen.
#[derive(Debug, Default)]
pub(super) struct Links {
    by_id: HashMap<LinkId, usize>,
    links: Vec<Link>,
}

impl Links {
    pub(super) fn get(&self, index: usize) -> &Link {
        &self.links[index]
    }

    pub(super) fn len(&self) -> usize {
        self.links.len()
    }

    pub(super) fn kept_mut(&mut self) -> impl Iterator<Item = &mut Kept> {
        self.links.iter_mut().filter_map(|link| link.old.as_mut())
    }

    /// The delete half: `old` is what the old key held.
    pub(super) fn deleted(&mut self, id: LinkId, old: Option<Kept>) {
        let index = self.index(id);
        let link = &mut self.links[index];
        link.deleted = true;
        if link.old.is_none() {
            link.old = old;
        }
    }

    /// The create half.
    pub(super) fn created(&mut self, id: LinkId, old_key: Option<Key>) -> usize {
        let index = self.index(id);
        self.links[index].old_key = old_key;
        index
    }

    fn index(&mut self, id: LinkId) -> usize {
        *self.by_id.entry(id).or_insert_with(|| {
            self.links.push(Link::default());
            self.links.len() - 1
        })
    }
}
