//! The stateful engine: lookups, several star rows for a source row, several
//! source rows for a star row, versions of rows and references to them. Pure: one
//! epoch of events and a store as the last epoch left it → everything to write and
//! everything to send.
//!
//! Owns the order of an epoch's steps: rows ([`ingest`]), who depends on them
//! ([`fan_out`]), the transform over joined columns ([`join`], [`evaluate`]), what
//! differs from before ([`emit`], [`claims`]). Does not own keeping any of it
//! ([`State`]), running modules ([`Transforms`]), or sending.
//!
//! Invariant: when no work is open, the star equals the transforms applied to the
//! fold of all events so far; until then, but for the source rows that open work
//! will come to. Where versions are kept, it is the transforms applied to every row
//! that the events ever left ([`history`], [`timeline`]); rows that refer to them
//! ([`as_of`]) are evaluated after them, in the same epoch or through a job.
//!
//! ```text
//! events ─► rows of each table ─► consumers told ─► dirty source keys ─► pages ─► differences
//!             (fold's rules)        └► fan-out ──────┘  (budget, jobs)    (join,    (claims,
//!                                                                        call)     outbox)
//! ```
//!
//! The rows of `dabi.calendar` are events that nobody sends: an epoch has those
//! that the store lacks.
//!
//! The shell: [`Engine::open`] with what the store has committed; resend what
//! [`State::unsent`] gives ([`Outbox::decode`]); then for each epoch
//! [`Engine::apply`], [`State::commit`], send [`Commands::outbox`],
//! [`State::sent`]. While [`Engine::has_work`], epochs without events are worth
//! applying. An engine whose epoch was not committed is to be opened again.

mod as_of;
mod bytes;
mod changes;
mod claims;
mod clock;
mod emit;
mod entries;
mod epoch;
mod error;
mod evaluate;
mod events;
mod fan_out;
mod history;
mod ingest;
mod join;
mod meta;
mod outbox;
mod outcome;
mod plan;
mod record;
mod relation;
mod sources;
mod target;
#[cfg(test)]
mod tests;
mod timeline;
mod unsent;
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use self::clock::ClockSteps;
pub use self::error::EngineError;
pub use self::evaluate::{Applied, AppliedError, AppliedRows, Transforms};
pub use self::outbox::{ClearedLetter, Insert, InvalidOutbox, Letter, Outbox};
pub use self::plan::{InvalidPlan, StatefulTransform};

use self::epoch::EpochWork;
use self::meta::{Meta, Swept, TransformMeta};
use self::plan::Plan;
use super::state::{Commit, Committed, State};
use crate::calendar;
use crate::change::ChangeBatch;
use crate::position::Position;
use crate::table::SourceTable;
use crate::version::{Epoch, Term};

/// Limits of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Dependents and swept rows that an epoch takes up beside its events; more
    /// where it has more events than this, so that both cost about the same.
    pub page_rows: usize,
    /// The days of `dabi.calendar`, for transforms that read it or look it up.
    pub calendar: calendar::Span,
}

impl Default for Settings {
    fn default() -> Self {
        Self { page_rows: 10_000, calendar: calendar::Span::default() }
    }
}

/// The stateful engine.
#[derive(Debug)]
pub struct Engine {
    plan: Arc<Plan>,
    settings: Settings,
    meta: Meta,
}

/// What an engine makes of a store.
#[derive(Debug)]
pub enum Opened {
    /// It goes on where the store stands, or begins with an empty one.
    Ready(Engine),
    /// The store was written for other declarations; it is to be emptied and
    /// built anew from the lake.
    Rebuild {
        /// What differs.
        reason: String,
    },
}

/// The events of one epoch.
#[derive(Clone, Copy, Debug)]
pub struct EpochEvents<'a> {
    /// The owner's term.
    pub term: Term,
    /// The epoch.
    pub epoch: Epoch,
    /// Events in the order of reading; those below the engine's position are
    /// skipped, and so are those of tables that no transform asks for.
    pub batches: &'a [ChangeBatch],
    /// Where they end, partitions without events included.
    pub position: &'a Position,
}

