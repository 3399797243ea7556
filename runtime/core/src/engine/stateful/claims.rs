//! Several source rows for one star key: which of them has it.
//!
//! Owns the rule that the row of the smallest source key stands, compared in the
//! order of the primary key, and the index of all that claim. Does not own
//! evaluation (`emit`).
//!
//! Invariant: before and after each epoch the row that stands is that of the
//! first member of the star key's group.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, BinaryArray, BinaryBuilder, BooleanBuilder};

use super::EngineError;
use super::emit::{Emission, TargetDifference, Tombstone};
use super::outcome::{Entry, Kept};
use crate::engine::state::{Regroupings, Space};
use crate::fold::primary::PrimaryOrder;

/// A star key that no more source rows than this let go of in an epoch is read
/// together with others.
const RELEASED_FEW: usize = 7;

/// The row that a source row gives for a star key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    beside: Box<[u8]>,
    hash: u64,
    /// Page and row, if it was evaluated in this epoch.
    place: Option<(usize, u32)>,
}

impl Given {
    fn of(entry: Entry<'_>, place: Option<(usize, u32)>) -> Self {
        Self { beside: entry.beside.into(), hash: entry.hash, place }
    }

    fn is_same_row(&self, other: &Self) -> bool {
        (&self.beside, self.hash) == (&other.beside, other.hash)
    }
}

/// What a source row gave for a star key before the epoch, and what it gives now.
struct Change {
    old: Option<Given>,
    new: Option<Given>,
}

/// Those that claimed a star key before the epoch: the first, one more than were
/// released. Ranked.
struct Claimants {
    key: Box<[u8]>,
    first: Vec<Vec<u8>>,
}

/// What the epoch does to one star key.
#[derive(Default)]
struct Contest {
    /// By source key, ranked.
    changes: BTreeMap<Box<[u8]>, Change>,
    decision: Option<Decision>,
}

/// What leaves for one star key.
struct Decision {
    live: Option<(usize, u32)>,
    /// The columns beside the key of the row that goes.
    dead: Option<Box<[u8]>>,
    conflicts: u64,
}

/// The star keys of one target that an epoch has to do with.
pub(super) struct Claims {
    /// Of the source table.
    order: PrimaryOrder,
    contests: BTreeMap<Box<[u8]>, Contest>,
    open: BTreeSet<Box<[u8]>>,
}

impl Claims {
    pub(super) fn new(order: PrimaryOrder) -> Self {
        Self { order, contests: BTreeMap::new(), open: BTreeSet::new() }
    }

    /// What `source` gives for a star key has changed. At least one of `old` and
    /// `new` is there.
    pub(super) fn change(
        &mut self,
        source: &[u8],
        old: Option<Entry<'_>>,
        new: Option<(usize, u32, Entry<'_>)>,
    ) {
        let Some(key) = old.or(new.map(|(.., new)| new)).map(|entry| entry.key) else { return };
        if !self.open.contains(key) {
            self.open.insert(key.into());
        }
        if !self.contests.contains_key(key) {
            self.contests.insert(key.into(), Contest::default());
        }
        let contest = self.contests.get_mut(key).expect("just put there");
        let old = old.map(|entry| Given::of(entry, None));
        let new = new.map(|(page, row, entry)| Given::of(entry, Some((page, row))));
        contest.changes.insert(self.order.ranked(source).into(), Change { old, new });
    }

    pub(super) fn is_settled(&self) -> bool {
        self.open.is_empty()
    }

    /// Decides as much as can be; gives the source keys that must be evaluated
    /// before the rest can.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn settle(
        &mut self,
        target: usize,
        emission: &Emission<'_>,
    ) -> Result<BinaryArray, EngineError> {
        let open: Vec<Box<[u8]>> = std::mem::take(&mut self.open).into_iter().collect();
        let mut wanted = BTreeSet::new();
        for Claimants { key, first } in self.claimants(target, open, emission)? {
            match self.decide(target, &key, &first, emission)? {
                Ok(decision) => self.contests.get_mut(&key).expect("it is open").decision = Some(decision),
                Err(source) => {
                    wanted.insert(self.order.named(&source).into_owned());
                    self.open.insert(key);
                }
            }
        }
        Ok(BinaryArray::from_iter_values(wanted))
    }

    fn claimants(
        &self,
        target: usize,
        open: Vec<Box<[u8]>>,
        emission: &Emission<'_>,
    ) -> Result<Vec<Claimants>, EngineError> {
        let space = emission.plan.targets[target].claims;
        let released =
            |key: &[u8]| self.contests[key].changes.values().filter(|change| change.new.is_none()).count();
        let (few, many): (Vec<_>, Vec<_>) = open.into_iter().partition(|key| released(key) <= RELEASED_FEW);
        let mut all = Vec::with_capacity(few.len() + many.len());
        let groups = BinaryArray::from_iter_values(&few);
        let found = emission.tables.state.members(space, &groups, RELEASED_FEW + 1)?;
        let mut own: Vec<Vec<Vec<u8>>> = vec![Vec::new(); few.len()];
        for (group, member) in found.groups.iter().zip(found.members.iter().flatten()) {
            own[*group as usize].push(member.to_vec());
        }
        all.extend(few.into_iter().zip(own).map(|(key, first)| Claimants { key, first }));
        for key in many {
            let page = emission.tables.state.page(space, &key, None, released(&key) + 1)?;
            let first = page.iter().flatten().map(<[u8]>::to_vec).collect();
            all.push(Claimants { key, first });
        }
        Ok(all)
    }

