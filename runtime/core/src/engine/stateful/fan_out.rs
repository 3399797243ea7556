//! From changed rows to the source rows that depend on them.
//!
//! Owns the walk back along lookups, and *jobs*: what an epoch has no room for is
//! kept, group by group with a cursor, and worked off a page an epoch.
//!
//! Invariants: a dependent is evaluated in the epoch or stands in a job; an epoch
//! reads at most about two pages of dependents. To be late is right, because an
//! evaluation reads rows as they are; a group that changes again begins anew.
//! Dependents are those of before the epoch: a row that refers to something else
//! since has changed itself.

use std::collections::BTreeMap;

use arrow::array::{Array, BinaryArray, BinaryBuilder};

use super::changes::KeySet;
use super::plan::{Plan, Step};
use crate::engine::state::{Puts, State, StateError};

/// Groups that are asked for at once; a small number, so that one of a usual size
/// is not cut.
const GROUPS: usize = 64;
/// Jobs that one epoch looks at.
const JOBS: usize = 256;

/// One way in which rows of one transform depend on others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Edge {
    pub(super) transform: usize,
    pub(super) way: Way,
}

/// By which a row finds another.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// This lookup.
    Lookup(usize),
    /// This reference to the version of a dimension.
    Version(usize),
}

/// In the bytes of a job: the way is a reference.
const VERSION: u16 = 1 << 15;

/// The walk of one epoch.
pub(super) struct FanOut<'a> {
    plan: &'a Plan,
    state: &'a dyn State,
    /// Rows that may still be read.
    budget: usize,
    /// Source keys to evaluate, by transform; `None` once they were taken.
    dirty: Vec<Option<KeySet>>,
    /// Jobs as the epoch leaves them; `None`: done.
    jobs: BTreeMap<Vec<u8>, Option<Cursor>>,
}

/// Where a job goes on: after this member, or at the first.
type Cursor = Option<Vec<u8>>;

impl<'a> FanOut<'a> {
    pub(super) fn new(plan: &'a Plan, state: &'a dyn State) -> Self {
        let dirty = plan.transforms.iter().map(|_| Some(KeySet::default())).collect();
        Self { plan, state, budget: 0, dirty, jobs: BTreeMap::new() }
    }

    /// Allows so many more rows to be read.
    pub(super) fn allow(&mut self, rows: usize) {
        self.budget = rows;
    }

