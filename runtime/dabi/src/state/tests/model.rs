//! What a store should hold, in ordered maps.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use arrow::array::{Array as _, BinaryArray};
use dabi_core::engine::state::{Commit, Committed, Space, State, Unsent};
use dabi_core::version::{Epoch, Version};

type Bytes = Vec<u8>;

/// What a store should hold.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    values: BTreeMap<Space, BTreeMap<Bytes, Bytes>>,
    groups: BTreeMap<Space, BTreeMap<Bytes, BTreeSet<Bytes>>>,
    pub(super) committed: Option<Committed>,
    unsent: VecDeque<Unsent>,
}

impl Model {
    pub(super) fn commit(&mut self, commit: &Commit) {
        for puts in &commit.puts {
            let values = self.values.entry(puts.space).or_default();
            for (key, value) in puts.keys.iter().zip(&puts.values) {
                let key = key.unwrap().to_vec();
                match value {
                    Some(value) => _ = values.insert(key, value.to_vec()),
                    None => _ = values.remove(&key),
                }
            }
        }
        for all in &commit.regroupings {
            let groups = self.groups.entry(all.space).or_default();
            for ((group, member), joins) in all.groups.iter().zip(&all.members).zip(&all.joins) {
                let members = groups.entry(group.unwrap().to_vec()).or_default();
                if joins.unwrap() {
                    members.insert(member.unwrap().to_vec());
                } else {
                    members.remove(member.unwrap());
                }
            }
            groups.retain(|_, members| !members.is_empty());
        }
        let (term, epoch) = (commit.term, commit.epoch);
        self.committed = Some(Committed { term, epoch, meta: commit.meta.clone() });
        if !commit.outbox.is_empty() {
            self.unsent.push_back(Unsent { term, epoch, outbox: commit.outbox.clone() });
        }
    }

    pub(super) fn sent(&mut self, epoch: Epoch) {
        let Some(last) = &self.committed else { return };
        let sent = Version::new(last.term, epoch);
        self.unsent.retain(|unsent| Version::new(unsent.term, unsent.epoch) > sent);
    }

    /// Compares everything that `store` holds.
    pub(super) fn check(&self, store: &dyn State) {
        assert_eq!(store.committed(), self.committed);
        // what is sent may come back after a crash, as it was and in order
        let unsent = store.unsent().unwrap();
        let own: Vec<Unsent> = self.unsent.iter().cloned().collect();
        assert!(unsent.ends_with(&own), "{} outboxes, not {}", unsent.len(), own.len());
        let size = store.size();
        let entries: u64 = self.values.values().map(|values| values.len() as u64).sum();
        let members: u64 =
            self.groups.values().flat_map(BTreeMap::values).map(|group| group.len() as u64).sum();
        assert!(size.entries.is_none_or(|counted| counted == entries), "{size:?}, not {entries}");
        assert!(size.members.is_none_or(|counted| counted == members), "{size:?}, not {members}");
        for (space, values) in &self.values {
            check_values(store, *space, values);
        }
        for (space, groups) in &self.groups {
            check_groups(store, *space, groups);
        }
    }
}

fn check_values(store: &dyn State, space: Space, values: &BTreeMap<Bytes, Bytes>) {
    let all = pages(|after| store.keys(space, after, 7).unwrap());
    let distinct: BTreeSet<&Bytes> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "a key is given once");
    assert!(distinct.into_iter().eq(values.keys()));
    let keys: BinaryArray = values.keys().chain([&b"never there".to_vec()]).map(Some).collect();
    let read = store.read(space, &keys).unwrap();
    let expected: BinaryArray = values.values().map(Some).chain([None]).collect();
    assert_eq!(read, expected);
}

fn check_groups(store: &dyn State, space: Space, groups: &BTreeMap<Bytes, BTreeSet<Bytes>>) {
    for (group, members) in groups {
        let paged = pages(|after| store.page(space, group, after, 5).unwrap());
        assert!(paged.iter().eq(members), "{} members of {group:?}, not {}", paged.len(), members.len());
        let after = members.iter().nth(members.len() / 2).unwrap();
        let rest = store.page(space, group, Some(after), usize::MAX).unwrap();
        assert!(rest.iter().flatten().eq(members.iter().filter(|member| *member > after)));
    }
    let asked: Vec<&Bytes> = groups.keys().collect();
    let with_a_miss: BinaryArray = asked.iter().map(Some).chain([Some(&&b"never there".to_vec())]).collect();
    for limit in [1, 3, usize::MAX] {
        let read = store.members(space, &with_a_miss, limit).unwrap();
        let (mut places, mut members, mut cut) = (Vec::new(), Vec::new(), Vec::new());
        for (place, group) in (0_u32..).zip(&asked) {
            members.extend(groups[*group].iter().take(limit));
            places.resize(members.len(), place);
            cut.extend((groups[*group].len() > limit).then_some(place));
        }
        assert_eq!((read.groups, read.cut), (places, cut));
        assert!(read.members.iter().flatten().eq(members));
    }
}

/// All that `page` gives, one page after the other.
fn pages(page: impl Fn(Option<&[u8]>) -> BinaryArray) -> Vec<Bytes> {
    let mut all: Vec<Bytes> = Vec::new();
    loop {
        let next = page(all.last().map(Vec::as_slice));
        if next.is_empty() {
            return all;
        }
        all.extend(next.iter().map(|bytes| bytes.unwrap().to_vec()));
    }
}
