//! Bringing up the transforms that need row state: from their store where it
//! can be trusted, else from the lake.
//!
//! Owns the decision, and the way of a rebuild: a new generation of the tables is
//! filled from the lake beside the one that readers see, then shown in its place.
//! Does not own the store (`state`) or the engine (`stateful`).
//!
//! Invariant: what readers see is a generation that was filled by one store from
//! its first epoch on. So no row is left that the store does not know of.
//!
//! Views and tables carry no term. So that an older owner that wakes up, at
//! whatever moment, does not show its own generation for good:
//! - an owner creates its tables first, then looks at the fence, then shows them.
//!   So whoever still shows something after a newer owner has taken the star over
//!   had created it before, and the newer one finds it;
//! - the newer owner, once its own are whole, drops all others, and then looks
//!   again which are shown. ClickHouse refuses a view of a table that is gone, so
//!   what was shown in its place before that look is replaced, and after it
//!   nothing can be.
//!
//! (What remains: a CREATE TABLE that the server executes long after its sender has
//! given up on it, asked again, and been outdone.)

use dabi_core::dead_letter::DeadLetter;
use dabi_core::engine::stateful::{
    Engine, InvalidPlan, Opened as Plan, Outbox, Settings as EngineSettings, StatefulTransform,
};
use dabi_core::position::Position;
use dabi_core::resume;
use dabi_core::star::TargetTable;
use dabi_core::table::SourceTable;
use dabi_core::version::{Term, Version};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::evaluator::{Evaluator, StarEpoch};
use super::neighbours::{Neighbours, StarWarehouse};
use super::replay::Pages;
use super::stateful::{Member, Stateful, StatefulError, open_engine};
use super::transforms::{FIRST_GENERATION, Loaded, tables};
use super::{PipelineError, on_cpu, star_lane};
use crate::config::Settings;
use crate::failpoint::{Failpoint, reach};
use crate::lake::Lake;
use crate::state::{Identity, Opened};
use crate::telemetry::Metrics;
use crate::warehouse::{EpochRecord, Generations, LetterScope};

/// What bringing up takes.
pub(super) struct BringUp<'a> {
    pub(super) settings: &'a Settings,
    pub(super) neighbours: &'a dyn Neighbours,
    pub(super) lake: &'a Lake,
    pub(super) lake_position: &'a Position,
    pub(super) warehouse: &'a dyn StarWarehouse,
    /// To the lake's lane.
    pub(super) letters: &'a mpsc::Sender<Vec<DeadLetter>>,
    pub(super) metrics: &'a Metrics,
    pub(super) stop: &'a CancellationToken,
    pub(super) abort: &'a CancellationToken,
}

/// What becomes of the generation that readers see, if it is another.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shown {
    Kept,
    Dropped,
}

