//! Bringing the pipeline up: every neighbour reached, every position known,
//! the star brought up to its transforms.
//!
//! Owns the order of the start: claim the lake (the fence) before anything is
//! written, know both sinks' positions before the source is opened.

use std::collections::BTreeSet;
use std::sync::Arc;

use dabi_core::resume::{self, BringUp, Running, StatelessStart};
use dabi_core::table::SourceTable;
use dabi_core::version::Version;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::evaluate::LiveTransform;
use super::evaluator::Evaluator;
use super::fill::Filler;
use super::ingest::{Ingest, Lanes};
use super::lake_lane::LakeLane;
use super::neighbours::{SavedTransforms, StarWarehouse, Transforms};
use super::rebuild;
use super::reload::Reload as ReloadTask;
use super::replay::Pages;
use super::retry::Retrier;
use super::star_lane;
use super::transforms::Loaded;
use super::{Pipeline, PipelineError, now_ms};
use crate::compute::on_thread;
use crate::failpoint::{Failpoint, reach};
use crate::warehouse::{EpochRecord, LetterScope};

/// Epochs whose dead letters may wait for the lake's lane.
const LETTER_EPOCHS_MAX: usize = 64;

/// A pipeline that runs.
pub(super) struct Started {
    pub(super) tasks: JoinSet<Result<(), PipelineError>>,
    pub(super) warehouse: Arc<dyn StarWarehouse>,
}

pub(super) async fn start(pipeline: &Pipeline, abort: &CancellationToken) -> Result<Started, PipelineError> {
    let settings = &pipeline.settings;
    let (metrics, status) = (pipeline.metrics.clone(), pipeline.status.clone());
    let neighbours = pipeline.neighbours.as_ref();
    let Transforms { loaded, saves } = neighbours.transforms().await?;
    let lake = neighbours.lake().await?;
    let warehouse = neighbours.warehouse(&pipeline.stop).await?;
    let live =
        |loaded: &Loaded| LiveTransform::new(loaded.entry.clone(), loaded.module.clone(), metrics.clone());
    let (stateful, stateless): (Vec<&Loaded>, Vec<&Loaded>) =
        loaded.iter().partition(|loaded| loaded.needs_row_state());
    let stateful: Vec<Loaded> = stateful.into_iter().cloned().collect();
    let mut transforms: Vec<LiveTransform> = stateless.into_iter().map(live).collect();
    for Loaded { entry, module } in &loaded {
        status.transform(entry, |report| report.live(module, now_ms()));
    }
    for transform in &transforms {
        // Refused before anybody is fenced.
        warehouse.ensure_tables(&transform.tables, &pipeline.stop).await?;
    }
    let author = lake.claim_term(&settings.pipeline, &neighbours.writer()).await?;
    reach(Failpoint::TermClaimed);
    let term = author.term;
    let limits = settings.limits.lake.clone();
    let (encoder, committer) = lake.open_writer(author, limits, status.clone(), abort.clone()).await?;
    reach(Failpoint::LakeTakenOver);
    let lake_position = committer.position().clone();
    let record = warehouse.last_epoch(&settings.pipeline, &pipeline.stop).await?;
    let hashes: Vec<String> = transforms.iter().map(|t| t.module().hash().to_string()).collect();
    let running = transforms.iter().zip(&hashes).map(|(transform, module)| {
        let spec = transform.spec();
        Running { name: &spec.name, module, source: &spec.source }
    });
    let running: Vec<Running<'_>> = running.collect();
    let start = resume::stateless(record.as_ref(), &lake_position, &running);
    let takeover = EpochRecord::takeover(&settings.pipeline, term, record.as_ref(), &start, &running);
    warehouse.record_epoch(&takeover, abort).await?;
    reach(Failpoint::StarTakenOver);
    for transform in &transforms {
        warehouse.show_tables(&transform.tables, &pipeline.stop).await?;
    }
    take_letters_over(&mut transforms, takeover.version(), warehouse.as_ref(), &pipeline.stop).await?;

    let (lake_epochs, to_lake) = mpsc::unbounded_channel();
    let (letters, lake_letters) = mpsc::channel(LETTER_EPOCHS_MAX);
    let lake_lane = LakeLane {
        encoder,
        committer,
        start: lake_position.clone(),
        status: status.clone(),
        metrics: metrics.clone(),
    };
    let mut tasks = JoinSet::new();
    // From here on, because what is brought up has letters, too.
    tasks.spawn(lake_lane.run(to_lake, lake_letters));

    let mut evaluator = Evaluator::new(settings.pipeline.clone(), term, transforms, status.clone());
    let with = rebuild::BringUp {
        settings,
        neighbours,
        lake: &lake,
        lake_position: &lake_position,
        warehouse: warehouse.as_ref(),
        letters: &letters,
        metrics: &metrics,
        stop: &pipeline.stop,
        abort,
    };
    bring_up(&mut evaluator, start, &with).await?;
    let mut evaluator = with.bring_up(evaluator, stateful, record.as_ref()).await?;
    warehouse.record_epoch(&evaluator.brought_up(), abort).await?;
    reach(Failpoint::BroughtUp);
    let star_position = evaluator.starts();
    let from = lake_position.meet(&star_position);
    tracing::info!(term = %term, transforms = loaded.len(), "pipeline {} starts", settings.pipeline);

    let source = neighbours.source(&from).await?;
    status.lake(&lake_position);
    status.star(&star_position);

    let (star, star_epochs) = mpsc::channel(1);
    let (rows, star_rows) = mpsc::channel(1);
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
        sink_starts: vec![lake_position, star_position],
        position: from,
        finish: pipeline.finish.clone(),
        stop: pipeline.stop.clone(),
        mirrored: Instant::now(),
    };
    let (changes, to_star) = mpsc::channel(1);
    let retrier = Retrier { lake: lake.clone(), warehouse: Arc::clone(&warehouse), changes: changes.clone() };
    pipeline.retrier.send_replace(Some(retrier));
    if let Some(SavedTransforms { watcher, runtime }) = saves {
        let filler = Filler {
            pipeline: settings.pipeline.clone(),
            lake,
            warehouse: Arc::clone(&warehouse),
            status: status.clone(),
            metrics: metrics.clone(),
            changes: changes.clone(),
            letters: letters.clone(),
            page_rows: settings.limits.epoch_rows_max,
            abort: abort.clone(),
        };
        let reload = ReloadTask {
            settings: settings.transforms.clone(),
            runtime,
            watcher,
            changes,
            samples: evaluator.samples.clone(),
            filler,
            status: status.clone(),
            metrics: metrics.clone(),
            stop: pipeline.stop.clone(),
        };
        tasks.spawn(async move {
            reload.run(loaded).await;
            Ok(())
        });
    }
    tasks.spawn(on_thread("ingest", async move { Ok(ingest.run().await?) }));
    tasks.spawn(star_lane::evaluate(evaluator, star_epochs, to_star, rows, pipeline.stop.clone()));
    let publish =
        star_lane::publish(Arc::clone(&warehouse), star_rows, letters, status, metrics, abort.clone());
    tasks.spawn(publish);
    Ok(Started { tasks, warehouse })
}

