//! From an epoch's events to everything that the warehouse is told of it.
//!
//! Mirrors `pipeline::evaluator` and `pipeline::stateful`: numbers of epochs, the
//! star's position, what is recorded, the commit before anything leaves.

use std::cell::Cell;
use std::rc::Rc;

use arrow::array::RecordBatch;
use dabi_core::change::ChangeBatch;
use dabi_core::debezium::Decoded;
use dabi_core::engine::state::{State, Unsent};
use dabi_core::engine::stateful::{
    Engine, EngineError, EpochEvents, Opened, Outbox, Settings, StatefulTransform,
};
use dabi_core::fold::Truncate;
use dabi_core::position::Position;
use dabi_core::resume::{self, EpochRecord};
use dabi_core::version::{Epoch, Term, Version};

use crate::disk::Store;
use crate::stateless::Stateless;
use crate::transforms::{Module, Native, Transform, module_hash};

/// Names the pipeline, everywhere.
pub(crate) const PIPELINE: &str = "sim";

/// A closed epoch, for both lanes.
pub(crate) struct SealedEpoch {
    pub(crate) number: Epoch,
    pub(crate) decoded: Vec<Decoded>,
    pub(crate) position: Position,
}

/// The rows of one epoch.
pub(crate) struct StarEpoch {
    pub(crate) number: Epoch,
    pub(crate) position: Position,
    /// By physical table.
    pub(crate) inserts: Vec<(String, Vec<RecordBatch>)>,
    pub(crate) truncates: Vec<(String, Truncate)>,
    /// Transform and key.
    pub(crate) raised: Vec<(String, String)>,
    pub(crate) cleared: Vec<(String, String)>,
    pub(crate) record: EpochRecord,
    pub(crate) rows: u64,
}

/// The engine with everything it runs on.
pub(crate) struct Stateful {
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) members: Vec<(Transform, Module)>,
    pub(crate) generation: u32,
    /// Up to which epoch the warehouse has everything; 0: none of this run.
    pub(crate) stored: Rc<Cell<u64>>,
}

/// What turns epochs into rows.
pub(crate) struct Star {
    pub(crate) term: Term,
    pub(crate) transforms: Vec<Stateless>,
    pub(crate) stateful: Option<Stateful>,
    start: Position,
    position: Position,
    pub(crate) last: Epoch,
}

/// An engine for `members` where `store` stands.
pub(crate) fn open_engine(
    members: &[(Transform, Module)],
    generation: u32,
    page_rows: usize,
    store: &Store,
) -> Opened {
    let declared = members.iter().map(|(transform, module)| transform.declared(*module, generation));
    let declared: Vec<StatefulTransform> = declared.collect();
    Engine::open(&declared, Settings { page_rows, ..Settings::default() }, store.committed().as_ref())
        .expect("declarations that fit")
}

impl StarEpoch {
    fn new(record: EpochRecord) -> Self {
        Self {
            number: record.epoch,
            position: record.position.clone(),
            inserts: Vec::new(),
            truncates: Vec::new(),
            raised: Vec::new(),
            cleared: Vec::new(),
            record,
            rows: 0,
        }
    }

    fn send(&mut self, outbox: Outbox) {
        self.inserts.extend(outbox.inserts.into_iter().map(|insert| (insert.table, insert.batches)));
        self.raised.extend(outbox.raised.into_iter().map(|letter| (letter.transform, letter.key)));
        self.cleared.extend(outbox.cleared.into_iter().map(|letter| (letter.transform, letter.key)));
    }
}

impl Star {
    pub(crate) fn new(term: Term, transforms: Vec<Stateless>) -> Self {
        let (start, position) = (Position::default(), Position::default());
        Self { term, transforms, stateful: None, start, position, last: Epoch(0) }
    }

    pub(crate) fn evaluate(&mut self, epoch: &SealedEpoch) -> Result<StarEpoch, EngineError> {
        let all: Vec<ChangeBatch> =
            epoch.decoded.iter().flat_map(|decoded| &decoded.batches).cloned().collect();
        let new = |batch: &ChangeBatch| match self.start.get(batch.topic(), batch.partition()) {
            Some(start) => batch.after(start),
            None => Some(batch.clone()),
        };
        let batches: Vec<ChangeBatch> = all.iter().filter_map(new).collect();
        // While the lake catches up, events come again that the star has.
        self.position.advance(&epoch.position);
        let mut star = self.replay(&batches);
        self.evaluate_stateful(&mut star, &all, &epoch.position)?;
        Ok(star)
    }

