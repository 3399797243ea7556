//! Groups of members.
//!
//! Owns how a group is kept: while it is small, as one record (group, list);
//! from then on as leaves, lists of some members each under the first of them,
//! so that a group of millions changes and is paged as cheaply as a small one.
//! Does not own the layout of a list (`list`).
//!
//! Invariants: members ascend within a leaf and from leaf to leaf; no leaf is
//! empty; a group without members is not there; the record of a group with
//! leaves has an empty list.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;

use super::arena::{Address, Arena};
use super::shard::Tag;
use super::table::{Place, Table};
use super::{list, record};

/// Longer lists are halved. A change copies one list, a page skips half of one.
const LIST_BYTES_MAX: usize = 1 << 10;
/// What a leaf takes beside its list, as allocators and maps have it.
const LEAF_OVERHEAD_BYTES: usize = 80;

/// Leaves by their first members; the first leaf is under the empty string.
type Leaves = BTreeMap<Box<[u8]>, Address>;

/// The groups of one space in one shard.
#[derive(Default)]
pub(super) struct Groups {
    table: Table,
    large: HashMap<Box<[u8]>, Leaves>,
    leaf_count: usize,
    member_count: u64,
}

impl Groups {
    /// Pairs of group and member.
    pub(super) fn member_count(&self) -> u64 {
        self.member_count
    }

    /// Memory held outside the arena.
    pub(super) fn held_bytes(&self) -> usize {
        self.table.held_bytes() + self.leaf_count * LEAF_OVERHEAD_BYTES
    }

    /// Adds `member` to `group`, if it is not in it.
    pub(super) fn join(
        &mut self,
        arena: &mut Arena,
        tag: Tag,
        group: &[u8],
        member: &[u8],
        room: &mut Vec<u8>,
    ) {
        let place = match self.find(arena, tag, group) {
            Ok(place) => place,
            Err(place) => {
                room.clear();
                list::with(&[], member, room);
                self.table.insert(place, tag.0, record::write(arena, group, room));
                self.member_count += 1;
                return;
            }
        };
        let at = self.table.record(place);
        let (_, members) = record::read(arena, at);
        if members.is_empty() {
            self.join_leaf(arena, group, member, room);
        } else if list::with(members, member, room) {
            self.member_count += 1;
            self.keep(arena, place, group, room);
        }
    }

    /// Removes `member` from `group`, if it is in it.
    pub(super) fn leave(
        &mut self,
        arena: &mut Arena,
        tag: Tag,
        group: &[u8],
        member: &[u8],
        room: &mut Vec<u8>,
    ) {
        let Ok(place) = self.find(arena, tag, group) else { return };
        let at = self.table.record(place);
        let (_, members) = record::read(arena, at);
        if members.is_empty() {
            self.leave_leaf(arena, place, group, member, room);
        } else if list::without(members, member, room) {
            self.member_count -= 1;
            self.keep(arena, place, group, room);
        }
    }