/// What is open now is known from here on, and what an older owner still raises
/// does not count: its event is evaluated again, since it was not recorded.
async fn take_letters_over(
    transforms: &mut [LiveTransform],
    version: Version,
    warehouse: &dyn StarWarehouse,
    stop: &CancellationToken,
) -> Result<(), PipelineError> {
    if transforms.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = transforms.iter().map(|transform| transform.spec().name.clone()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    warehouse.carry_letters(&names, version, stop).await?;
    let scope = LetterScope { lowest: version, ..LetterScope::FIRST };
    warehouse.scope_letters(&names, scope, version, stop).await?;
    for transform in transforms {
        let letters = warehouse.open_letters(&transform.spec().name, stop).await?;
        transform.letters = letters.into_iter().collect();
    }
    Ok(())
}

/// Sets where the star stands, and replays the lake for every transform whose
/// star rows are not all its own.
async fn bring_up(
    evaluator: &mut Evaluator,
    start: StatelessStart,
    with: &rebuild::BringUp<'_>,
) -> Result<(), PipelineError> {
    // Beside one that is behind, another of the same table may be up to date.
    let mut up_to_date = Vec::new();
    for (mut transform, bring_up) in
        std::mem::take(&mut evaluator.transforms).into_iter().zip(start.transforms)
    {
        match bring_up {
            BringUp::GoOn(known) => {
                transform.learn_truncates(&known);
                up_to_date.push(transform);
            }
            BringUp::Replay => evaluator.transforms.push(transform),
        }
    }
    let behind: BTreeSet<SourceTable> =
        evaluator.transforms.iter().map(|t| t.spec().source.clone()).collect();
    for source in behind {
        tracing::info!(source = %source, "new or changed transform: bringing its tables up from the lake");
        let mut pages = Pages::of(with.lake, &source, with.settings.limits.epoch_rows_max).await?;
        while let Some(page) = pages.next().await? {
            let star = evaluator.replay(&page)?;
            with.store(&star).await?;
            reach(Failpoint::ReplayedPage);
        }
    }
    evaluator.transforms.extend(up_to_date);
    evaluator.start_at(start.position);
    Ok(())
}
