//! The star's lane: epochs → star rows → ClickHouse.
//!
//! Two tasks, so that the rows of one epoch are computed while those of the one
//! before are inserted. Owns which events a transform gets, the order of the
//! statements of an epoch, and the star's position. Does not own how rows are
//! made (`evaluate`) or sent (`warehouse`).
//!
//! Invariant: the position of an epoch is recorded after every row of it is
//! stored; so after a crash at any point the epoch is applied again, whole,
//! under a higher version.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arrow::array::{Array, RecordBatch};
use dabi_core::change::{ChangeBatch, Op};
use dabi_core::fold::Truncate;
use dabi_core::position::Position;
use dabi_core::star::TargetTable;
use dabi_core::version::{Epoch, Term, Version};
use futures::future::try_join_all;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::epoch::SealedEpoch;
use super::evaluate::{EvaluateError, Failure, LiveTransform, Output};
use super::samples::Samples;
use super::status::{Status, now_ms};
use super::swap::{Change, Coverage};
use super::{PipelineError, on_cpu};
use crate::telemetry::{KindLabel, Metrics, Stage, TableLabel};
use crate::warehouse::{DeadLetterRow, EncodedRows, EpochRecord, Warehouse, WarehouseError};

/// An epoch without change events moves the position only this often.
const IDLE_RECORD_INTERVAL: Duration = Duration::from_secs(5);
/// Of how many events of a batch latency is measured.
const LATENCY_SAMPLES_MAX: usize = 64;

/// The rows of one epoch.
pub(super) struct StarEpoch {
    number: Epoch,
    position: Position,
    inserts: Vec<Insert>,
    truncates: Vec<(TargetTable, Truncate)>,
    dead_letters: Vec<DeadLetterRow>,
    record: EpochRecord,
    /// Tells its inserts from others of the same version.
    part: String,
    rows: usize,
    closed_at: Instant,
    times: Vec<EventTimes>,
    /// Keeps the epoch's share of memory until its rows are stored.
    _epoch: Option<Arc<SealedEpoch>>,
}

/// When an event, and the next few after it, happened.
struct EventTimes {
    /// How many events it stands for.
    events: u64,
    /// None for the read of a snapshot, which was committed at some time before.
    commit_us: Option<i64>,
    kafka_ms: Option<i64>,
}

struct Insert {
    target: String,
    table: String,
    batches: Vec<RecordBatch>,
}

impl StarEpoch {
    /// Page `page` of fill `number`: it has the version of an epoch whose rows
    /// are stored already.
    pub(super) fn filling(mut self, number: u64, page: u64) -> Self {
        self.part = format!("-fill{number}-{page}");
        self
    }
}

/// What turns epochs into rows.
pub(super) struct Evaluator {
    /// Names the pipeline in `_dabi_epochs`.
    pub(super) pipeline: String,
    /// The fence of every version.
    pub(super) term: Term,
    /// The transforms.
    pub(super) transforms: Vec<LiveTransform>,
    /// Events below it are in the star already.
    pub(super) start: Position,
    /// Where the star stands after the last epoch that was evaluated.
    pub(super) position: Position,
    /// The last epoch that was evaluated.
    pub(super) last: Epoch,
    /// Of the newest events.
    pub(super) samples: Samples,
    /// Shown to whoever asks.
    pub(super) status: Status,
}

impl Evaluator {
    /// An evaluator of `transforms` for a star that has nothing yet.
    pub(super) fn new(pipeline: String, term: Term, transforms: Vec<LiveTransform>, status: Status) -> Self {
        Self {
            pipeline,
            term,
            transforms,
            start: Position::default(),
            position: Position::default(),
            last: Epoch(0),
            samples: Samples::default(),
            status,
        }
    }

