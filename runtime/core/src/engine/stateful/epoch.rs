//! The steps of one epoch.
//!
//! Owns which work an epoch takes up: all of its events, and a budget of sweeps
//! and jobs beside them.
//!
//! Invariant: what is not done in the epoch stands in `meta` or in a job.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, BinaryArray};

use super::as_of::Timelines;
use super::changes::{Changes, Rows};
use super::emit::{Emission, Emitted};
use super::evaluate::{PageError, Transforms};
use super::events::EventBatch;
use super::fan_out::{Edge, FanOut, Way};
use super::history::Histories;
use super::ingest::ingest;
use super::join::Tables;
use super::meta::{Sweep, Swept, TableMeta};
use super::outbox::{Insert, Outbox};
use super::plan::Plan;
use super::relation::{Consumption, Relation};
use super::timeline::Emptied;
use super::{Engine, EngineError, EpochEvents, EpochReport};
use crate::change::{ChangeBatch, Op};
use crate::engine::state::{Commit, Space, State};
use crate::fold::{Resnapshot, Truncate};
use crate::version::Version;

/// What an epoch has come to so far.
pub(super) struct EpochWork {
    /// Rows beside the events that may still be taken up.
    budget: usize,
    pub(super) commit: Commit,
    pub(super) outbox: Outbox,
    pub(super) stopped: Vec<(String, String)>,
    pub(super) report: EpochReport,
}

impl EpochWork {
    pub(super) fn new(events: &EpochEvents<'_>, budget: usize) -> Self {
        let commit = Commit {
            term: events.term,
            epoch: events.epoch,
            puts: Vec::new(),
            regroupings: Vec::new(),
            meta: Vec::new(),
            outbox: Vec::new(),
        };
        Self {
            budget,
            commit,
            outbox: Outbox::default(),
            stopped: Vec::new(),
            report: EpochReport::default(),
        }
    }
}

impl Engine {
    /// Notes what the events tell of their tables, and new truncates.
    pub(super) fn learn(&mut self, batches: &[ChangeBatch]) -> Result<(), EngineError> {
        let plan = Arc::clone(&self.plan);
        for relation in &plan.relations {
            let table = &relation.table;
            let own: Vec<&ChangeBatch> = batches.iter().filter(|batch| batch.table() == table).collect();
            for batch in &own {
                let meta = self.meta.tables.entry(table.clone()).or_default();
                if !meta.topics.iter().any(|topic| **topic == **batch.topic()) {
                    meta.topics.push(batch.topic().to_string());
                }
                if batch.tells_key() {
                    learn_key(meta, batch)?;
                }
            }
            if !own.is_empty() {
                self.learn_truncates(relation, &own);
            }
        }
        self.check_lookups()?;
        self.check_versioned()
    }

    fn learn_truncates(&mut self, relation: &Relation, batches: &[&ChangeBatch]) {
        let table = &relation.table;
        let truncates = &mut self.meta.tables.entry(table.clone()).or_default().truncates;
        let known: Vec<Resnapshot> = truncates.resnapshots().collect();
        let is_fresh = !truncates.learn(batches.iter().copied()).is_empty();
        let mut ends_versions = truncates.resnapshots().ne(known);
        if is_fresh {
            self.meta.sweep(Swept::Truncated(table.clone()));
        }
        if relation.history.is_none() {
            return;
        }
        for batch in batches {
            ends_versions |= self.learn_emptied(batch);
        }
        let plans = self.plan.transforms.iter().filter(|plan| plan.spec.source == *table);
        for plan in plans.filter(|plan| ends_versions && plan.keeps_versions()) {
            self.meta.sweep(Swept::Outcomes(plan.spec.name.clone()));
        }
    }

    /// Every truncate ends versions, also one that came before others that cover it.
    /// Is one new?
    fn learn_emptied(&mut self, batch: &ChangeBatch) -> bool {
        let truncates = batch.ops().enumerate().filter(|(_, op)| *op == Op::Truncate);
        let mut is_new = false;
        for (row, _) in truncates {
            is_new |= self.meta.empty(batch.table(), Truncate::at(batch, row));
        }
        is_new
    }

