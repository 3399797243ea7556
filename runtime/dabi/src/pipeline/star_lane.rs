//! The star's lane: epochs → star rows → ClickHouse.
//!
//! Two tasks, so that the rows of one epoch are computed while those of the one
//! before are inserted. Owns the order of the statements of an epoch. Does not
//! own how rows are made (`evaluator`) or sent (`warehouse`).
//!
//! Invariant: the position of an epoch is recorded after every row of it is
//! stored; so after a crash at any point the epoch is applied again, whole,
//! under a higher version.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::RecordBatch;
use dabi_core::dead_letter::DeadLetter;
use dabi_core::position::Position;
use dabi_core::version::Version;
use futures::future::try_join_all;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::epoch::SealedEpoch;
use super::evaluator::{Evaluator, EventTimes, StarEpoch};
use super::neighbours::StarWarehouse;
use super::status::{Status, millis, now_ms};
use super::swap::Change;
use super::{PipelineError, on_cpu};
use crate::failpoint::{Failpoint, reach};
use crate::telemetry::{KindLabel, Metrics, TableLabel};
use crate::warehouse::{EpochRecord, WarehouseError};

/// An epoch without change events moves the position only this often.
const IDLE_RECORD_INTERVAL: Duration = Duration::from_secs(5);

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
    stop: CancellationToken,
) -> Result<(), PipelineError> {
    let mut ended = false;
    // After the last event what is left is taken up unless there is no time: it
    // is in the state store.
    while !ended || evaluator.has_work() && !stop.is_cancelled() {
        let epoch = tokio::select! {
            biased;
            Some(change) = changes.recv() => {
                evaluator.apply(change);
                continue;
            }
            epoch = epochs.recv(), if !ended => {
                ended = epoch.is_none();
                epoch
            }
            () = std::future::ready(()), if evaluator.has_work() => None,
        };
        if epoch.is_none() && !evaluator.has_work() {
            continue;
        }
        let star;
        (evaluator, star) = on_cpu(move || {
            let star = match epoch {
                Some(epoch) => evaluator.evaluate(&epoch),
                None => evaluator.work(&[], &Position::default()),
            };
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
/// sender is gone. Dead letters go to the lake, too, with its next commit; what a
/// crash keeps from it is in the warehouse.
///
/// # Errors
/// If ClickHouse refuses for good.
pub(super) async fn publish(
    warehouse: Arc<dyn StarWarehouse>,
    mut epochs: mpsc::Receiver<StarEpoch>,
    letters: mpsc::Sender<Vec<DeadLetter>>,
    status: Status,
    metrics: Metrics,
    abort: CancellationToken,
) -> Result<(), PipelineError> {
    let mut recorded_at: Option<Instant> = None;
    let mut unrecorded: Option<EpochRecord> = None;
    let mut open_work = Vec::new();
    while let Some(epoch) = epochs.recv().await {
        let idle = epoch.rows == 0
            && epoch.truncates.is_empty()
            && epoch.record.open_work == open_work
            && recorded_at.is_some_and(|at| at.elapsed() < IDLE_RECORD_INTERVAL);
        if idle {
            // Nothing of it is to be stored, so all of it is visible: to read
            // it again after a crash changes nothing.
            status.star(&epoch.position);
            unrecorded = Some(epoch.record);
            continue;
        }
        let began = Instant::now();
        reach(Failpoint::RowsUnsent);
        store(warehouse.as_ref(), &epoch, &metrics, &abort).await?;
        let stored = Instant::now();
        reach(Failpoint::EpochUnrecorded);
        warehouse.record_epoch(&epoch.record, &abort).await?;
        reach(Failpoint::EpochRecorded);
        tracing::debug!(
            epoch = epoch.number.0,
            rows = epoch.rows,
            waited_ms = millis(began - epoch.closed_at),
            stored_ms = millis(stored - began),
            recorded_ms = millis(stored.elapsed()),
            "epoch is visible"
        );
        hand_letters_on(&epoch, &letters).await;
        if let Some(stored) = &epoch.stored {
            stored.up_to(epoch.number);
        }
        open_work = epoch.record.open_work;
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
    warehouse: &dyn StarWarehouse,
    epoch: &StarEpoch,
    metrics: &Metrics,
    abort: &CancellationToken,
) -> Result<(), PipelineError> {
    let version = Version::new(epoch.record.term, epoch.number);
    for (table, truncate) in &epoch.truncates {
        warehouse.insert_truncate_tombstones(table, *truncate, version, abort).await?;
    }
    let inserts = epoch.inserts.iter().map(|insert| async move {
        let token = format!("{}-{}-{}{}", epoch.record.pipeline, insert.table, version.0, epoch.part);
        warehouse.insert(&insert.table, &insert.batches, &token, abort).await?;
        reach(Failpoint::TableSent);
        Ok::<_, WarehouseError>(())
    });
    try_join_all(inserts).await?;
    reach(Failpoint::RowsSent);
    if !epoch.dead_letters.is_empty() || !epoch.cleared.is_empty() {
        let token = format!("dead-letters-{}{}", version.0, epoch.part);
        warehouse.insert_dead_letters(&epoch.dead_letters, &epoch.cleared, version, &token, abort).await?;
    }
    count(epoch, metrics);
    Ok(())
}

/// Gives the letters of an epoch that is stored to the lake's lane.
pub(super) async fn hand_letters_on(epoch: &StarEpoch, letters: &mpsc::Sender<Vec<DeadLetter>>) {
    if epoch.dead_letters.is_empty() {
        return;
    }
    let now = i64::try_from(now_ms()).unwrap_or(i64::MAX);
    // The lane is gone only if it has failed, which says why.
    let _ = letters.send(epoch.dead_letters.iter().map(|row| row.for_lake(now)).collect()).await;
}

fn count(epoch: &StarEpoch, metrics: &Metrics) {
    for insert in &epoch.inserts {
        let rows: usize = insert.batches.iter().map(RecordBatch::num_rows).sum();
        metrics.star_rows.get_or_create(&TableLabel { table: insert.target.clone() }).inc_by(rows as u64);
    }
    for letter in &epoch.dead_letters {
        let kind = format!("{}/{}", letter.stage.as_str(), letter.code);
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