    /// Evaluates one epoch; blocks, so call it on a CPU thread.
    ///
    /// # Errors
    /// If a transform can never run on its source.
    pub(super) fn evaluate(&mut self, epoch: &Arc<SealedEpoch>) -> Result<StarEpoch, EvaluateError> {
        let batches: Vec<ChangeBatch> =
            epoch.decoded.iter().flat_map(|decoded| &decoded.batches).cloned().collect();
        let batches: Vec<ChangeBatch> = batches
            .into_iter()
            .filter_map(|batch| match self.start.get(batch.topic(), batch.partition()) {
                Some(start) => batch.after(start),
                None => Some(batch),
            })
            .collect();
        self.position.merge(&epoch.position);
        self.last = epoch.number;
        let mut star = self.evaluate_batches(&batches, epoch.number)?;
        for batch in &batches {
            self.samples.offer(batch, epoch.closed_at);
        }
        for transform in self.transforms.iter_mut().filter(|transform| transform.stopped.is_none()) {
            if !transform.is_tried && batches.iter().any(|batch| *batch.table() == transform.spec().source) {
                transform.is_tried = true;
                self.status.transform(&transform.entry, |report| report.first_batch_ms = Some(now_ms()));
            }
            if std::mem::take(&mut transform.holds_truncates_again) {
                let again = transform.truncates.iter();
                let of_tables = again
                    .flat_map(|truncate| transform.tables.iter().map(move |table| (table.clone(), truncate)));
                star.truncates.extend(of_tables);
            }
        }
        star.closed_at = epoch.closed_at;
        // Not those of a replay: its events were visible long ago.
        star.times = batches.iter().flat_map(sample_times).collect();
        star._epoch = Some(Arc::clone(epoch));
        Ok(star)
    }

    /// Evaluates `batches` as epoch `number`.
    ///
    /// # Errors
    /// If a transform can never run on its source.
    pub(super) fn evaluate_batches(
        &mut self,
        batches: &[ChangeBatch],
        number: Epoch,
    ) -> Result<StarEpoch, EvaluateError> {
        let version = Version::new(self.term, number);
        let (mut inserts, mut truncates, mut dead_letters, mut rows) =
            (Vec::new(), Vec::new(), Vec::new(), 0);
        for transform in self.transforms.iter_mut().filter(|transform| transform.stopped.is_none()) {
            let own: Vec<ChangeBatch> =
                batches.iter().filter(|batch| *batch.table() == transform.spec().source).cloned().collect();
            if own.is_empty() {
                continue;
            }
            rows += own.iter().map(ChangeBatch::num_rows).sum::<usize>();
            let output = match transform.evaluate(&own, version) {
                Err(error) if transform.coverage == Coverage::Whole || error.is_defect() => {
                    return Err(error);
                }
                // What came in while running must not end what runs.
                Err(error) => {
                    transform.stopped = Some(error.to_string());
                    Output::default()
                }
                Ok(output) => output,
            };
            if let Some(reason) = &transform.stopped {
                transform.tell_stopped(reason, &self.status);
                continue;
            }
            let Output { rows: by_target, truncates: fresh, failures: failed } = output;
            for (table, batches) in transform.tables.iter().zip(by_target) {
                truncates.extend(fresh.iter().map(|truncate| (table.clone(), *truncate)));
                if !batches.is_empty() {
                    let (target, table) = (table.view_name().to_owned(), table.physical_name());
                    inserts.push(Insert { target, table, batches });
                }
            }
            dead_letters.extend(failed.iter().map(|failure| dead_letter(transform, failure)));
        }
        Ok(StarEpoch {
            number,
            position: self.position.clone(),
            inserts,
            truncates,
            dead_letters,
            record: self.record(number),
            part: String::new(),
            rows,
            closed_at: Instant::now(),
            times: Vec::new(),
            _epoch: None,
        })
    }

    /// The star stands at `position`, and events below it are skipped.
    pub(super) fn start_at(&mut self, position: Position) {
        self.start.clone_from(&position);
        self.position = position;
    }

