//! The map: all shards.
//!
//! Owns how batches are spread over the shards, and the order in which the whole
//! map is walked. Does not own durability.
//!
//! Invariant: the changes of one key or group are made in the order in which
//! they were given.

use std::ops::Range;

use dabi_core::engine::state::Space;
use rayon::prelude::*;

use super::super::change::{self, Change, Changes, What};
use super::shard::{Hash, SHARDS, Shard, Tag};

/// Fewer changes are made sooner than other threads wake.
const PARALLEL_CHANGES_MIN: usize = 2_000;

/// All shards.
pub(super) struct Map {
    shards: Vec<Shard>,
}

/// How far the map has been dumped.
#[derive(Default)]
pub(in crate::state) struct Walk {
    shard: usize,
    /// The last change that was dumped of this shard.
    last: Option<Last>,
}

enum Last {
    Key(Space, Tag, Vec<u8>),
    Member(Space, Tag, Vec<u8>, Vec<u8>),
}

impl Walk {
    pub(super) fn is_done(&self) -> bool {
        self.shard == SHARDS
    }

    /// The shard that is dumped next.
    pub(super) fn shard(&self) -> u16 {
        u16::try_from(self.shard).expect("there are fewer shards")
    }
}

impl Default for Map {
    fn default() -> Self {
        Self::new((0..SHARDS).map(|_| Shard::default()).collect())
    }
}

impl Map {
    /// Of all shards, in order.
    pub(super) fn new(shards: Vec<Shard>) -> Self {
        Self { shards }
    }

    pub(super) fn shards(&self) -> &[Shard] {
        &self.shards
    }

    /// The shard of a hash.
    pub(super) fn shard(&self, hash: Hash) -> &Shard {
        &self.shards[hash.shard()]
    }

    /// Makes the changes that `bytes` are; `None` if they are none.
    pub(super) fn apply(&mut self, bytes: &[u8]) -> Option<()> {
        let mut changes = Vec::new();
        change::read(bytes, |change| changes.push((Hash::of(change.key), change)))?;
        let (order, ranges) = by_shard(&changes);
        let each = |(shard, range): (&mut Shard, &Range<usize>)| {
            if !range.is_empty() {
                let own = order[range.clone()].iter().map(|at| changes[*at as usize]);
                shard.apply(own.map(|(hash, change)| (hash.tag(), change)));
            }
        };
        if changes.len() < PARALLEL_CHANGES_MIN {
            self.shards.iter_mut().zip(&ranges).for_each(each);
        } else {
            self.shards.par_iter_mut().zip(&ranges).for_each(each);
        }
        Some(())
    }

    /// Up to `limit` keys of `space`, from the first that follows `after`.
    pub(super) fn keys<'a>(
        &'a self,
        space: Space,
        after: Option<&'a [u8]>,
    ) -> impl Iterator<Item = &'a [u8]> {
        let hash = after.map(Hash::of);
        let first = hash.map_or(0, Hash::shard);
        self.shards.iter().enumerate().skip(first).flat_map(move |(number, shard)| {
            let after = after.zip(hash).filter(|(_, hash)| hash.shard() == number);
            let after = after.map(|(after, hash)| (hash.tag(), after));
            shard.keys(space, after).map(|(_, key, _)| key)
        })
    }

    /// Writes what follows `walk`, within its shard and up to about `bytes`.
    pub(super) fn dump(&self, walk: &mut Walk, bytes: usize, into: &mut Changes) {
        let Some(shard) = self.shards.get(walk.shard) else { return };
        walk.last = match walk.last.take() {
            None => dump_values(shard, None, bytes, into).or_else(|| dump_groups(shard, None, bytes, into)),
            Some(Last::Key(space, tag, key)) => dump_values(shard, Some((space, tag, &key)), bytes, into)
                .or_else(|| dump_groups(shard, None, bytes, into)),
            Some(Last::Member(space, tag, group, member)) => {
                dump_groups(shard, Some((space, tag, &group, &member)), bytes, into)
            }
        };
        if walk.last.is_none() {
            walk.shard += 1;
        }
    }
}

/// Where it stopped; `None` at the end.
fn dump_values(
    shard: &Shard,
    after: Option<(Space, Tag, &[u8])>,
    bytes: usize,
    into: &mut Changes,
) -> Option<Last> {
    let from = after.map_or(Space(0), |(space, ..)| space);
    for space in shard.value_spaces().filter(|space| *space >= from) {
        let after = after.filter(|(of, ..)| *of == space).map(|(_, tag, key)| (tag, key));
        for (tag, key, value) in shard.keys(space, after) {
            into.push(Change { space, key, what: What::Set(value) });
            if into.len() >= bytes {
                return Some(Last::Key(space, tag, key.to_vec()));
            }
        }
    }
    None
}

/// As [`dump_values`].
fn dump_groups(
    shard: &Shard,
    after: Option<(Space, Tag, &[u8], &[u8])>,
    bytes: usize,
    into: &mut Changes,
) -> Option<Last> {
    let from = after.map_or(Space(0), |(space, ..)| space);
    for space in shard.group_spaces().filter(|space| *space >= from) {
        let after = after.filter(|(of, ..)| *of == space);
        let first = after.map(|(_, tag, group, _)| (tag, group));
        for (tag, group) in shard.groups(space, first) {
            let after = after.filter(|(_, _, of, _)| *of == group).map(|(.., member)| member);
            for member in shard.members(space, tag, group, after) {
                into.push(Change { space, key: group, what: What::Join(member) });
                if into.len() >= bytes {
                    return Some(Last::Member(space, tag, group.to_vec(), member.to_vec()));
                }
            }
        }
    }
    None
}

/// The places of the changes in the order of their shards, and the range of each shard in it.
fn by_shard(changes: &[(Hash, Change<'_>)]) -> (Vec<u32>, Vec<Range<usize>>) {
    let mut counts = vec![0; SHARDS];
    changes.iter().for_each(|(hash, _)| counts[hash.shard()] += 1);
    let mut end = 0;
    let mut ranges: Vec<Range<usize>> = counts
        .into_iter()
        .map(|count: usize| {
            end += count;
            end - count..end - count
        })
        .collect();
    let mut order = vec![0; changes.len()];
    for (at, (hash, _)) in (0..).zip(changes) {
        let range = &mut ranges[hash.shard()];
        order[range.end] = at;
        range.end += 1;
    }
    (order, ranges)
}