    /// Source keys of a transform are to be evaluated.
    pub(super) fn dirty<'k>(&mut self, transform: usize, keys: impl Iterator<Item = &'k [u8]>) {
        if let Some(dirty) = &mut self.dirty[transform] {
            keys.for_each(|key| {
                dirty.add(key);
            });
        }
    }

    /// The source keys of a transform, which is evaluated now: what reaches it later
    /// in the epoch is left for the next.
    pub(super) fn take(&mut self, transform: usize) -> KeySet {
        self.dirty[transform].take().unwrap_or_default()
    }

    /// Versions under the natural keys `groups` of a dimension have changed.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn versions_changed(
        &mut self,
        dimension: usize,
        groups: &BinaryArray,
    ) -> Result<(), StateError> {
        for (transform, reference) in &self.plan.dimensions[dimension].readers {
            let edge = Edge { transform: *transform, way: Way::Version(*reference) };
            if self.dirty[*transform].is_some() {
                self.expand(edge, groups)?;
            } else {
                groups.iter().flatten().for_each(|group| self.put_job(edge, group, None));
            }
        }
        Ok(())
    }

    /// Rows that `edge` finds have changed; `groups` are their keys.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn expand(&mut self, edge: Edge, groups: &BinaryArray) -> Result<(), StateError> {
        for from in (0..groups.len()).step_by(GROUPS) {
            let groups = groups.slice(from, GROUPS.min(groups.len() - from));
            if self.budget == 0 {
                groups.iter().flatten().for_each(|group| self.put_job(edge, group, None));
                continue;
            }
            let limit = (self.budget / groups.len()).max(1);
            let found = self.state.members(self.index(edge), &groups, limit)?;
            self.budget = self.budget.saturating_sub(found.members.len());
            for cut in &found.cut {
                let last = found.groups.partition_point(|group| group <= cut) - 1;
                self.put_job(edge, groups.value(*cut as usize), Some(found.members.value(last).to_vec()));
            }
            self.reached(edge, &found.members)?;
        }
        Ok(())
    }

    /// Works off jobs as far as the budget goes.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn work(&mut self) -> Result<(), StateError> {
        let mut after: Option<Vec<u8>> = None;
        while self.budget > 0 {
            let jobs = self.state.keys(self.plan.jobs, after.as_deref(), JOBS)?;
            let Some(last) = jobs.iter().flatten().last() else { break };
            after = Some(last.to_vec());
            let cursors = self.state.read(self.plan.jobs, &jobs)?;
            for (job, cursor) in jobs.iter().flatten().zip(&cursors) {
                // What begins anew in this epoch does so in the next.
                if let Some(cursor) = cursor.filter(|_| self.budget > 0 && !self.jobs.contains_key(job)) {
                    self.work_off(job, cursor)?;
                }
            }
        }
        Ok(())
    }

    fn work_off(&mut self, job: &[u8], cursor: &[u8]) -> Result<(), StateError> {
        let (edge, group) = self.parse(job);
        let limit = self.budget;
        let after = cursor.split_first().map(|(_, after)| after);
        let page = self.state.page(self.index(edge), group, after, limit)?;
        self.budget -= page.len();
        let next = (page.len() == limit).then(|| Some(page.value(page.len() - 1).to_vec()));
        self.jobs.insert(job.to_vec(), next);
        self.reached(edge, &page)
    }

    /// The rows that find through `edge` what has changed.
    fn reached(&mut self, edge: Edge, rows: &BinaryArray) -> Result<(), StateError> {
        match self.step(edge) {
            Step::Source => {
                self.dirty(edge.transform, rows.iter().flatten());
                Ok(())
            }
            Step::Lookup(lookup) if !rows.is_empty() => {
                self.expand(Edge { way: Way::Lookup(lookup), ..edge }, rows)
            }
            Step::Lookup(_) => Ok(()),
        }
    }

    /// Which row finds another through `edge`.
    fn step(&self, edge: Edge) -> Step {
        match edge.way {
            Way::Lookup(lookup) => self.plan.transforms[edge.transform].lookups[lookup].from,
            Way::Version(_) => Step::Source,
        }
    }

    fn index(&self, edge: Edge) -> crate::engine::state::Space {
        let transform = &self.plan.transforms[edge.transform];
        let lookup = match edge.way {
            Way::Version(reference) => return transform.references[reference].readers,
            Way::Lookup(lookup) => &transform.lookups[lookup],
        };
        let relation = match lookup.from {
            Step::Source => transform.relation,
            Step::Lookup(earlier) => transform.lookups[earlier].relation,
        };
        self.plan.relations[relation].indexes[lookup.reference]
    }

    fn put_job(&mut self, edge: Edge, group: &[u8], cursor: Cursor) {
        let number = |number: usize| u16::try_from(number).expect("fewer than 32,768");
        let way = match edge.way {
            Way::Lookup(lookup) => number(lookup),
            Way::Version(reference) => number(reference) | VERSION,
        };
        let mut job = Vec::with_capacity(group.len() + 4);
        job.extend(number(edge.transform).to_be_bytes());
        job.extend(way.to_be_bytes());
        job.extend(group);
        self.jobs.insert(job, Some(cursor));
    }

    fn parse<'j>(&self, job: &'j [u8]) -> (Edge, &'j [u8]) {
        let (numbers, group) = job.split_at(4);
        let number = |at: usize| u16::from_be_bytes([numbers[at], numbers[at + 1]]);
        let way = match number(2) {
            way if way & VERSION != 0 => Way::Version(usize::from(way & !VERSION)),
            way => Way::Lookup(usize::from(way)),
        };
        (Edge { transform: usize::from(number(0)), way }, group)
    }

    /// What is to be written, and by how many more or fewer jobs there are.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn finish(self) -> Result<(Option<Puts>, i64), StateError> {
        if self.jobs.is_empty() {
            return Ok((None, 0));
        }
        let keys = BinaryArray::from_iter_values(self.jobs.keys());
        let stored = self.state.read(self.plan.jobs, &keys)?;
        let mut values = BinaryBuilder::new();
        let mut more = 0;
        for (cursor, stored) in self.jobs.values().zip(&stored) {
            more += i64::from(cursor.is_some()) - i64::from(stored.is_some());
            match cursor {
                None => values.append_null(),
                Some(None) => values.append_value([]),
                Some(Some(after)) => values.append_value([&[0], after.as_slice()].concat()),
            }
        }
        Ok((Some(Puts { space: self.plan.jobs, keys, values: values.finish() }), more))
    }
}