    /// So are versions kept.
    fn check_versioned(&self) -> Result<(), EngineError> {
        for transform in &self.plan.transforms {
            let Some(table) = self.meta.tables.get(&transform.spec.source) else { continue };
            for (target, declared) in transform.targets.iter().zip(&transform.spec.targets) {
                let Some(versions) = &target.versions else { continue };
                if !table.key.is_empty() && table.key != versions.source_key {
                    return Err(EngineError::VersionedKey {
                        transform: transform.spec.name.clone(),
                        target: declared.table.clone(),
                        key: versions.source_key.clone(),
                        table: transform.spec.source.clone(),
                        primary_key: table.key.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// A lookup is by the primary key, which only events tell.
    fn check_lookups(&self) -> Result<(), EngineError> {
        for transform in &self.plan.transforms {
            for (lookup, declared) in transform.lookups.iter().zip(&transform.spec.lookups) {
                let Some(table) = self.meta.tables.get(&declared.table) else { continue };
                if !table.key.is_empty() && table.key != lookup.key {
                    return Err(EngineError::LookupKey {
                        transform: transform.spec.name.clone(),
                        lookup: declared.name.clone(),
                        key: lookup.key.clone(),
                        table: declared.table.clone(),
                        primary_key: table.key.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// What the events, and a page of a truncate, do to the rows of each table.
    pub(super) fn ingest(
        &mut self,
        batches: &[ChangeBatch],
        state: &dyn State,
        work: &mut EpochWork,
    ) -> Result<Vec<Changes>, EngineError> {
        let mut all = Vec::with_capacity(self.plan.relations.len());
        for number in 0..self.plan.relations.len() {
            let table = self.plan.relations[number].table.clone();
            let swept = self.next_page(&Swept::Truncated(table.clone()), state, work)?;
            let relation = &self.plan.relations[number];
            let none = TableMeta::default();
            let meta = self.meta.tables.get(&table).unwrap_or(&none);
            let read = batches.iter().filter(|batch| *batch.table() == table).map(|batch| {
                let topic = meta.topics.iter().position(|topic| **topic == **batch.topic());
                let topic = u32::try_from(topic.unwrap_or_default()).unwrap_or_default();
                EventBatch::read(relation, batch, &meta.key, topic)
            });
            let read = read.collect::<Result<Vec<_>, _>>()?;
            let ingested = ingest(relation, &meta.truncates, &read, &swept, state)?;
            work.commit.puts.extend(ingested.puts);
            work.commit.regroupings.extend(ingested.regroupings);
            if ingested.keyless > 0 {
                work.report.keyless.insert(table.clone(), ingested.keyless);
            }
            if ingested.clock.events > 0 {
                work.report.clock.insert(table, ingested.clock);
            }
            all.push(ingested.changes);
        }
        Ok(all)
    }

    /// Finds the source keys to evaluate.
    pub(super) fn dirty<'a>(
        &mut self,
        plan: &'a Plan,
        changes: &[Changes],
        state: &'a dyn State,
        work: &mut EpochWork,
    ) -> Result<FanOut<'a>, EngineError> {
        let mut fan_out = FanOut::new(plan, state);
        for (number, transform) in plan.transforms.iter().enumerate() {
            let name = &transform.spec.name;
            let again = [Swept::Outcomes, Swept::Letters, Swept::Sources].map(|over| over(name.clone()));
            for over in again {
                fan_out.dirty(number, self.next_page(&over, state, work)?.iter().flatten());
            }
        }
        for (relation, changes) in plan.relations.iter().zip(changes) {
            for (consumer, told) in relation.consumers.iter().zip(&changes.told) {
                let Consumption::Source { transform } = consumer.what else { continue };
                let key = |number: u32| changes.keys.value(number as usize);
                fan_out.dirty(transform, told.iter().map(|number| key(*number)));
                if plan.transforms[transform].keeps_versions() {
                    let histories = changes.histories.iter().flat_map(Histories::changed);
                    fan_out.dirty(transform, histories.map(key));
                }
            }
        }
        fan_out.allow(work.budget);
        for (relation, changes) in plan.relations.iter().zip(changes) {
            fan_out_of(relation, changes, &mut fan_out)?;
        }
        // Old jobs have a budget of their own, or they would wait for ever while
        // many rows change.
        fan_out.allow(work.budget);
        fan_out.work()?;
        Ok(fan_out)
    }

    /// Evaluates what is dirty, and what becomes so with it, and notes what differs.
    pub(super) fn evaluate(
        &mut self,
        plan: &Plan,
        changes: &[Changes],
        mut fan_out: FanOut<'_>,
        (state, transforms): (&dyn State, &dyn Transforms),
        work: &mut EpochWork,
    ) -> Result<(), EngineError> {
        let version = Version::new(work.commit.term, work.commit.epoch);
        let none = TableMeta::default();
        let meta = |relation: &Relation| self.meta.tables.get(&relation.table).unwrap_or(&none);
        let rows = plan.relations.iter().zip(changes).map(|(relation, changes)| Rows {
            space: relation.rows,
            history: relation.history,
            changes,
            truncates: &meta(relation).truncates,
            emptied: Emptied::new(&meta(relation).emptied, meta(relation).truncates.resnapshots()),
        });
        let tables = Tables { relations: &plan.relations, rows: rows.collect(), state };
        let mut timelines = Timelines::new(&plan.dimensions, state);
        let mut differences = Vec::new();
        // As those of lookups.
        fan_out.allow(work.budget);
        for number in plan.order.iter().copied() {
            let transform = &plan.transforms[number];
            let name = &transform.spec.name;
            let stopped = self.meta.transforms.get(name).is_some_and(|meta| meta.stopped.is_some());
            let (_, keys) = fan_out.take(number).finish();
            if stopped || keys.is_empty() {
                continue;
            }
            let source = meta(&plan.relations[transform.relation]);
            let mut emission = Emission::new(number, transform, (&tables, &timelines), transforms, source);
            let mut emitted = match emission.evaluate(&keys).and_then(|()| emission.finish(version)) {
                Ok(emitted) => emitted,
                Err(PageError::Stopped(reason)) => {
                    work.stopped.push((name.clone(), reason));
                    continue;
                }
                Err(PageError::Engine(error)) => return Err(error),
            };
            for (target, changed) in transform.targets.iter().zip(std::mem::take(&mut emitted.timelines)) {
                let Some(dimension) = target.dimension else { continue };
                if let Some(puts) = timelines.take_over(dimension, changed)? {
                    fan_out.versions_changed(dimension, &puts.keys)?;
                    emitted.puts.push(puts);
                }
            }
            differences.push((number, emitted));
        }
        let (puts, more) = fan_out.finish()?;
        work.commit.puts.extend(puts);
        self.meta.jobs = self.meta.jobs.saturating_add_signed(more);
        for (number, emitted) in differences {
            self.take_over(number, emitted, work);
        }
        for (name, reason) in &work.stopped {
            self.meta.transforms.entry(name.clone()).or_default().stopped = Some(reason.clone());
        }
        Ok(())
    }

    fn take_over(&mut self, number: usize, emitted: Emitted, work: &mut EpochWork) {
        let plan = &self.plan.transforms[number];
        work.commit.puts.extend(emitted.puts);
        work.commit.regroupings.extend(emitted.regroupings);
        for (target, batches) in plan.targets.iter().zip(emitted.batches) {
            if !batches.is_empty() {
                work.outbox.inserts.push(Insert { table: target.table.physical_name(), batches });
            }
        }
        work.report.evaluated += emitted.report.evaluated;
        if emitted.report.conflicts > 0 {
            work.report.conflicts.insert(plan.spec.name.clone(), emitted.report.conflicts);
        }
        let meta = self.meta.transforms.entry(plan.spec.name.clone()).or_default();
        meta.held = meta.held.saturating_add_signed(emitted.report.held);
        meta.letters = meta.letters.saturating_add_signed(emitted.report.letters);
        work.outbox.raised.extend(emitted.report.raised);
        work.outbox.cleared.extend(emitted.report.cleared);
    }

    /// The next keys of a sweep, if it is under way.
    fn next_page(
        &mut self,
        over: &Swept,
        state: &dyn State,
        work: &mut EpochWork,
    ) -> Result<BinaryArray, EngineError> {
        let space = self.space_of(over);
        let place = self.meta.sweeps.iter().position(|sweep| sweep.over == *over);
        let (Some(place), Some(space)) = (place, space) else {
            return Ok(BinaryArray::new_null(0));
        };
        let sweep: &mut Sweep = &mut self.meta.sweeps[place];
        let page = state.keys(space, sweep.after.as_deref(), work.budget)?;
        sweep.done += page.len() as u64;
        sweep.after = page.iter().flatten().last().map(<[u8]>::to_vec);
        if page.len() < work.budget {
            self.meta.sweeps.remove(place);
        }
        Ok(page)
    }

    fn space_of(&self, over: &Swept) -> Option<Space> {
        let transform = |name: &String| self.plan.transforms.iter().find(|plan| plan.spec.name == *name);
        match over {
            Swept::Truncated(table) => {
                self.plan.relations.iter().find(|relation| relation.table == *table).map(|r| r.rows)
            }
            Swept::Outcomes(name) => transform(name).map(|plan| plan.outputs),
            Swept::Letters(name) => transform(name).map(|plan| plan.letters),
            Swept::Sources(name) => transform(name).map(|plan| {
                let relation = &self.plan.relations[plan.relation];
                relation.history.filter(|_| plan.keeps_versions()).unwrap_or(relation.rows)
            }),
        }
    }
}

fn learn_key(meta: &mut TableMeta, batch: &ChangeBatch) -> Result<(), EngineError> {
    let fields = batch.row_fields();
    let primary = || batch.key().iter().map(|column| fields[*column].name().as_str());
    let names: BTreeSet<&str> = primary().collect();
    if names.is_empty() {
        return Err(EngineError::NoKey(batch.table().clone()));
    }
    if meta.key.is_empty() {
        meta.key = names.into_iter().map(str::to_owned).collect();
        meta.primary = primary().map(str::to_owned).collect();
    } else if !meta.key.iter().map(String::as_str).eq(names.iter().copied()) {
        return Err(EngineError::KeyChanged {
            table: batch.table().clone(),
            was: meta.key.clone(),
            is: names.into_iter().map(str::to_owned).collect(),
        });
    }
    Ok(())
}

/// Rows that lookups find have changed.
fn fan_out_of(relation: &Relation, changes: &Changes, fan_out: &mut FanOut<'_>) -> Result<(), EngineError> {
    for (consumer, told) in relation.consumers.iter().zip(&changes.told) {
        if let Consumption::Lookup { transform, lookup } = consumer.what
            && !told.is_empty()
        {
            let keys = told.iter().map(|number| changes.keys.value(*number as usize));
            fan_out
                .expand(Edge { transform, way: Way::Lookup(lookup) }, &BinaryArray::from_iter_values(keys))?;
        }
    }
    Ok(())
}
