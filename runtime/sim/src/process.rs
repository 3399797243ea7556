//! One process of dabi: its start, then its lanes.
//!
//! Mirrors the order of `pipeline::start` and `pipeline::rebuild`, step for step.
//! Every decision in it is the core's (`resume`, `manifest`, `Engine::open`).

use std::rc::Rc;

use dabi_core::change::ChangeBatch;
use dabi_core::engine::state::State;
use dabi_core::engine::stateful::{EngineError, Opened};
use dabi_core::manifest::{Author, Contents, Head, Manifest, Refusal, WriterId, term_path};
use dabi_core::position::Position;
use dabi_core::resume::{self, BringUp, EpochRecord, Running};
use dabi_core::table::SourceTable;
use dabi_core::version::{Epoch, Term, Version};

use crate::lanes::Lanes;
use crate::star::{PIPELINE, Star, StarEpoch, Stateful, open_engine};
use crate::stateless::Stateless;
use crate::tasks::{Spawner, step};
use crate::transforms::{Module, Transform, module_hash};
use crate::warehouse::{Generations, UnknownTable};
use crate::world::{Fate, Life, Shared, World};

/// Why a process ends by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Halt {
    /// Another owner has the lake.
    #[error("fenced by term {0}")]
    Fenced(Term),
    /// A table is gone that it writes to.
    #[error(transparent)]
    Table(#[from] UnknownTable),
    /// A request of the start failed that is not repeated.
    #[error("{0} failed")]
    Failed(String),
    /// A manifest that must not be written.
    #[error(transparent)]
    Manifest(#[from] Refusal),
    /// The engine or its store.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A transform with the module that runs it.
type Member = (Transform, Module);

/// A process; cheap to clone.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) life: Rc<Life>,
    pub(crate) world: Shared,
    pub(crate) spawner: Spawner,
}

impl Process {
    /// Brings it up and hands over to its lanes.
    pub(crate) async fn start(self) -> Result<(), Halt> {
        let (stateful, stateless) = self.members();
        for (transform, _) in &stateless {
            // One generation: to show it once more changes nothing.
            self.ensure(transform, 1).await;
            let view = &transform.spec.targets[0].table;
            self.ask(&format!("show {view}"), |world| world.warehouse.show(view, 1)).await;
        }
        let author = self.claim_term().await?;
        let head = self.take_over(&author).await?;
        let lake = head.position.clone();
        let record = self.ask("read the last epoch", |world| world.warehouse.last_epoch()).await;
        self.record(EpochRecord::takeover(PIPELINE, author.term, record.as_ref())).await;
        let transforms = stateless.into_iter().map(|(transform, module)| Stateless::new(transform, module));
        let mut star = Star::new(author.term, transforms.collect());
        self.bring_up(&mut star, record.as_ref(), &lake).await?;
        if !stateful.is_empty() {
            self.bring_up_stateful(&mut star, stateful, record.as_ref(), &lake).await?;
        }
        self.record(star.brought_up()).await;
        Lanes { process: self.clone(), author, head, star }.spawn();
        Ok(())
    }

    /// Transforms with row state, and those without.
    fn members(&self) -> (Vec<Member>, Vec<Member>) {
        let world = self.world.borrow();
        let all = world.transforms.iter().cloned().zip(self.life.modules.iter().copied());
        all.partition(|(transform, _)| transform.stateful)
    }

    async fn claim_term(&self) -> Result<Author, Halt> {
        let writer = WriterId::new(&format!("w-{}", self.life.id.0)).expect("letters and digits");
        let mut term = self.ask("look for terms", |world| world.objects.highest_term()).await;
        loop {
            term = Term(term.0 + 1);
            let claim = format!("{writer} claims {term}");
            let what = format!("claim term {term}");
            if self.ask_once(&what, |world| create(world, &term_path(term), claim.as_bytes())).await? {
                self.life.term.set(term.0);
                return Ok(Author { pipeline: PIPELINE.to_owned(), term, writer });
            }
        }
    }

    async fn take_over(&self, author: &Author) -> Result<Head, Halt> {
        loop {
            let head = self.ask("read the head of the lake", |world| world.objects.head()).await;
            let opening = Manifest::next(head.as_ref(), author, Epoch(0), Contents::default());
            let opening = opening.map_err(fenced)?;
            if self.create_manifest(&opening).await {
                return Ok(opening.head());
            }
        }
    }

    /// False if another's stands in its place.
    pub(crate) async fn create_manifest(&self, manifest: &Manifest) -> bool {
        let bytes = serde_json::to_vec(manifest).expect("a manifest is JSON");
        let path = manifest.number.path();
        self.ask(&format!("commit manifest {}", manifest.number), |world| create(world, &path, &bytes)).await
    }

    async fn bring_up(
        &self,
        star: &mut Star,
        record: Option<&EpochRecord>,
        lake: &Position,
    ) -> Result<(), Halt> {
        let modules: Vec<String> = star.transforms.iter().map(|one| module_hash(one.module)).collect();
        let running = star.transforms.iter().zip(&modules).map(|(one, module)| Running {
            name: &one.transform.spec.name,
            module,
            source: &one.transform.spec.source,
        });
        let start = resume::stateless(record, lake, &running.collect::<Vec<_>>());
        let mut behind = Vec::new();
        for (one, bring_up) in star.transforms.iter_mut().zip(start.transforms) {
            match bring_up {
                BringUp::GoOn(known) => one.truncates = known,
                BringUp::Replay => behind.push(one.transform.spec.source.clone()),
            }
        }
        for source in behind {
            for page in self.pages(&source).await {
                let epoch = star.replay(&page);
                self.store(&epoch).await?;
            }
        }
        star.start_at(start.position);
        Ok(())
    }

    async fn bring_up_stateful(
        &self,
        star: &mut Star,
        members: Vec<(Transform, Module)>,
        record: Option<&EpochRecord>,
        lake: &Position,
    ) -> Result<(), Halt> {
        let views =
            members.iter().flat_map(|(transform, _)| &transform.spec.targets).map(|target| &*target.table);
        let views: Vec<&str> = views.collect();
        let generations =
            self.ask("list generations", |world| world.warehouse.generations(views.iter().copied())).await;
        let shown = generations.shown.unwrap_or(1);
        let (disk, page_rows) = {
            let world = self.world.borrow();
            (world.disks[self.life.disk].clone(), world.page_rows)
        };
        let mut store = disk.open();
        let opened = open_engine(&members, shown, page_rows, &store);
        let (engine, reason) = match opened {
            Opened::Ready(engine) if store.committed().is_some() => {
                let reason = resume::distrust(engine.position(), record).map(str::to_owned);
                (Some(engine), reason)
            }
            Opened::Ready(_) => (None, Some("it is new".to_owned())),
            Opened::Rebuild { reason } => (None, Some(reason)),
        };
        if let (Some(engine), None) = (engine, &reason) {
            let stored = Rc::default();
            star.stateful = Some(Stateful { engine, store, members, generation: shown, stored });
            return self.go_on(star).await;
        }
        self.note(|| format!("builds row state from the lake: {}", reason.unwrap_or_default()));
        step().await;
        disk.lose();
        store = disk.open();
        self.ask("look at the fence", |world| self.fence(world)).await?;
        let generation = generations.highest.map_or(1, |highest| highest + 1).max(star.term.0);
        let Opened::Ready(engine) = open_engine(&members, generation, page_rows, &store) else {
            unreachable!("an empty store holds nothing that could differ")
        };
        star.stateful = Some(Stateful { engine, store, members, generation, stored: Rc::default() });
        self.rebuild(star, &generations, lake).await
    }

    /// Sends again what may not have arrived.
    async fn go_on(&self, star: &mut Star) -> Result<(), Halt> {
        let Some(stateful) = &star.stateful else { return Ok(()) };
        let unsent = stateful.store.unsent().map_err(EngineError::from)?;
        self.show(&stateful.members, stateful.generation).await?;
        for unsent in unsent {
            self.note(|| format!("sends epoch {} of term {} again", unsent.epoch, unsent.term));
            let epoch = star.resend(&unsent);
            self.store(&epoch).await?;
        }
        if let Some(Stateful { store, .. }) = &mut star.stateful
            && let Some(committed) = store.committed()
        {
            store.sent(committed.epoch).map_err(EngineError::from)?;
        }
        Ok(())
    }

    /// Fills a new generation from the lake and shows it.
    async fn rebuild(&self, star: &mut Star, generations: &Generations, lake: &Position) -> Result<(), Halt> {
        let Some(stateful) = &star.stateful else { return Ok(()) };
        let (members, generation) = (stateful.members.clone(), stateful.generation);
        let sources: Vec<SourceTable> = stateful.engine.tables().cloned().collect();
        if generations.shown.is_none() {
            self.show(&members, generation).await?;
        }
        for (transform, _) in &members {
            self.ensure(transform, generation).await;
        }
        for (transform, _) in &members {
            let name = &transform.spec.name;
            let what = format!("clear the letters of {name}");
            self.ask(&what, |world| world.warehouse.letters.retain(|(of, _)| of != name)).await;
        }
        for source in &sources {
            for page in self.pages(source).await {
                self.work(star, &page, &Position::default()).await?;
            }
        }
        self.work(star, &[], lake).await?;
        while star.has_work() {
            self.work(star, &[], &Position::default()).await?;
        }
        self.show(&members, generation).await?;
        let of = |(transform, _): &(Transform, Module)| transform.tables(generation);
        let kept: Vec<String> = members.iter().flat_map(of).map(|table| table.physical_name()).collect();
        for table in generations.tables.iter().filter(|table| !kept.contains(table)) {
            let what = format!("drop {table}");
            self.ask(&what, |world| self.fence(world).map(|()| world.warehouse.drop_table(table))).await?;
        }
        Ok(())
    }

    /// Lets readers see `generation`. ClickHouse cannot look at the fence and
    /// switch a view in one request: see the crate's header.
    async fn show(&self, members: &[(Transform, Module)], generation: u32) -> Result<(), Halt> {
        for (transform, _) in members {
            self.ensure(transform, generation).await;
            for target in &transform.spec.targets {
                let what = format!("show generation {generation} of {}", target.table);
                let show = |world: &mut World| {
                    self.fence(world).map(|()| world.warehouse.show(&target.table, generation))
                };
                self.ask(&what, show).await?;
            }
        }
        Ok(())
    }

    /// Has a newer owner taken the star over?
    fn fence(&self, world: &World) -> Result<(), Halt> {
        let newest = world.warehouse.last_epoch().map(|record| record.term);
        match newest {
            Some(newer) if newer > Term(self.life.term.get()) => Err(Halt::Fenced(newer)),
            _ => Ok(()),
        }
    }

    async fn work(&self, star: &mut Star, page: &[ChangeBatch], position: &Position) -> Result<(), Halt> {
        step().await;
        let epoch = star.work(page, position)?;
        self.store(&epoch).await?;
        if let Some(stateful) = &star.stateful {
            stateful.stored.set(epoch.number.0);
        }
        Ok(())
    }

    /// Creates the tables of a transform's targets.
    async fn ensure(&self, transform: &Transform, generation: u32) {
        for (target, table) in transform.spec.targets.iter().zip(transform.tables(generation)) {
            let what = format!("ensure {}", table.physical_name());
            self.ask(&what, |world| world.warehouse.ensure_table(target, &table)).await;
        }
    }

    /// The events of a table in the lake, page by page.
    async fn pages(&self, source: &SourceTable) -> Vec<Vec<ChangeBatch>> {
        let (batches, rows_max) = self
            .ask(&format!("read {source} from the lake"), |world| {
                (world.objects.events(source), world.page_rows * 4)
            })
            .await;
        let (mut pages, mut rows) = (vec![Vec::new()], 0);
        for batch in batches {
            if rows >= rows_max {
                pages.push(Vec::new());
                rows = 0;
            }
            rows += batch.num_rows();
            pages.last_mut().expect("one at least").push(batch);
        }
        pages.retain(|page| !page.is_empty());
        pages
    }

    /// Stores the rows of one epoch; its position is for the caller to record.
    pub(crate) async fn store(&self, epoch: &StarEpoch) -> Result<(), Halt> {
        let version = Version::new(epoch.record.term, epoch.number);
        for (table, truncate) in &epoch.truncates {
            let what = format!("truncate {table} at {truncate:?}");
            self.ask(&what, |world| world.warehouse.truncate(table, *truncate, version)).await?;
        }
        let mut inserts: Vec<_> = epoch.inserts.iter().collect();
        self.world.borrow_mut().rng.shuffle(&mut inserts);
        for (table, batches) in inserts {
            let what = format!("insert epoch {} of term {} into {table}", epoch.number, epoch.record.term);
            let term = Term(self.life.term.get());
            let insert = |world: &mut World| {
                let newest = (world.objects.highest_term() == term).then_some(term);
                world.warehouse.insert(table, batches, newest)
            };
            self.ask(&what, insert).await?;
        }
        for letter in &epoch.cleared {
            let what = format!("clear the letter of {letter:?}");
            self.ask(&what, |world| world.warehouse.letters.remove(letter)).await;
        }
        if !epoch.raised.is_empty() {
            let what = format!("store letters of {:?}", epoch.raised);
            self.ask(&what, |world| world.warehouse.letters.extend(epoch.raised.iter().cloned())).await;
        }
        Ok(())
    }

    pub(crate) async fn record(&self, record: EpochRecord) {
        let what = format!("record epoch {} of term {} at {:?}", record.epoch, record.term, record.position);
        self.ask(&what, |world| world.warehouse.epochs.push(record.clone())).await;
    }

    /// Makes a request until it is answered.
    pub(crate) async fn ask<T>(&self, what: &str, mut request: impl FnMut(&mut World) -> T) -> T {
        loop {
            if let Ok(answer) = self.ask_once(what, &mut request).await {
                return answer;
            }
        }
    }

    /// Makes a request that may fail, done or not.
    async fn ask_once<T>(&self, what: &str, mut request: impl FnMut(&mut World) -> T) -> Result<T, Halt> {
        step().await;
        let fate = self.world.borrow_mut().fate();
        self.note(|| format!("{what}: {fate:?}"));
        let failed = || Halt::Failed(what.to_owned());
        if fate == Fate::Refused {
            return Err(failed());
        }
        let answer = request(&mut self.world.borrow_mut());
        if fate == Fate::Unanswered { Err(failed()) } else { Ok(answer) }
    }

    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        let id = self.life.id.0;
        self.world.borrow_mut().trace.note(|| format!("p{id} {}", line()));
    }
}

/// Creates an object, or finds who did: a repeated request is known by its bytes.
fn create(world: &mut World, path: &str, bytes: &[u8]) -> bool {
    world.objects.put_new(path, bytes) || world.objects.get(path) == Some(bytes)
}

/// A newer term in the head is a fence like any other.
fn fenced(refusal: Refusal) -> Halt {
    match refusal {
        Refusal::Term { newer, .. } => Halt::Fenced(newer),
        refusal => refusal.into(),
    }
}