    /// What leaves for `key`, or the source key (ranked) that must be evaluated first.
    /// `members` are the first that claimed it before the epoch, more than were
    /// released.
    fn decide(
        &self,
        target: usize,
        key: &[u8],
        members: &[Vec<u8>],
        emission: &Emission<'_>,
    ) -> Result<Result<Decision, Box<[u8]>>, EngineError> {
        let changes = &self.contests[key].changes;
        let stays = |member: &&[u8]| changes.get(*member).is_none_or(|change| change.new.is_some());
        let claimed = changes.iter().find(|(_, change)| change.new.is_some()).map(|(source, _)| &**source);
        let winner = members.iter().map(Vec::as_slice).find(stays).into_iter().chain(claimed).min();
        let stood = match members.first() {
            None => None,
            Some(first) => match changes.get(first.as_slice()) {
                Some(change) => change.old.clone(),
                None => stored(target, key, &self.order.named(first), emission)?,
            },
        };
        let stands = match winner {
            None => None,
            Some(winner) => match changes.get(winner) {
                Some(change) => change.new.clone(),
                None => given(target, key, &self.order.named(winner), emission)?,
            },
        };
        let conflicts = changes
            .values()
            .filter_map(|change| change.new.as_ref())
            .filter(|new| stands.as_ref().is_some_and(|stands| !stands.is_same_row(new)));
        let conflicts = conflicts.count() as u64;
        let (live, dead) = match (stood, stands, winner) {
            (None, None, _) => (None, None),
            (Some(stood), None, _) => (None, Some(stood.beside)),
            (Some(stood), Some(stands), _) if stood.is_same_row(&stands) => (None, None),
            (stood, Some(stands), winner) => {
                let Some(place) = stands.place else { return Ok(Err(winner.unwrap_or_default().into())) };
                (Some(place), stood.map(|stood| stood.beside).filter(|beside| *beside != stands.beside))
            }
        };
        Ok(Ok(Decision { live, dead, conflicts }))
    }

    /// The rows that leave, and how many source rows gave others than stand.
    pub(super) fn difference(&self) -> (TargetDifference, u64) {
        let mut difference = TargetDifference::default();
        let mut conflicts = 0;
        for (key, contest) in &self.contests {
            let Some(decision) = &contest.decision else { continue };
            conflicts += decision.conflicts;
            difference.live.extend(decision.live);
            difference
                .dead
                .extend(decision.dead.clone().map(|beside| Tombstone { key: key.clone(), beside }));
        }
        (difference, conflicts)
    }

    /// Who claims and who no longer does.
    pub(super) fn regroupings(&self, space: Space) -> Option<Regroupings> {
        let (mut groups, mut members, mut joins) =
            (BinaryBuilder::new(), BinaryBuilder::new(), BooleanBuilder::new());
        for (key, contest) in &self.contests {
            for (source, Change { old, new }) in &contest.changes {
                if old.is_some() != new.is_some() {
                    groups.append_value(key);
                    members.append_value(source);
                    joins.append_value(new.is_some());
                }
            }
        }
        let groups = groups.finish();
        (!groups.is_empty()).then(|| Regroupings {
            space,
            groups,
            members: members.finish(),
            joins: joins.finish(),
        })
    }
}

/// What `source` gives for a star key; from this epoch's evaluation if there was
/// one.
fn given(
    target: usize,
    key: &[u8],
    source: &[u8],
    emission: &Emission<'_>,
) -> Result<Option<Given>, EngineError> {
    let Some((page, number)) = emission.evaluated.get(source) else {
        return stored(target, key, source, emission);
    };
    let mut entries = emission.pages[*page].entries(*number);
    let entry = entries.find(|(_, entry)| entry.target == target && entry.key == key);
    Ok(entry.map(|(row, entry)| Given::of(entry, Some((*page, row)))))
}

/// What it gave before the epoch.
fn stored(
    target: usize,
    key: &[u8],
    source: &[u8],
    emission: &Emission<'_>,
) -> Result<Option<Given>, EngineError> {
    let sources = BinaryArray::from_iter_values([source]);
    let kept = emission.tables.state.read(emission.plan.outputs, &sources)?;
    if kept.is_null(0) {
        return Ok(None);
    }
    let mut entries = Kept::parse(kept.value(0)).entries();
    Ok(entries.find(|entry| entry.target == target && entry.key == key).map(|entry| Given::of(entry, None)))
}
