//! Bringing the pipeline up: every neighbour reached, every position known,
//! the star brought up to its transforms.
//!
//! Owns the order of the start: claim the lake (the fence) before anything is
//! written, know both sinks' positions before the source is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use dabi_core::change::ChangeBatch;
use dabi_core::manifest::WriterId;
use dabi_core::position::Position;
use dabi_core::spec::Spec;
use dabi_core::star::TargetTable;
use dabi_core::version::Epoch;
use futures::TryStreamExt;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::evaluate::LiveTransform;
use super::ingest::{Ingest, Lanes};
use super::lake_lane::LakeLane;
use super::star_lane::{self, Evaluator};
use super::{Pipeline, PipelineError, on_cpu};
use crate::lake::Lake;
use crate::source::Source;
use crate::telemetry::Metrics;
use crate::transform::{Module, Runtime, TransformSettings};
use crate::warehouse::{EpochRecord, Warehouse};

/// The first generation of a target's table.
const FIRST_GENERATION: u32 = 1;

/// A pipeline that runs.
pub(super) struct Started {
    pub(super) tasks: JoinSet<Result<(), PipelineError>>,
    pub(super) warehouse: Warehouse,
}

pub(super) async fn start(pipeline: &Pipeline, abort: &CancellationToken) -> Result<Started, PipelineError> {
    let settings = &pipeline.settings;
    let (metrics, status) = (pipeline.metrics.clone(), pipeline.status.clone());
    let transforms = {
        let (settings, metrics) = (settings.transforms.clone(), metrics.clone());
        on_cpu(move || live_transforms(&settings, &metrics)).await?
    };
    let lake = Lake::open_for_writing(&settings.lake).await?;
    let warehouse = Warehouse::connect(&settings.warehouse, status.clone(), &pipeline.stop).await?;
    for transform in &transforms {
        for table in &transform.tables {
            warehouse.ensure_target(table, &pipeline.stop).await?;
        }
    }
    let author = lake.claim_term(&settings.pipeline, &writer_id()).await?;
    let term = author.term;
    let (encoder, committer) = lake.open_writer(author, settings.limits.lake.clone(), abort.clone()).await?;
    let lake_position = committer.position().clone();
    let record = warehouse.last_epoch(&settings.pipeline, &pipeline.stop).await?;

    let mut evaluator = Evaluator {
        pipeline: settings.pipeline.clone(),
        term,
        transforms,
        start: Position::default(),
        position: Position::default(),
        status: status.clone(),
    };
    let first_epoch =
        bring_up(&mut evaluator, record, &lake, &lake_position, &warehouse, pipeline, abort).await?;
    let star_position = evaluator.start.clone();
    let from = lake_position.meet(&star_position);
    tracing::info!(term = %term, transforms = evaluator.transforms.len(), "pipeline {} starts", settings.pipeline);

    let source = {
        let (kafka, from) = (settings.kafka.clone(), from.clone());
        tokio::task::spawn_blocking(move || Source::connect(&kafka, &from))
            .await
            .expect("connect does not panic")?
    };
    status.lake(&lake_position);
    status.star(&star_position);

    let (star, star_epochs) = mpsc::channel(1);
    let (rows, star_rows) = mpsc::channel(1);
    let (lake_epochs, to_lake) = mpsc::unbounded_channel();
    let ingest = Ingest {
        source,
        lanes: Lanes {
            star,
            lake: lake_epochs,
            memory: Arc::new(Semaphore::new((settings.limits.memory_bytes / 1024).max(1))),
        },
        limits: settings.limits.clone(),
        metrics: metrics.clone(),
        status: status.clone(),
        sink_starts: vec![lake_position.clone(), star_position],
        position: from,
        first_epoch,
        finish: pipeline.finish.clone(),
        stop: pipeline.stop.clone(),
        runtime: tokio::runtime::Handle::current(),
        mirrored: Instant::now(),
    };
    let lake_lane = LakeLane {
        encoder,
        committer,
        start: lake_position,
        status: status.clone(),
        metrics: metrics.clone(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(on_thread("ingest", move || Ok(ingest.run()?)));
    tasks.spawn(lake_lane.run(to_lake));
    tasks.spawn(star_lane::evaluate(evaluator, star_epochs, rows));
    tasks.spawn(star_lane::publish(warehouse.clone(), star_rows, status, metrics, abort.clone()));
    Ok(Started { tasks, warehouse })
}

/// Known to no other process: a claim that is read back must be told from another's.
fn writer_id() -> WriterId {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos());
    WriterId::new(&format!("{}-{nanos:x}", std::process::id())).expect("digits and a dash")
}

/// Runs blocking `work` on a named thread of its own.
async fn on_thread(
    name: &str,
    work: impl FnOnce() -> Result<(), PipelineError> + Send + 'static,
) -> Result<(), PipelineError> {
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || answer.send(work()))
        .expect("the system gives a thread at start");
    answered.await.expect("a panic on a thread of the pipeline ends the process")
}