    /// What `_dabi_epochs` is told once epoch `number` is stored.
    pub(super) fn record(&self, number: Epoch) -> EpochRecord {
        let running = self.transforms.iter().filter(|transform| transform.stopped.is_none());
        EpochRecord {
            pipeline: self.pipeline.clone(),
            term: self.term,
            epoch: number,
            position: self.position.clone(),
            modules: running
                .clone()
                .filter(|transform| transform.coverage == Coverage::Whole)
                .map(|t| (t.spec().name.clone(), t.module().hash().to_string()))
                .collect(),
            truncates: running
                .map(|t| (t.spec().source.to_string(), t.truncates.clone()))
                .collect::<BTreeMap<_, _>>(),
        }
    }
}

fn dead_letter(transform: &LiveTransform, failure: &Failure) -> DeadLetterRow {
    let (event, spec) = (&failure.event, transform.spec());
    tracing::debug!(transform = spec.name, code = failure.code, failure.message, "dead letter");
    DeadLetterRow {
        transform: spec.name.clone(),
        module: transform.module().hash().to_string(),
        source: spec.source.to_string(),
        topic: event.topic().to_string(),
        partition: event.partition(),
        offset: event.span().from.0,
        stage: failure.stage.as_str(),
        code: failure.code.clone(),
        message: failure.message.clone(),
        row: as_json(event),
    }
}

/// The event as one line of JSON, for people to look at.
fn as_json(event: &ChangeBatch) -> String {
    let mut line = Vec::new();
    let written = arrow::json::LineDelimitedWriter::new(&mut line).write(event.record_batch());
    match written {
        Ok(()) => String::from_utf8_lossy(&line).trim_end().to_owned(),
        Err(error) => format!("not shown: {error}"),
    }
}

/// Times of events spread evenly over a batch.
fn sample_times(batch: &ChangeBatch) -> Vec<EventTimes> {
    let (commits, kafka) = (batch.commit_ts(), batch.kafka_ts());
    let step = batch.num_rows().div_ceil(LATENCY_SAMPLES_MAX);
    let sampled = batch.ops().enumerate().step_by(step);
    let times = sampled.map(|(row, op)| EventTimes {
        events: step.min(batch.num_rows() - row) as u64,
        commit_us: (op != Op::Read && commits.is_valid(row)).then(|| commits.value(row)),
        kafka_ms: kafka.is_valid(row).then(|| kafka.value(row)),
    });
    times.collect()
}