/// What is to be done after an epoch: commit, then send.
#[derive(Debug)]
pub struct Commands {
    /// For the store.
    pub commit: Commit,
    /// For the warehouse; the commit holds the same.
    pub outbox: Outbox,
    /// Transforms that cannot go on, by name, and why; the others do.
    pub stopped: Vec<(String, String)>,
    /// What it came to.
    pub report: EpochReport,
}

/// Counts of one epoch; what did not happen is not in the maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EpochReport {
    /// Events applied.
    pub events: u64,
    /// Source rows evaluated.
    pub evaluated: u64,
    /// By source table: events whose key has a null, so that no row can be matched.
    pub keyless: BTreeMap<SourceTable, u64>,
    /// By source table of which history is kept: its commit clock stepped back.
    pub clock: BTreeMap<SourceTable, ClockSteps>,
    /// By transform: source rows that gave another row for a star key than the one
    /// that stands.
    pub conflicts: BTreeMap<String, u64>,
}

/// Work that is not done, for which equality is not claimed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Changed rows whose dependents are still to be evaluated.
    pub jobs: u64,
    /// Work over whole tables: what for, and how many rows are done.
    pub sweeps: Vec<(String, u64)>,
    /// For each transform source rows that wait for a row that a lookup finds.
    pub held: BTreeMap<String, u64>,
    /// For each transform its open dead letters.
    pub letters: BTreeMap<String, u64>,
    /// Stopped transforms, and why.
    pub stopped: BTreeMap<String, String>,
}

impl Engine {
    /// An engine for `transforms` over a store that stands at `committed`. They
    /// come in the order of their names, so that a store is known again.
    ///
    /// # Errors
    /// If the transforms' declarations do not fit together.
    pub fn open(
        transforms: &[StatefulTransform],
        settings: Settings,
        committed: Option<&Committed>,
    ) -> Result<Opened, InvalidPlan> {
        let plan = Plan::new(transforms)?;
        let mut meta = match committed.map(|committed| Meta::decode(&committed.meta)) {
            None => Meta { catalogue: plan.catalogue.clone(), ..Meta::default() },
            Some(Ok(meta)) if meta.catalogue == plan.catalogue => meta,
            Some(Ok(meta)) => {
                return Ok(Opened::Rebuild { reason: difference(&meta.catalogue, &plan.catalogue) });
            }
            Some(Err(error)) => {
                return Ok(Opened::Rebuild { reason: format!("its meta record cannot be read: {error}") });
            }
        };
        for transform in &plan.transforms {
            let name = &transform.spec.name;
            let fresh = TransformMeta { module: transform.module.clone(), ..TransformMeta::default() };
            let known = meta.transforms.entry(name.clone()).or_insert(fresh);
            if known.module != transform.module {
                known.module.clone_from(&transform.module);
                known.stopped = None;
                meta.sweep(Swept::Outcomes(name.clone()));
                meta.sweep(Swept::Sources(name.clone()));
            }
        }
        Ok(Opened::Ready(Self { plan: Arc::new(plan), settings, meta }))
    }