/// Sets where the star stands, and replays the lake for every transform whose
/// star rows are not all its own. Gives the first epoch for live events.
///
/// A stateless target can be brought up in place: each key of the lake gets a
/// row or a tombstone of a higher version than any it had.
async fn bring_up(
    evaluator: &mut Evaluator,
    record: Option<EpochRecord>,
    lake: &Lake,
    lake_position: &Position,
    warehouse: &Warehouse,
    pipeline: &Pipeline,
    abort: &CancellationToken,
) -> Result<Epoch, PipelineError> {
    let (position, modules, truncates) = record
        .map(|record| (record.position, record.modules, record.truncates))
        .unwrap_or((Position::default(), BTreeMap::new(), BTreeMap::new()));
    // It also lacks what the lake read of them.
    let star_lacks_partitions =
        lake_position.iter().any(|(topic, partition, _)| position.get(topic, partition).is_none());
    let mut behind = Vec::new();
    for transform in &mut evaluator.transforms {
        let name = &transform.spec().name;
        let unchanged = modules.get(name).is_some_and(|hash| *hash == transform.module().hash().to_string());
        if !unchanged || star_lacks_partitions {
            behind.push(transform.spec().source.clone());
        } else if let Some(known) = truncates.get(&transform.spec().source.to_string()) {
            transform.truncates = known.clone();
        }
    }
    if behind.is_empty() || lake_position.is_empty() {
        evaluator.start_at(position);
        return Ok(Epoch(1));
    }
    let start = if star_lacks_partitions { lake_position.clone() } else { lake_position.meet(&position) };
    let mut epoch = Epoch(1);
    for source in behind {
        tracing::info!(source = %source, "new or changed transform: bringing its tables up from the lake");
        let mut batches = pin!(lake.read_table(&source).await?);
        let mut page: Vec<ChangeBatch> = Vec::new();
        loop {
            let next = batches.try_next().await?;
            let ended = next.is_none();
            page.extend(next);
            let rows: usize = page.iter().map(ChangeBatch::num_rows).sum();
            if rows >= pipeline.settings.limits.epoch_rows_max || ended && rows > 0 {
                let star = evaluator.evaluate_batches(&std::mem::take(&mut page), epoch)?;
                star_lane::store(warehouse, &star, &pipeline.metrics, abort).await?;
                epoch = epoch.next();
            }
            if ended {
                break;
            }
        }
    }
    evaluator.start_at(start);
    warehouse.record_epoch(&evaluator.record(epoch), abort).await?;
    Ok(epoch.next())
}

/// Loads every module of the transforms' folder and checks them against each
/// other. Blocks: modules are compiled.
///
/// # Errors
/// If a module cannot be loaded, or two claim the same source or target.
pub fn load_transforms(settings: &TransformSettings) -> Result<Vec<Module>, PipelineError> {
    let runtime = Runtime::new(settings.runtime())?;
    let mut modules = Vec::new();
    for path in module_files(&settings.dir)? {
        let bytes = std::fs::read(&path).map_err(|error| {
            PipelineError::Transforms(format!("read the transform {}: {error}", path.display()))
        })?;
        modules.push(Module::load(&runtime, &path.display().to_string(), &bytes)?);
    }
    let (mut sources, mut targets) = (BTreeMap::new(), BTreeMap::new());
    for module in &modules {
        let spec: &Spec = module.spec();
        if let Some(other) = sources.insert(spec.source.clone(), spec.name.clone()) {
            let (name, source) = (&spec.name, &spec.source);
            return Err(PipelineError::Transforms(format!(
                "transforms {other} and {name} both read {source}; one transform per source table: give one of them \
                 all targets, or take one .wasm out of {}",
                settings.dir.display()
            )));
        }
        for target in &spec.targets {
            if let Some(other) = targets.insert(target.table.clone(), spec.name.clone()) {
                let (name, table) = (&spec.name, &target.table);
                return Err(PipelineError::Transforms(format!(
                    "transforms {other} and {name} both fill {table}; rename the target of one of them"
                )));
            }
        }
    }
    Ok(modules)
}

fn module_files(dir: &Path) -> Result<BTreeSet<std::path::PathBuf>, PipelineError> {
    let unreadable = |error: std::io::Error| {
        PipelineError::Transforms(format!(
            "read the transforms' folder {}: {error}; create it, or set transforms.dir",
            dir.display()
        ))
    };
    let mut files = BTreeSet::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            files.insert(path);
        }
    }
    Ok(files)
}

fn live_transforms(
    settings: &TransformSettings,
    metrics: &Metrics,
) -> Result<Vec<LiveTransform>, PipelineError> {
    let modules = load_transforms(settings)?;
    if modules.is_empty() {
        tracing::warn!(dir = %settings.dir.display(), "no .wasm in the transforms' folder: events land in the lake only");
    }
    let live = |module: Module| {
        let spec = module.spec();
        let tables =
            spec.targets.iter().map(|target| TargetTable::new(spec, target, FIRST_GENERATION)).collect();
        LiveTransform::new(module, tables, metrics.clone())
    };
    Ok(modules.into_iter().map(live).collect())
}