    /// Members of `group`, ascending, from the first that is greater than `after`.
    pub(super) fn members<'a>(
        &'a self,
        arena: &'a Arena,
        tag: Tag,
        group: &[u8],
        after: Option<&'a [u8]>,
    ) -> impl Iterator<Item = &'a [u8]> {
        let whole =
            self.find(arena, tag, group).ok().map(|place| record::read(arena, self.table.record(place)).1);
        let leaves = whole.filter(|list| list.is_empty()).and_then(|_| self.large.get(group));
        let leaves = leaves.into_iter().flat_map(move |leaves| {
            let upto = |after| (Bound::Unbounded, Bound::Included(after));
            let first = after.and_then(|after| leaves.range::<[u8], _>(upto(after)).next_back());
            let first = first.map_or(Bound::Unbounded, |(first, _)| Bound::Included(&**first));
            leaves.range::<[u8], _>((first, Bound::Unbounded)).map(|(_, at)| record::read(arena, *at).1)
        });
        let lists = whole.into_iter().chain(leaves);
        lists.flat_map(list::members).skip_while(move |member| after.is_some_and(|after| *member <= after))
    }

    /// Groups in the order of the table, from those of `tag`.
    pub(super) fn from<'a>(&'a self, arena: &'a Arena, tag: Tag) -> impl Iterator<Item = (Tag, &'a [u8])> {
        self.table.from(tag.0).map(|(tag, at)| (Tag(tag), record::read(arena, at).0))
    }

    /// Copies everything into `new`.
    pub(super) fn relocate(&mut self, old: &Arena, new: &mut Arena) {
        let mut copy = |at| {
            let (key, value) = record::read(old, at);
            record::write(new, key, value)
        };
        self.table.relocate(&mut copy);
        self.large.values_mut().flat_map(BTreeMap::values_mut).for_each(|at| *at = copy(*at));
    }

    fn find(&self, arena: &Arena, Tag(tag): Tag, group: &[u8]) -> Result<Place, Place> {
        self.table.find(tag, |at| record::read(arena, at).0.cmp(group))
    }

    /// Keeps `members` as the whole of a small group, or as the first leaves of a large one.
    fn keep(&mut self, arena: &mut Arena, place: Place, group: &[u8], members: &[u8]) {
        let at = self.table.record(place);
        if members.is_empty() {
            record::remove(arena, at);
            self.table.remove(place);
            return;
        }
        let leaves = (members.len() > LIST_BYTES_MAX).then(|| split(arena, &[], members)).flatten();
        let Some(leaves) = leaves else {
            self.table.relink(place, record::replace(arena, at, group, members));
            return;
        };
        self.leaf_count += leaves.len();
        self.large.insert(group.into(), leaves.into_iter().collect());
        self.table.relink(place, record::replace(arena, at, group, &[]));
    }

    fn join_leaf(&mut self, arena: &mut Arena, group: &[u8], member: &[u8], room: &mut Vec<u8>) {
        let leaves = self.large.get_mut(group).expect("an empty list stands for leaves");
        let (first, at) = leaf_mut(leaves, member);
        if !list::with(record::read(arena, *at).1, member, room) {
            return;
        }
        self.member_count += 1;
        let parts = (room.len() > LIST_BYTES_MAX).then(|| split(arena, first, room)).flatten();
        let Some(parts) = parts else {
            *at = record::replace(arena, *at, &[], room);
            return;
        };
        record::remove(arena, *at);
        self.leaf_count += parts.len() - 1;
        leaves.extend(parts);
    }

    fn leave_leaf(
        &mut self,
        arena: &mut Arena,
        place: Place,
        group: &[u8],
        member: &[u8],
        room: &mut Vec<u8>,
    ) {
        let leaves = self.large.get_mut(group).expect("an empty list stands for leaves");
        let (first, at) = leaf_mut(leaves, member);
        if !list::without(record::read(arena, *at).1, member, room) {
            return;
        }
        self.member_count -= 1;
        if !room.is_empty() {
            *at = record::replace(arena, *at, &[], room);
            return;
        }
        record::remove(arena, *at);
        let first: Box<[u8]> = first.into();
        leaves.remove(&first);
        self.leaf_count -= 1;
        if first.is_empty()
            && let Some((_, next)) = leaves.pop_first()
        {
            leaves.insert(first, next);
        }
        if leaves.is_empty() {
            self.large.remove(group);
            record::remove(arena, self.table.record(place));
            self.table.remove(place);
        }
    }
}

/// The leaf in which `member` is or belongs.
fn leaf_mut<'a>(leaves: &'a mut Leaves, member: &[u8]) -> (&'a [u8], &'a mut Address) {
    let upto = (Bound::Unbounded, Bound::Included(member));
    let (first, at) = leaves.range_mut::<[u8], _>(upto).next_back().expect("the first leaf is under nothing");
    (first, at)
}

/// Two leaves from the list of one that is under `first`; `None` if it has but one member.
fn split(arena: &mut Arena, first: &[u8], members: &[u8]) -> Option<[(Box<[u8]>, Address); 2]> {
    let (lower, upper) = list::halves(members)?;
    let second = list::members(upper).next()?;
    Some([
        (first.into(), record::write(arena, &[], lower)),
        (second.into(), record::write(arena, &[], upper)),
    ])
}
