//! One of the map's shards: an arena, and the tables of each space over it.
//!
//! Owns which key is in which shard, and how a change is made. Does not own the
//! order of changes, or when they count (`memory`).
//!
//! Invariant: every key and group of a shard hashes to it, so shards can be
//! changed and loaded at the same time.

use dabi_core::engine::state::Space;
use xxhash_rust::xxh3::xxh3_64;

use super::super::change::{Change, What};
use super::arena::Arena;
use super::groups::Groups;
use super::record;
use super::table::Table;

/// Enough that no one table stalls an epoch when it grows.
pub(super) const SHARDS: usize = 256;

/// The hash of a key or group. It decides the store's order of keys, which
/// outlives the process: it must not change within a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hash(u64);

/// What a shard needs of a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tag(pub(super) u32);

impl Hash {
    pub(super) fn of(key: &[u8]) -> Self {
        Self(xxh3_64(key))
    }

    pub(super) fn shard(self) -> usize {
        (self.0 >> 56) as usize
    }

    pub(super) fn tag(self) -> Tag {
        let [_, a, b, c, d, ..] = self.0.to_be_bytes();
        Tag(u32::from_be_bytes([a, b, c, d]))
    }
}

/// What one kind of space keeps, by space; there are few.
struct BySpace<T>(Vec<(Space, T)>);

impl<T: Default> BySpace<T> {
    fn get(&self, space: Space) -> Option<&T> {
        self.0.iter().find_map(|(other, kept)| (*other == space).then_some(kept))
    }

    fn get_mut(&mut self, space: Space) -> &mut T {
        let place = self.0.binary_search_by_key(&space, |(space, _)| *space).unwrap_or_else(|place| {
            self.0.insert(place, (space, T::default()));
            place
        });
        &mut self.0[place].1
    }
}

/// A part of the map.
#[derive(Default)]
pub(super) struct Shard {
    arena: Arena,
    values: BySpace<Table>,
    groups: BySpace<Groups>,
}

impl<T> Default for BySpace<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl Shard {
    /// The value of `key`.
    pub(super) fn get(&self, space: Space, tag: Tag, key: &[u8]) -> Option<&[u8]> {
        let table = self.values.get(space)?;
        let place = table.find(tag.0, |at| record::read(&self.arena, at).0.cmp(key)).ok()?;
        Some(record::read(&self.arena, table.record(place)).1)
    }

    /// Members of `group`, ascending, from the first that is greater than `after`.
    pub(super) fn members<'a>(
        &'a self,
        space: Space,
        tag: Tag,
        group: &'a [u8],
        after: Option<&'a [u8]>,
    ) -> impl Iterator<Item = &'a [u8]> {
        let groups = self.groups.get(space).into_iter();
        groups.flat_map(move |groups| groups.members(&self.arena, tag, group, after))
    }

    /// Keys of `space` in the shard's order, from the first that follows `after`.
    pub(super) fn keys<'a>(
        &'a self,
        space: Space,
        after: Option<(Tag, &'a [u8])>,
    ) -> impl Iterator<Item = (Tag, &'a [u8], &'a [u8])> {
        let from = after.map_or(0, |(tag, _)| tag.0);
        let records = self.values.get(space).into_iter().flat_map(move |table| table.from(from));
        let records = records.map(|(tag, at)| (Tag(tag), record::read(&self.arena, at)));
        records
            .skip_while(move |(tag, (key, _))| after.is_some_and(|after| (*tag, *key) <= after))
            .map(|(tag, (key, value))| (tag, key, value))
    }

    /// Groups of `space` in the shard's order, from `first` on, itself included.
    pub(super) fn groups<'a>(
        &'a self,
        space: Space,
        first: Option<(Tag, &'a [u8])>,
    ) -> impl Iterator<Item = (Tag, &'a [u8])> {
        let from = first.map_or(Tag(0), |(tag, _)| tag);
        let groups =
            self.groups.get(space).into_iter().flat_map(move |groups| groups.from(&self.arena, from));
        groups.skip_while(move |group| first.is_some_and(|first| *group < first))
    }

    /// The spaces that have values, ascending.
    pub(super) fn value_spaces(&self) -> impl Iterator<Item = Space> {
        self.values.0.iter().map(|(space, _)| *space)
    }

    /// The spaces that have groups, ascending.
    pub(super) fn group_spaces(&self) -> impl Iterator<Item = Space> {
        self.groups.0.iter().map(|(space, _)| *space)
    }

    /// Makes changes whose keys hash to this shard, one after the other.
    pub(super) fn apply<'a>(&mut self, changes: impl IntoIterator<Item = (Tag, Change<'a>)>) {
        let mut room = Vec::new();
        for (tag, Change { space, key, what }) in changes {
            let arena = &mut self.arena;
            match what {
                What::Set(value) => set(arena, self.values.get_mut(space), tag, key, value),
                What::Remove => remove(arena, self.values.get_mut(space), tag, key),
                What::Join(member) => self.groups.get_mut(space).join(arena, tag, key, member, &mut room),
                What::Leave(member) => self.groups.get_mut(space).leave(arena, tag, key, member, &mut room),
            }
        }
        if self.arena.is_wasteful() {
            self.compact();
        }
    }

    /// Keys with a value.
    pub(super) fn entry_count(&self) -> u64 {
        self.values.0.iter().map(|(_, table)| table.len() as u64).sum()
    }

    /// Pairs of group and member.
    pub(super) fn member_count(&self) -> u64 {
        self.groups.0.iter().map(|(_, groups)| groups.member_count()).sum()
    }

    /// Memory held.
    pub(super) fn held_bytes(&self) -> usize {
        let tables = self.values.0.iter().map(|(_, table)| table.held_bytes()).sum::<usize>();
        let groups = self.groups.0.iter().map(|(_, groups)| groups.held_bytes()).sum::<usize>();
        self.arena.held_bytes() + tables + groups
    }

    /// What a dump of it takes, about.
    pub(super) fn live_bytes(&self) -> usize {
        self.arena.live_bytes()
    }

    /// Copies what is live into a new arena: a few milliseconds for some megabytes.
    fn compact(&mut self) {
        let old = std::mem::take(&mut self.arena);
        let new = &mut self.arena;
        for (_, table) in &mut self.values.0 {
            table.relocate(|at| {
                let (key, value) = record::read(&old, at);
                record::write(new, key, value)
            });
        }
        self.groups.0.iter_mut().for_each(|(_, groups)| groups.relocate(&old, new));
    }
}

fn set(arena: &mut Arena, table: &mut Table, tag: Tag, key: &[u8], value: &[u8]) {
    match table.find(tag.0, |at| record::read(arena, at).0.cmp(key)) {
        Ok(place) => {
            let at = table.record(place);
            table.relink(place, record::replace(arena, at, key, value));
        }
        Err(place) => table.insert(place, tag.0, record::write(arena, key, value)),
    }
}

fn remove(arena: &mut Arena, table: &mut Table, tag: Tag, key: &[u8]) {
    if let Ok(place) = table.find(tag.0, |at| record::read(arena, at).0.cmp(key)) {
        record::remove(arena, table.record(place));
        table.remove(place);
    }
}