/// Evaluates every epoch that arrives and hands its rows to [`publish`]; between
/// two epochs it takes in what is to change.
///
/// # Errors
/// If a transform can never run on its source.
pub(super) async fn evaluate(
    mut evaluator: Evaluator,
    mut epochs: mpsc::Receiver<Arc<SealedEpoch>>,
    mut changes: mpsc::Receiver<Change>,
    rows: mpsc::Sender<StarEpoch>,
) -> Result<(), PipelineError> {
    loop {
        let epoch = tokio::select! {
            biased;
            Some(change) = changes.recv() => {
                evaluator.apply(change);
                continue;
            }
            epoch = epochs.recv() => epoch,
        };
        let Some(epoch) = epoch else { break };
        let star;
        (evaluator, star) = on_cpu(move || {
            let star = evaluator.evaluate(&epoch);
            (evaluator, star)
        })
        .await;
        // Fails only if `publish` has failed, which says why.
        if rows.send(star?).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Stores the rows of every epoch that arrives, then its position, until the
/// sender is gone.
///
/// # Errors
/// If ClickHouse refuses for good.
pub(super) async fn publish(
    warehouse: Warehouse,
    mut epochs: mpsc::Receiver<StarEpoch>,
    status: Status,
    metrics: Metrics,
    abort: CancellationToken,
) -> Result<(), PipelineError> {
    let mut recorded_at: Option<Instant> = None;
    let mut unrecorded: Option<EpochRecord> = None;
    while let Some(epoch) = epochs.recv().await {
        let idle = epoch.rows == 0
            && epoch.truncates.is_empty()
            && recorded_at.is_some_and(|at| at.elapsed() < IDLE_RECORD_INTERVAL);
        if idle {
            // Nothing of it is to be stored, so all of it is visible: to read
            // it again after a crash changes nothing.
            status.star(&epoch.position);
            unrecorded = Some(epoch.record);
            continue;
        }
        store(&warehouse, &epoch, &metrics, &abort).await?;
        warehouse.record_epoch(&epoch.record, &abort).await?;
        (recorded_at, unrecorded) = (Some(Instant::now()), None);
        status.star(&epoch.position);
    }
    if let Some(record) = unrecorded {
        warehouse.record_epoch(&record, &abort).await?;
        status.star(&record.position);
    }
    Ok(())
}

/// Stores the rows of one epoch: truncates first (they select older rows), then
/// rows and dead letters. Its position is for the caller to record.
///
/// # Errors
/// If ClickHouse refuses for good.
pub(super) async fn store(
    warehouse: &Warehouse,
    epoch: &StarEpoch,
    metrics: &Metrics,
    abort: &CancellationToken,
) -> Result<(), PipelineError> {
    let version = Version::new(epoch.record.term, epoch.number);
    for (table, truncate) in &epoch.truncates {
        warehouse.insert_truncate_tombstones(table, *truncate, version, abort).await?;
    }
    let inserts = epoch.inserts.iter().map(|insert| async move {
        let Some(rows) = encode(insert, metrics).await? else { return Ok(()) };
        let token = format!("{}-{}-{}{}", epoch.record.pipeline, insert.table, version.0, epoch.part);
        warehouse.insert(&insert.table, rows, &token, abort).await
    });
    try_join_all(inserts).await?;
    if !epoch.dead_letters.is_empty() {
        let token = format!("dead-letters-{}{}", version.0, epoch.part);
        warehouse.insert_dead_letters(&epoch.dead_letters, &token, abort).await?;
    }
    count(epoch, metrics);
    Ok(())
}

async fn encode(insert: &Insert, metrics: &Metrics) -> Result<Option<EncodedRows>, WarehouseError> {
    let (table, batches, metrics) = (insert.table.clone(), insert.batches.clone(), metrics.clone());
    on_cpu(move || metrics.timed(Stage::Encode, || EncodedRows::new(&table, &batches))).await
}

fn count(epoch: &StarEpoch, metrics: &Metrics) {
    for insert in &epoch.inserts {
        let rows: usize = insert.batches.iter().map(RecordBatch::num_rows).sum();
        metrics.star_rows.get_or_create(&TableLabel { table: insert.target.clone() }).inc_by(rows as u64);
    }
    for letter in &epoch.dead_letters {
        let kind = format!("{}/{}", letter.stage, letter.code);
        metrics.dead_letters.get_or_create(&KindLabel { kind }).inc();
    }
    metrics.totals.dead_letters.inc_by(epoch.dead_letters.len() as u64);
    metrics.epochs.inc();
    #[expect(clippy::cast_precision_loss, reason = "a count of rows")]
    metrics.epoch_rows.observe(epoch.rows as f64);
    metrics.epoch_seconds.observe(epoch.closed_at.elapsed().as_secs_f64());
    count_latency(&epoch.times, metrics);
}

fn count_latency(times: &[EventTimes], metrics: &Metrics) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_us = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
    metrics.latencies.record(|latencies| {
        for time in times {
            if let Some(commit_us) = time.commit_us {
                latencies.since_commit.record(now_us.saturating_sub(commit_us) / 1000, time.events);
            }
            if let Some(kafka_ms) = time.kafka_ms {
                let ms = (now_us / 1000).saturating_sub(kafka_ms);
                latencies.since_kafka.record(ms, time.events);
                #[expect(clippy::cast_precision_loss, reason = "milliseconds of latency")]
                metrics.latency_seconds.observe(ms.max(0) as f64 / 1000.0);
            }
        }
    });
}
