//! A store in plain maps, for tests of what stands on one.
//!
//! It keeps what every store promises and checks what every commit must keep:
//! epochs in order, keys and pairs once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use arrow::array::{Array, BinaryArray};

use super::{Commit, Committed, Members, Space, State, StateError, StateSize, Unsent};
use crate::version::Epoch;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct MapState {
    values: BTreeMap<Space, BTreeMap<Vec<u8>, Vec<u8>>>,
    groups: BTreeMap<Space, BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>>,
    committed: Option<Committed>,
    unsent: Vec<Unsent>,
}

impl MapState {
    /// Everything that it holds: values, and members as `group → member`.
    #[must_use]
    pub fn dump(&self) -> BTreeMap<(Space, Vec<u8>), Vec<Vec<u8>>> {
        let values = self.values.iter().flat_map(|(space, entries)| {
            entries.iter().map(|(key, value)| ((*space, key.clone()), vec![value.clone()]))
        });
        let groups = self.groups.iter().flat_map(|(space, groups)| {
            groups.iter().map(|(group, members)| ((*space, group.clone()), members.iter().cloned().collect()))
        });
        values.chain(groups).collect()
    }

    fn group(&self, space: Space, group: &[u8]) -> Option<&BTreeSet<Vec<u8>>> {
        self.groups.get(&space)?.get(group)
    }
}

fn after(key: Option<&[u8]>) -> (Bound<&[u8]>, Bound<&[u8]>) {
    (key.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded)
}

impl State for MapState {
    fn read(&self, space: Space, keys: &BinaryArray) -> Result<BinaryArray, StateError> {
        assert_eq!(keys.null_count(), 0, "a key to read is not null");
        let Some(entries) = self.values.get(&space) else { return Ok(BinaryArray::new_null(keys.len())) };
        Ok(keys.iter().map(|key| entries.get(key?)).collect())
    }

    fn members(&self, space: Space, groups: &BinaryArray, limit: usize) -> Result<Members, StateError> {
        let (mut of, mut members, mut cut) = (Vec::new(), Vec::new(), Vec::new());
        for (number, group) in (0_u32..).zip(groups.iter().flatten()) {
            let Some(all) = self.group(space, group) else { continue };
            members.extend(all.iter().take(limit));
            of.resize(members.len(), number);
            if all.len() > limit {
                cut.push(number);
            }
        }
        Ok(Members { groups: of, members: BinaryArray::from_iter_values(members), cut })
    }

    fn page(
        &self,
        space: Space,
        group: &[u8],
        from: Option<&[u8]>,
        limit: usize,
    ) -> Result<BinaryArray, StateError> {
        let members = self.group(space, group).into_iter();
        let members = members.flat_map(|all| all.range::<[u8], _>(after(from))).take(limit);
        Ok(BinaryArray::from_iter_values(members))
    }

    fn keys(&self, space: Space, from: Option<&[u8]>, limit: usize) -> Result<BinaryArray, StateError> {
        let entries = self.values.get(&space).into_iter();
        let keys = entries.flat_map(|all| all.range::<[u8], _>(after(from))).map(|(key, _)| key);
        Ok(BinaryArray::from_iter_values(keys.take(limit)))
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StateError> {
        if let Some(last) = &self.committed {
            let follows = commit.term == last.term && commit.epoch == last.epoch.next();
            assert!(follows || commit.term > last.term, "an epoch follows the one before");
        }
        let mut seen = BTreeSet::new();
        for puts in &commit.puts {
            let entries = self.values.entry(puts.space).or_default();
            for (key, value) in puts.keys.iter().zip(&puts.values) {
                let key = key.expect("a key is not null").to_vec();
                assert!(seen.insert((puts.space, key.clone(), Vec::new())), "a key stands once in a commit");
                match value {
                    Some(value) => drop(entries.insert(key, value.to_vec())),
                    None => drop(entries.remove(&key)),
                }
            }
        }
        for regroupings in &commit.regroupings {
            let groups = self.groups.entry(regroupings.space).or_default();
            let pairs = regroupings.groups.iter().flatten().zip(regroupings.members.iter().flatten());
            for ((group, member), joins) in pairs.zip(&regroupings.joins) {
                let pair = (regroupings.space, group.to_vec(), member.to_vec());
                assert!(seen.insert(pair), "a pair stands once in a commit");
                let members = groups.entry(group.to_vec()).or_default();
                if joins == Some(true) {
                    members.insert(member.to_vec())
                } else {
                    members.remove(member)
                };
                if members.is_empty() {
                    groups.remove(group);
                }
            }
        }
        self.committed =
            Some(Committed { term: commit.term, epoch: commit.epoch, meta: commit.meta.clone() });
        if !commit.outbox.is_empty() {
            let outbox = commit.outbox.clone();
            self.unsent.push(Unsent { term: commit.term, epoch: commit.epoch, outbox });
        }
        Ok(())
    }

    fn sent(&mut self, epoch: Epoch) -> Result<(), StateError> {
        let Some(Committed { term, .. }) = self.committed else { return Ok(()) };
        self.unsent.retain(|unsent| unsent.term == term && unsent.epoch > epoch);
        Ok(())
    }

    fn committed(&self) -> Option<Committed> {
        self.committed.clone()
    }

    fn unsent(&self) -> Result<Vec<Unsent>, StateError> {
        Ok(self.unsent.clone())
    }

    fn size(&self) -> StateSize {
        let entries = self.values.values().map(BTreeMap::len).sum::<usize>();
        let members = self.groups.values().flat_map(BTreeMap::values).map(BTreeSet::len).sum::<usize>();
        StateSize { entries: Some(entries as u64), members: Some(members as u64), ..StateSize::default() }
    }
}