    /// Everything below it is applied.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.meta.position
    }

    /// Source tables of which it wants the events.
    pub fn tables(&self) -> impl Iterator<Item = &SourceTable> {
        self.plan.relations.iter().map(|relation| &relation.table)
    }

    /// Evaluates the source rows of a transform that have a dead letter once more,
    /// in the epochs to come; how many there are, or `None` if there is no such
    /// transform or it is stopped.
    pub fn retry_letters(&mut self, transform: &str) -> Option<u64> {
        let letters = self.meta.transforms.get(transform).filter(|meta| meta.stopped.is_none())?.letters;
        if letters > 0 {
            self.meta.sweep(Swept::Letters(transform.to_owned()));
        }
        Some(letters)
    }

    /// Is there work left that an epoch without events would take up?
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.meta.jobs > 0 || !self.meta.sweeps.is_empty() || self.lacks_days()
    }

    /// Is the calendar that the store has another than the one that is set, and
    /// does anyone ask for it?
    fn lacks_days(&self) -> bool {
        self.meta.calendar != Some(self.settings.calendar)
            && self.tables().any(|table| *table == calendar::table())
    }

    /// Days of the calendar that come and go, once.
    fn days(&mut self) -> Option<ChangeBatch> {
        if !self.lacks_days() {
            return None;
        }
        let before = self.meta.calendar.replace(self.settings.calendar);
        self.settings.calendar.changes_from(before)
    }

    /// What it was opened with.
    #[must_use]
    pub fn settings(&self) -> Settings {
        self.settings
    }

    /// What is not done.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let transforms = &self.meta.transforms;
        let counts = |of: fn(&TransformMeta) -> u64| {
            transforms.iter().map(|(name, meta)| (name.clone(), of(meta))).collect()
        };
        let stopped =
            transforms.iter().filter_map(|(name, meta)| Some((name.clone(), meta.stopped.clone()?)));
        Progress {
            jobs: self.meta.jobs,
            sweeps: self.meta.sweeps.iter().map(|sweep| (sweep.over.to_string(), sweep.done)).collect(),
            held: counts(|meta| meta.held),
            letters: counts(|meta| meta.letters),
            stopped: stopped.collect(),
        }
    }

    /// Applies one epoch; `state` is as the last one left it.
    ///
    /// # Errors
    /// If the store fails, or the events do not fit the declarations.
    pub fn apply(
        &mut self,
        events: &EpochEvents<'_>,
        state: &dyn State,
        transforms: &dyn Transforms,
    ) -> Result<Commands, EngineError> {
        let new = |batch: &ChangeBatch| match self.meta.position.get(batch.topic(), batch.partition()) {
            Some(done) => batch.after(done),
            None => Some(batch.clone()),
        };
        // Whoever else has a table of that name, its rows are not the calendar's.
        let sent = events.batches.iter().filter(|batch| *batch.table() != calendar::table());
        let mut batches: Vec<ChangeBatch> = sent.filter_map(new).collect();
        batches.extend(self.days());
        let rows: usize = batches.iter().map(ChangeBatch::num_rows).sum();
        self.meta.advance(events.position);
        self.learn(&batches)?;
        let mut work = EpochWork::new(events, self.settings.page_rows.max(rows));
        work.report.events = rows as u64;
        let changes = self.ingest(&batches, state, &mut work)?;
        let plan = Arc::clone(&self.plan);
        let fan_out = self.dirty(&plan, &changes, state, &mut work)?;
        self.evaluate(&plan, &changes, fan_out, (state, transforms), &mut work)?;
        let EpochWork { mut commit, mut outbox, stopped, report, .. } = work;
        outbox.position = self.meta.position.clone();
        commit.meta = self.meta.encode();
        if !outbox.is_empty() {
            commit.outbox = outbox.encode().map_err(EngineError::Outbox)?;
        }
        Ok(Commands { commit, outbox, stopped, report })
    }
}

/// The first thing that differs between what a store holds and what is asked.
fn difference(stored: &[String], asked: &[String]) -> String {
    let pairs = stored.iter().map(Some).chain(std::iter::repeat(None));
    let asked = asked.iter().map(Some).chain(std::iter::once(None));
    match pairs.zip(asked).find(|(stored, asked)| stored != asked) {
        Some((Some(stored), Some(asked))) => format!("it keeps {stored}; asked for: {asked}"),
        Some((None, Some(asked))) => format!("it does not keep {asked}"),
        Some((Some(stored), None)) => format!("it keeps {stored}, which nobody asks for"),
        _ => "it was written by another version of dabi".to_owned(),
    }
}
