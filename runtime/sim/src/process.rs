//! One process of dabi: the real pipeline, among simulated neighbours.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dabi::config::{self, Settings};
use dabi::lake::{Lake, LakeError};
use dabi::pipeline::{
    EventSource, Loaded, Neighbours, Pipeline, PipelineError, StarWarehouse, Status, Transforms,
};
use dabi::source::SourceError;
use dabi::state::{Identity, Opened};
use dabi::telemetry::Metrics;
use dabi::warehouse::WarehouseError;
use dabi_core::engine::state::{State, StateError};
use dabi_core::manifest::WriterId;
use dabi_core::position::Position;
use fastrand::Rng;
use tokio_util::sync::CancellationToken;

use crate::consumer::Consumer;
use crate::disk::Disk;
use crate::network::{Life, Line};
use crate::objects::Objects;
use crate::star::Star;
use crate::world::Shared;

/// Names the pipeline, everywhere.
pub(crate) const PIPELINE: &str = "sim";

/// The pipeline of a process that has not started, and where it tells how it is.
pub(crate) fn pipeline(world: &Shared, life: &Arc<Life>) -> (Pipeline, Status) {
    let (settings, status) = (world.with(|world| settings(&mut world.rng)), Status::default());
    let neighbours = Simulated(Line { world: world.clone(), life: Arc::clone(life) });
    let (finish, stop) = (life.finish.clone(), life.stop.clone());
    let pipeline =
        Pipeline::among(Box::new(neighbours), settings, Metrics::new(), status.clone(), finish, stop);
    (pipeline, status)
}

/// Small bounds, so that few rows reach them.
fn settings(rng: &mut Rng) -> Settings {
    let needed = [
        ("DABI_PIPELINE", PIPELINE),
        ("DABI_KAFKA_BROKERS", "simulated"),
        ("DABI_KAFKA_TOPICS", "simulated"),
        ("DABI_LAKE_URL", "simulated"),
        ("DABI_WAREHOUSE_URL", "simulated"),
    ];
    let needed = needed.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let mut settings = config::from_environment(needed).expect("what is needed");
    let limits = &mut settings.limits;
    limits.epoch_rows_max = rng.usize(1..40);
    limits.epoch_interval_ms = rng.u64(1..100);
    limits.memory_bytes = rng.usize(64..4096) << 10;
    limits.lake.flush_age_ms = rng.u64(1..500);
    limits.lake.checkpoint_every = rng.u64(2..20);
    limits.lake.row_group_rows = rng.usize(1..20);
    limits.shutdown_seconds = rng.u64(1..30);
    settings
}

/// See the module.
struct Simulated(Line);

impl Simulated {
    fn disk(&self) -> Disk {
        self.0.world.with(|world| world.disks[self.0.life.disk].clone())
    }
}

#[async_trait]
impl Neighbours for Simulated {
    async fn transforms(&self) -> Result<Transforms, PipelineError> {
        let of = |world: &mut crate::world::World| {
            let all = world.transforms.iter().zip(&self.0.life.modules);
            let loaded = |(transform, version): (&crate::transforms::Transform, &u32)| Loaded {
                entry: transform.spec.name.clone(),
                module: transform.module(*version),
            };
            all.map(loaded).collect()
        };
        Ok(Transforms { loaded: self.0.world.with(of), saves: None })
    }

    async fn lake(&self) -> Result<Lake, LakeError> {
        let lake = Lake::in_store(Arc::new(Objects(self.0.clone())));
        lake.self_test().await?;
        Ok(lake)
    }

    fn writer(&self) -> WriterId {
        WriterId::new(&format!("w-{}", self.0.life.id)).expect("letters and digits")
    }

    async fn warehouse(&self, _stop: &CancellationToken) -> Result<Arc<dyn StarWarehouse>, WarehouseError> {
        Ok(Arc::new(Star(self.0.clone())))
    }

    async fn state(&self, _identity: Identity) -> Result<(Box<dyn State>, Opened), StateError> {
        let store = self.disk().open();
        let opened = match store.committed() {
            None => Opened::New,
            Some(_) => Opened::Recovered { took: Duration::ZERO, unsent: store.unsent()?.len() },
        };
        Ok((Box::new(store), opened))
    }

    async fn renewed_state(&self, _identity: Identity, reason: &str) -> Result<Box<dyn State>, StateError> {
        self.0.note(|| format!("gives up its row state: {reason}"));
        self.disk().lose();
        Ok(Box::new(self.disk().open()))
    }

    async fn source(&self, from: &Position) -> Result<Box<dyn EventSource>, SourceError> {
        self.0.note(|| format!("reads from {from:?}"));
        Ok(Box::new(Consumer::new(self.0.clone(), from)))
    }
}