impl BringUp<'_> {
    /// Gives `evaluator` the transforms of `loaded`, at the lake's position if
    /// they were rebuilt. `record` is the last epoch that the warehouse knows.
    ///
    /// # Errors
    /// If the store, the lake or the warehouse halts, or the declarations do not
    /// fit together.
    pub(super) async fn bring_up(
        &self,
        mut evaluator: Evaluator,
        mut loaded: Vec<Loaded>,
        record: Option<&EpochRecord>,
    ) -> Result<Evaluator, PipelineError> {
        if loaded.is_empty() {
            return Ok(evaluator);
        }
        loaded.sort_by(|a, b| a.module.spec().name.cmp(&b.module.spec().name));
        let views = loaded.iter().flat_map(|one| &one.module.spec().targets).map(|target| &target.table);
        let mut generations = Generations::default();
        for view in views {
            generations.merge(self.warehouse.generations(view, self.stop).await?);
        }
        let (stateful, reason) = self.open(&loaded, &generations, record).await?;
        evaluator.stateful = Some(stateful);
        match reason {
            None => self.go_on(evaluator).await,
            Some(reason) => {
                // Not below the term, so that no two owners fill the same tables:
                // a newer one's are there only once it is seen at the fence.
                self.fence(evaluator.term).await?;
                let free = generations.highest.map_or(FIRST_GENERATION, |highest| highest + 1);
                let next = free.max(evaluator.term.0);
                self.rebuild(evaluator, loaded, next, generations.shown, &reason).await
            }
        }
    }

    /// The engine on its store, and why it cannot be used as it is.
    async fn open(
        &self,
        loaded: &[Loaded],
        generations: &Generations,
        record: Option<&EpochRecord>,
    ) -> Result<(Stateful, Option<String>), PipelineError> {
        let generation = generations.shown.unwrap_or(FIRST_GENERATION);
        let members: Vec<Member> = members(loaded, generation);
        let (mut state, opened) =
            self.neighbours.state(self.identity()).await.map_err(StatefulError::State)?;
        let mut reason = match opened {
            Opened::New => Some("it is new".to_owned()),
            Opened::Recovered { took, unsent } => {
                let size = state.size();
                tracing::info!(
                    entries = size.entries,
                    memory_bytes = size.memory_bytes,
                    unsent,
                    "state recovered in {:.2} s",
                    took.as_secs_f64()
                );
                None
            }
            Opened::Rebuild { reason, aside } => {
                Some(format!("{reason} (what was there is in {})", aside.display()))
            }
        };
        let engine = match open_engine(&members, self.engine_settings(), state.as_ref())
            .map_err(StatefulError::Plan)?
        {
            Plan::Ready(engine) => {
                let distrust = resume::distrust(engine.position(), record);
                reason = reason.or_else(|| distrust.map(str::to_owned));
                Some(engine)
            }
            Plan::Rebuild { reason: difference } => {
                reason = reason.or(Some(difference));
                None
            }
        };
        if reason.is_none()
            && let Some(committed) = state.committed()
            && self.is_ahead(&members, generations, Version::new(committed.term, committed.epoch)).await?
        {
            reason = Some("it is older than what its tables hold".to_owned());
        }
        if let Some(reason) = &reason
            && state.committed().is_some()
        {
            drop(state);
            let renewed = self.neighbours.renewed_state(self.identity(), reason).await;
            state = renewed.map_err(StatefulError::State)?;
        }
        let engine = match engine.filter(|_| reason.is_none()) {
            Some(engine) => engine,
            None => fresh_engine(&members, self.engine_settings(), state.as_ref())?,
        };
        Ok((Stateful::new(engine, state, members, self.metrics.clone()), reason))
    }

    /// Do the tables of `members` hold rows of a later epoch than `committed`? Then
    /// the store is a copy from before: it was sent what the store does not know of,
    /// which need not have been recorded yet.
    async fn is_ahead(
        &self,
        members: &[Member],
        generations: &Generations,
        committed: Version,
    ) -> Result<bool, PipelineError> {
        let tables = members.iter().flat_map(|member| &member.tables);
        for table in tables.filter(|table| generations.tables.contains(&table.physical_name())) {
            if self.warehouse.highest_version(table, self.stop).await? > committed {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn engine_settings(&self) -> EngineSettings {
        let defaults = EngineSettings::default();
        let page_rows = defaults.page_rows.min(self.settings.limits.epoch_rows_max);
        EngineSettings { calendar: self.settings.calendar, page_rows }
    }

    /// Whose state it is.
    fn identity(&self) -> Identity {
        Identity { pipeline: self.settings.pipeline.clone(), lake: self.settings.lake.url.clone() }
    }

    /// Stores what a page of the lake has become.
    ///
    /// # Errors
    /// If the warehouse refuses for good.
    pub(super) async fn store(&self, star: &StarEpoch) -> Result<(), PipelineError> {
        star_lane::store(self.warehouse, star, self.metrics, self.abort).await?;
        star_lane::hand_letters_on(star, self.letters).await;
        Ok(())
    }

    /// Sends again what may not have arrived. Its letters are in the lake, or a
    /// crash has kept them from it.
    async fn go_on(&self, mut evaluator: Evaluator) -> Result<Evaluator, PipelineError> {
        let stateful = evaluator.stateful.as_ref().expect("it was just given");
        let tables: Vec<TargetTable> = stateful.tables().cloned().collect();
        let unsent = stateful.state.unsent().map_err(StatefulError::State)?;
        self.show(&tables, evaluator.term).await?;
        self.show_letters(&evaluator).await?;
        self.stay_shown(&tables, evaluator.term).await?;
        for unsent in unsent {
            let outbox = Outbox::decode(&unsent.outbox).map_err(StatefulError::Outbox)?;
            let stateful = evaluator.stateful.as_ref().expect("it was just given");
            let star = evaluator.resend(unsent.term, unsent.epoch, outbox, stateful);
            star_lane::store(self.warehouse, &star, self.metrics, self.abort).await?;
            reach(Failpoint::OutboxResent);
        }
        if let Some(stateful) = &mut evaluator.stateful {
            stateful.all_sent().map_err(StatefulError::State)?;
        }
        Ok(evaluator)
    }

    /// Fills generation `number` from the lake and shows it.
    async fn rebuild(
        &self,
        mut evaluator: Evaluator,
        loaded: Vec<Loaded>,
        number: u32,
        shown: Option<u32>,
        reason: &str,
    ) -> Result<Evaluator, PipelineError> {
        let stateful = evaluator.stateful.take().expect("it was just given");
        let members = members(&loaded, number);
        let engine = fresh_engine(&members, self.engine_settings(), stateful.state.as_ref())?;
        let stateful = Stateful::new(engine, stateful.state, members, self.metrics.clone());
        let tables: Vec<TargetTable> = stateful.tables().cloned().collect();
        let sources: Vec<SourceTable> = stateful.sources_last();
        evaluator.stateful = Some(stateful);
        if shown.is_none() {
            // Nobody sees anything yet: what comes may be watched.
            self.show(&tables, evaluator.term).await?;
            self.show_letters(&evaluator).await?;
        } else {
            self.warehouse.ensure_tables(&tables, self.stop).await?;
        }
        if !self.lake_position.is_empty() {
            tracing::info!("building row state of {} tables from the lake: {reason}", sources.len());
        }
        for source in &sources {
            let mut pages = Pages::of(self.lake, source, self.settings.limits.epoch_rows_max).await?;
            while let Some(page) = pages.next().await? {
                // Events of one table come in several pages that overlap in
                // offsets, so the position waits for the last one.
                evaluator = self.work(evaluator, page, Position::default()).await?;
                reach(Failpoint::RebuiltPage);
            }
        }
        evaluator = self.work(evaluator, Vec::new(), self.lake_position.clone()).await?;
        while evaluator.has_work() {
            evaluator = self.work(evaluator, Vec::new(), Position::default()).await?;
        }
        // Those of other owners that were never whole, lest one is shown now.
        self.drop_others(&tables, evaluator.term, Shown::Kept).await?;
        reach(Failpoint::ViewsDue);
        self.show(&tables, evaluator.term).await?;
        reach(Failpoint::ViewsSwitched);
        self.show_letters(&evaluator).await?;
        self.stay_shown(&tables, evaluator.term).await?;
        Ok(evaluator)
    }

    /// Lets readers see `tables`.
    async fn show(&self, tables: &[TargetTable], term: Term) -> Result<(), PipelineError> {
        self.warehouse.ensure_tables(tables, self.stop).await?;
        self.fence(term).await?;
        Ok(self.warehouse.show_tables(tables, self.stop).await?)
    }

    /// The letters of other stores, and of owners that have not come so far, count
    /// no more.
    async fn show_letters(&self, evaluator: &Evaluator) -> Result<(), PipelineError> {
        let Some(stateful) = &evaluator.stateful else { return Ok(()) };
        let names: Vec<&str> =
            stateful.members.iter().map(|member| member.module().spec().name.as_str()).collect();
        let scope = LetterScope { generation: stateful.generation(), ..LetterScope::FIRST };
        let version = Version::new(evaluator.term, evaluator.last);
        Ok(self.warehouse.scope_letters(&names, scope, version, self.stop).await?)
    }

    /// Sees that `tables`, which are shown, are so from now on.
    async fn stay_shown(&self, tables: &[TargetTable], term: Term) -> Result<(), PipelineError> {
        self.drop_others(tables, term, Shown::Dropped).await?;
        for table in tables {
            let generations = self.warehouse.generations(table.view_name(), self.stop).await?;
            if generations.shown != Some(table.generation()) {
                self.fence(term).await?;
                self.warehouse.show_tables(std::slice::from_ref(table), self.stop).await?;
            }
        }
        Ok(())
    }

    /// Drops the other generations of `tables`. One that a newer owner has made is
    /// listed only once the newer owner is seen at the fence.
    async fn drop_others(
        &self,
        tables: &[TargetTable],
        term: Term,
        shown: Shown,
    ) -> Result<(), PipelineError> {
        for table in tables {
            let generations = self.warehouse.generations(table.view_name(), self.stop).await?;
            let mut kept = vec![table.generation()];
            kept.extend(generations.shown.filter(|_| shown == Shown::Kept));
            let others: Vec<&str> = generations.others(&kept).collect();
            if others.is_empty() {
                continue;
            }
            self.fence(term).await?;
            for other in others {
                reach(Failpoint::DropDue);
                self.warehouse.drop_generation(other, self.stop).await?;
            }
        }
        Ok(())
    }

    /// Has a newer owner taken the star over?
    async fn fence(&self, term: Term) -> Result<(), PipelineError> {
        let last = self.warehouse.last_epoch(&self.settings.pipeline, self.stop).await?;
        match last {
            Some(newer) if newer.term > term => Err(PipelineError::Fenced { term, by: newer.term }),
            _ => Ok(()),
        }
    }

    async fn work(
        &self,
        mut evaluator: Evaluator,
        page: Vec<dabi_core::change::ChangeBatch>,
        position: Position,
    ) -> Result<Evaluator, PipelineError> {
        let star: Result<StarEpoch, PipelineError>;
        (evaluator, star) = on_cpu(move || {
            let star = evaluator.work(&page, &position);
            (evaluator, star)
        })
        .await;
        let star = star?;
        self.store(&star).await?;
        if let Some(stored) = &star.stored {
            stored.up_to(star.number);
        }
        Ok(evaluator)
    }
}

/// Do the transforms of `loaded` that need row state fit together?
///
/// # Errors
/// What the engine cannot do, or what contradicts.
pub fn check_stateful(loaded: &[Loaded]) -> Result<(), InvalidPlan> {
    let mut stateful: Vec<Loaded> = loaded.iter().filter(|one| one.needs_row_state()).cloned().collect();
    stateful.sort_by(|a, b| a.module.spec().name.cmp(&b.module.spec().name));
    let transforms: Vec<StatefulTransform> =
        members(&stateful, FIRST_GENERATION).iter().map(Member::declared).collect();
    Engine::open(&transforms, EngineSettings::default(), None).map(drop)
}

fn members(loaded: &[Loaded], generation: u32) -> Vec<Member> {
    let member = |one: &Loaded| {
        let tables = tables(one.module.spec(), generation);
        Member::new(Loaded { entry: one.entry.clone(), module: one.module.clone() }, tables)
    };
    loaded.iter().map(member).collect()
}

/// The engine of a store that holds nothing.
fn fresh_engine(
    members: &[Member],
    settings: EngineSettings,
    state: &dyn dabi_core::engine::state::State,
) -> Result<Engine, StatefulError> {
    match open_engine(members, settings, state)? {
        Plan::Ready(engine) => Ok(engine),
        Plan::Rebuild { .. } => unreachable!("an empty store holds nothing that could differ"),
    }
}
