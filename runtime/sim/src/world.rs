//! Everything outside of the processes, and what can go wrong with a request.
//!
//! Owns the neighbours, the dice, and the trace. Does not own when processes
//! run or die (`run`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use dabi_core::position::Position;
use fastrand::Rng;

use crate::database::Database;
use crate::disk::Disk;
use crate::kafka::{Connector, Kafka};
use crate::lake::Objects;
use crate::schema::Schema;
use crate::star::Star;
use crate::tasks::ProcessId;
use crate::transforms::{Module, Transform};
use crate::warehouse::Warehouse;

/// One request in so many is refused, and one answered only to nobody.
const FAULT_ONE_IN: u8 = 14;

/// See the module.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) schema: Schema,
    pub(crate) database: Database,
    pub(crate) connector: Connector,
    pub(crate) kafka: Kafka,
    pub(crate) objects: Objects,
    pub(crate) warehouse: Warehouse,
    pub(crate) disks: Vec<Disk>,
    pub(crate) transforms: Vec<Transform>,
    /// The module of each transform that the next process to start takes up.
    pub(crate) modules: Vec<Module>,
    /// Rows of a page, for replays and for the engine's sweeps.
    pub(crate) page_rows: usize,
    /// Does nothing fail any more?
    pub(crate) calm: bool,
    pub(crate) trace: Trace,
}

/// The world as processes share it.
pub(crate) type Shared = Rc<RefCell<World>>;

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// It never arrived.
    Refused,
    /// It was done, and the answer was lost.
    Unanswered,
}

/// What happened, a line each; kept only where somebody will read it.
#[derive(Default)]
pub(crate) struct Trace {
    pub(crate) is_kept: bool,
    pub(crate) lines: Vec<String>,
}

impl Trace {
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.is_kept {
            let line = line();
            self.lines.push(line);
        }
    }
}

impl World {
    pub(crate) fn new(seed: u64, is_traced: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let schema = Schema::random(&mut rng);
        let transforms = Transform::random(&schema, &mut rng);
        let page_rows = rng.usize(1..=6);
        let trace = Trace { is_kept: is_traced, ..Trace::default() };
        Self {
            database: Database::new(&schema),
            connector: Connector::new(),
            kafka: Kafka::new(&schema),
            objects: Objects::default(),
            warehouse: Warehouse::default(),
            disks: vec![Disk::default()],
            modules: vec![1; transforms.len()],
            transforms,
            page_rows,
            calm: false,
            trace,
            schema,
            rng,
        }
    }

    pub(crate) fn fate(&mut self) -> Fate {
        if self.calm {
            return Fate::Answered;
        }
        match self.rng.u8(0..FAULT_ONE_IN) {
            0 => Fate::Refused,
            1 => Fate::Unanswered,
            _ => Fate::Answered,
        }
    }

    /// One in so many, while things go wrong.
    pub(crate) fn strikes(&mut self, one_in: u32) -> bool {
        !self.calm && self.rng.u32(0..one_in) == 0
    }
}

/// A process as seen from outside; its tasks share it.
#[derive(Debug)]
pub(crate) struct Life {
    pub(crate) id: ProcessId,
    /// The disk of its row state, which no other process has meanwhile.
    pub(crate) disk: usize,
    /// It was asked to drain and end.
    pub(crate) stopping: Cell<bool>,
    /// Its term, once claimed.
    pub(crate) term: Cell<u32>,
    /// What it reports as visible.
    pub(crate) visible: RefCell<Position>,
    /// Epochs evaluated and not yet stored.
    pub(crate) on_the_way: Cell<usize>,
    pub(crate) has_work: Cell<bool>,
    /// Do its lanes run?
    pub(crate) is_up: Cell<bool>,
    /// Source rows that wait, by transform.
    pub(crate) held: RefCell<BTreeMap<String, u64>>,
    /// The modules that it runs.
    pub(crate) modules: Vec<Module>,
}

impl Life {
    pub(crate) fn new(id: ProcessId, disk: usize, modules: Vec<Module>) -> Self {
        Self {
            id,
            disk,
            stopping: Cell::new(false),
            term: Cell::new(0),
            visible: RefCell::default(),
            on_the_way: Cell::new(0),
            has_work: Cell::new(false),
            is_up: Cell::new(false),
            held: RefCell::default(),
            modules,
        }
    }

    /// Work that `star` has left, and what waits in it.
    pub(crate) fn tell(&self, star: &Star) {
        self.is_up.set(true);
        self.has_work.set(star.has_work());
        if let Some(stateful) = &star.stateful {
            *self.held.borrow_mut() = stateful.engine.progress().held;
        }
    }
}
