//! Everything outside of the processes.
//!
//! Owns the neighbours' memory, the dice, and the trace. Does not own how a
//! request gets there (`network`), or when processes run or die (`run`).

use std::sync::{Arc, Mutex, PoisonError};

use dabi_core::version::Term;
use fastrand::Rng;
use object_store::memory::InMemory;
use tokio::time::Instant;

use crate::database::Database;
use crate::disk::Disk;
use crate::kafka::{Connector, Kafka};
use crate::schema::Schema;
use crate::transforms::{Transform, Version};
use crate::warehouse::Warehouse;

/// See the module.
pub(crate) struct World {
    pub(crate) rng: Rng,
    pub(crate) schema: Schema,
    pub(crate) database: Database,
    pub(crate) connector: Connector,
    pub(crate) kafka: Kafka,
    pub(crate) warehouse: Warehouse,
    pub(crate) disks: Vec<Disk>,
    pub(crate) transforms: Vec<Transform>,
    /// The module of each transform that the next process to start takes up.
    pub(crate) modules: Vec<Version>,
    /// Terms that were claimed, and by which process.
    pub(crate) claims: Vec<(Term, usize)>,
    /// Requests made, and those that are still under way.
    pub(crate) requests: u64,
    pub(crate) under_way: usize,
    /// Does nothing fail any more?
    pub(crate) calm: bool,
    /// What must never happen, and has.
    pub(crate) broken: Option<String>,
    pub(crate) trace: Trace,
}

/// The world as processes share it; cheap to clone.
#[derive(Clone)]
pub(crate) struct Shared {
    world: Arc<Mutex<World>>,
    /// The objects of the lake.
    pub(crate) objects: Arc<InMemory>,
}

/// What happened, a line each; kept only where somebody will read it.
pub(crate) struct Trace {
    pub(crate) is_kept: bool,
    pub(crate) lines: Vec<String>,
    began: Instant,
}

impl Trace {
    pub(crate) fn note(&mut self, line: impl FnOnce() -> String) {
        if self.is_kept {
            let line = format!("{:>7} ms  {}", self.began.elapsed().as_millis(), line());
            self.lines.push(line);
        }
    }
}

impl Shared {
    pub(crate) fn new(seed: u64, is_traced: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let schema = Schema::random(&mut rng);
        let transforms = Transform::random(&schema, &mut rng);
        let trace = Trace { is_kept: is_traced, lines: Vec::new(), began: Instant::now() };
        let world = World {
            database: Database::new(&schema),
            connector: Connector::new(),
            kafka: Kafka::new(&schema),
            warehouse: Warehouse::default(),
            disks: vec![Disk::default()],
            modules: vec![1; transforms.len()],
            transforms,
            claims: Vec::new(),
            requests: 0,
            under_way: 0,
            calm: false,
            broken: None,
            trace,
            schema,
            rng,
        };
        Self { world: Arc::new(Mutex::new(world)), objects: Arc::default() }
    }

    /// What `look` makes of the world.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn note(&self, line: impl FnOnce() -> String) {
        self.with(|world| world.trace.note(line));
    }
}

impl World {
    /// The highest term that anybody has claimed.
    pub(crate) fn highest_term(&self) -> Term {
        self.claims.iter().map(|(term, _)| *term).max().unwrap_or(Term(0))
    }

    /// Has somebody a higher term than process `id`?
    pub(crate) fn is_outdone(&self, id: usize) -> bool {
        let own = self.claims.iter().filter(|(_, of)| *of == id).map(|(term, _)| *term).max();
        own < Some(self.highest_term())
    }

    /// One in so many, while things go wrong.
    pub(crate) fn strikes(&mut self, one_in: u32) -> bool {
        !self.calm && self.rng.u32(0..one_in) == 0
    }
}