    /// An epoch of the transforms without row state alone.
    pub(crate) fn replay(&mut self, batches: &[ChangeBatch]) -> StarEpoch {
        self.last = self.last.next();
        let version = Version::new(self.term, self.last);
        let (mut inserts, mut truncates, mut rows) = (Vec::new(), Vec::new(), 0);
        for transform in &mut self.transforms {
            let source = &transform.transform.spec.source;
            let own: Vec<ChangeBatch> =
                batches.iter().filter(|batch| batch.table() == source).cloned().collect();
            if own.is_empty() {
                continue;
            }
            rows += own.iter().map(|batch| batch.num_rows() as u64).sum::<u64>();
            let (batches, fresh) = transform.evaluate(&own, version);
            let table = transform.table.physical_name();
            truncates.extend(fresh.into_iter().map(|truncate| (table.clone(), truncate)));
            if !batches.is_empty() {
                inserts.push((table, batches));
            }
        }
        StarEpoch { inserts, truncates, rows, ..StarEpoch::new(self.record(self.last)) }
    }

    /// An epoch of the transforms with row state alone.
    pub(crate) fn work(
        &mut self,
        batches: &[ChangeBatch],
        position: &Position,
    ) -> Result<StarEpoch, EngineError> {
        let mut star = self.replay(&[]);
        self.evaluate_stateful(&mut star, batches, position)?;
        Ok(star)
    }

    /// What an epoch of the store had on its way, as it was.
    pub(crate) fn resend(&self, unsent: &Unsent) -> StarEpoch {
        let mut star = StarEpoch::new(EpochRecord { term: unsent.term, ..self.record(unsent.epoch) });
        star.send(Outbox::decode(&unsent.outbox).expect("what was encoded"));
        star
    }

    pub(crate) fn has_work(&self) -> bool {
        self.stateful.as_ref().is_some_and(|stateful| stateful.engine.has_work())
    }

    pub(crate) fn start_at(&mut self, position: Position) {
        self.start.clone_from(&position);
        self.position = position;
    }

    /// Everything is brought up: the star is where all its transforms are. As an
    /// epoch of its own, since nothing else might come for long.
    pub(crate) fn brought_up(&mut self) -> EpochRecord {
        self.position = self.starts();
        self.last = self.last.max(Epoch(1));
        self.record(self.last)
    }

    /// From where on events are needed.
    pub(crate) fn starts(&self) -> Position {
        let stateful = self.stateful.as_ref().map(|stateful| stateful.engine.position());
        let stateless = (stateful.is_none() || !self.transforms.is_empty()).then_some(&self.start);
        resume::star_start(stateless, stateful)
    }

    pub(crate) fn record(&self, number: Epoch) -> EpochRecord {
        let stateless = self.transforms.iter().map(|one| (&one.transform, one.module));
        let stateful = self.stateful.iter().flat_map(|stateful| &stateful.members);
        let stateful = stateful.map(|(transform, module)| (transform, *module));
        let module =
            |(transform, module): (&Transform, Module)| (transform.spec.name.clone(), module_hash(module));
        EpochRecord {
            pipeline: PIPELINE.to_owned(),
            term: self.term,
            epoch: number,
            position: self.position.clone(),
            modules: stateless.chain(stateful).map(module).collect(),
            truncates: self
                .transforms
                .iter()
                .map(|one| (one.transform.spec.source.to_string(), one.truncates.clone()))
                .collect(),
            open_work: Vec::new(),
        }
    }

    fn evaluate_stateful(
        &mut self,
        star: &mut StarEpoch,
        batches: &[ChangeBatch],
        position: &Position,
    ) -> Result<(), EngineError> {
        let Some(Stateful { engine, store, members, stored, .. }) = &mut self.stateful else { return Ok(()) };
        if stored.get() > 0 {
            store.sent(Epoch(stored.get()))?;
        }
        let events = EpochEvents { term: self.term, epoch: star.number, batches, position };
        let commands = engine.apply(&events, store, &Native(members.clone()))?;
        store.commit(&commands.commit)?;
        star.rows += commands.report.events + commands.report.evaluated;
        star.send(commands.outbox);
        star.record = self.record(star.number);
        Ok(())
    }
}
