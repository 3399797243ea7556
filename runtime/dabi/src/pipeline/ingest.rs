//! The intake: polls the source, decodes, and closes epochs.
//!
//! Runs on a thread of its own, because the source may block it. Owns the open
//! epoch and the position of reading. Does not own what the sinks do with a closed epoch.

use std::sync::Arc;
use std::time::Duration;

use dabi_core::debezium::Skip;
use dabi_core::position::Position;
use dabi_core::version::Epoch;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::decoders::Decoders;
use super::epoch::{Pacing, SealedEpoch};
use super::limits::Limits;
use super::neighbours::EventSource;
use super::status::Status;
use crate::failpoint::{Failpoint, reach};
use crate::source::{Message, SourceError};
use crate::telemetry::{KindLabel, Metrics, NeighbourLabel, PartitionLabel, Stage, TableLabel};

/// Messages taken from the source at once.
const POLL_MESSAGES_MAX: usize = 8192;
/// How long a poll waits for a first message.
const POLL_WAIT_MAX: Duration = Duration::from_millis(50);
/// How long to wait for a lane that is busy before looking again.
const LANE_WAIT: Duration = Duration::from_millis(1);

/// Who can be waited for.
const NEIGHBOURS: [&str; 3] = ["kafka", "lake", "clickhouse"];

/// How often Kafka's group and the lag metric are told.
const MIRROR_INTERVAL: Duration = Duration::from_millis(500);

/// Where closed epochs go.
pub(super) struct Lanes {
    /// The star takes one epoch while it works on another.
    pub(super) star: mpsc::Sender<Arc<SealedEpoch>>,
    /// The lake takes any number: memory bounds them.
    pub(super) lake: mpsc::UnboundedSender<Arc<SealedEpoch>>,
    /// `limits.memory_bytes`, in KiB.
    pub(super) memory: Arc<Semaphore>,
}

/// The intake.
pub(super) struct Ingest {
    /// Where records come from.
    pub(super) source: Box<dyn EventSource>,
    /// Where epochs go.
    pub(super) lanes: Lanes,
    /// Bounds.
    pub(super) limits: Limits,
    /// What is counted.
    pub(super) metrics: Metrics,
    /// Where each sink begins.
    pub(super) sink_starts: Vec<Position>,
    /// Where reading begins.
    pub(super) position: Position,
    /// For the sinks' positions.
    pub(super) status: Status,
    /// Once cancelled: stop at the end of every partition.
    pub(super) finish: CancellationToken,
    /// Stop now: close the open epoch and return.
    pub(super) stop: CancellationToken,
    /// When Kafka's group was last told.
    pub(super) mirrored: Instant,
}

impl Ingest {
    /// Reads until told to stop, or until caught up. Dropping the lanes' senders
    /// on return tells the lanes to finish.
    ///
    /// # Errors
    /// If the source halts. What was read and not handed on is not lost: no
    /// position has passed it.
    pub(super) async fn run(mut self) -> Result<(), SourceError> {
        let mut decoders = Decoders::new(std::mem::take(&mut self.sink_starts), self.metrics.clone());
        let mut pacing = Pacing::new(&self.limits);
        let mut next = Epoch(1);
        let mut is_turn = false;
        while !self.stop.is_cancelled() {
            self.mirror();
            let (rows, bytes) = (decoders.rows(), decoders.bytes());
            let full = pacing.full(rows, bytes);
            if !full {
                let wait =
                    if rows == 0 { POLL_WAIT_MAX } else { pacing.wait(Instant::now()).min(POLL_WAIT_MAX) };
                // Nothing can close while the star is busy: without a pause this would spin.
                let wait = if self.lanes.star.capacity() == 0 { wait.max(LANE_WAIT) } else { wait };
                let messages = self.source.poll(POLL_MESSAGES_MAX, wait).await?;
                if messages.is_empty() && self.finish.is_cancelled() {
                    let ends = self.source.end_offsets().await?;
                    if self.source.position().covers(&ends) {
                        break;
                    }
                }
                self.count(&messages);
                decoders.push(messages);
            }
            if self.source.has_turned() {
                // What comes from now on belongs to another epoch, however small this one is.
                if decoders.has_records() {
                    if !self.close(&mut decoders, next, is_turn).await {
                        return Ok(());
                    }
                    pacing.closed(Instant::now());
                    next = next.next();
                }
                is_turn = true;
                continue;
            }
            if !decoders.has_records() || !pacing.wait(Instant::now()).is_zero() && !full {
                continue;
            }
            if self.lanes.star.capacity() == 0 {
                // The star is busy: go on reading into the open epoch, or wait if it is full.
                if full {
                    sleep(LANE_WAIT).await;
                }
                continue;
            }
            if !self.close(&mut decoders, next, is_turn).await {
                return Ok(());
            }
            pacing.closed(Instant::now());
            next = next.next();
            is_turn = false;
        }
        self.close(&mut decoders, next, is_turn).await;
        Ok(())
    }

    /// Hands the open epoch to the lanes; false if they are gone (one failed).
    async fn close(&mut self, decoders: &mut Decoders, number: Epoch, is_turn: bool) -> bool {
        if !decoders.has_records() {
            return true;
        }
        let kib = u32::try_from(decoders.bytes() / 1024).unwrap_or(u32::MAX);
        let most = u32::try_from(self.limits.memory_bytes / 1024).unwrap_or(u32::MAX);
        let memory = Arc::clone(&self.lanes.memory).acquire_many_owned(kib.clamp(1, most));
        let Ok(memory) = memory.await else { return false };
        let decoded = self.metrics.timed(Stage::Decode, || decoders.drain());
        for part in &decoded {
            part.advance(&mut self.position);
            for batch in &part.batches {
                let label = TableLabel { table: batch.table().to_string() };
                self.metrics.events.get_or_create(&label).inc_by(batch.num_rows() as u64);
                self.metrics.totals.events.inc_by(batch.num_rows() as u64);
            }
            for (kind, count) in &part.skipped {
                let label = KindLabel { kind: kind.as_str().to_owned() };
                self.metrics.skipped.get_or_create(&label).inc_by(*count);
                if *kind == Skip::DeadLetter {
                    self.metrics.totals.unreadable.inc_by(*count);
                }
            }
        }
        let epoch = SealedEpoch {
            number,
            decoded,
            position: self.position.clone(),
            closed_at: Instant::now(),
            is_turn,
            _memory: memory,
        };
        let epoch = Arc::new(epoch);
        reach(Failpoint::EpochClosed);
        if self.lanes.lake.send(Arc::clone(&epoch)).is_err() {
            return false;
        }
        reach(Failpoint::EpochHalfHanded);
        // Nobody else sends to the star, so there is room (see `capacity` above), or at
        // a turn a moment's wait.
        self.lanes.star.send(epoch).await.is_ok()
    }

    /// Tells Kafka's group, and the lag metric, what both sinks have.
    fn mirror(&mut self) {
        if self.mirrored.elapsed() < MIRROR_INTERVAL {
            return;
        }
        self.mirrored = Instant::now();
        let report = self.status.report();
        self.source.commit_mirror(&report.lake_position.meet(&report.star_position));
        let ends = self.source.cached_end_offsets();
        self.status.behind(ends.ahead_of(&report.star_position), ends.ahead_of(&report.lake_position));
        for (topic, partition, end) in ends.iter() {
            let visible = report.star_position.get(topic, partition).unwrap_or_default();
            let label = PartitionLabel { topic: topic.to_string(), partition };
            self.metrics.lag.get_or_create(&label).set((end.0 - visible.0).max(0));
        }
        for neighbour in NEIGHBOURS {
            let label = NeighbourLabel { neighbour: neighbour.to_owned() };
            let is_waited_for = report.waiting.contains_key(neighbour);
            self.metrics.waiting.get_or_create(&label).set(is_waited_for.into());
        }
        let free = self.lanes.memory.available_permits().saturating_mul(1024);
        let in_flight = self.limits.memory_bytes.saturating_sub(free);
        self.metrics.in_flight_bytes.set(i64::try_from(in_flight).unwrap_or(i64::MAX));
        if self.source.is_reachable() {
            self.status.arrived("kafka");
        } else {
            self.status.waiting("kafka", "no broker answers".to_owned());
        }
    }

    fn count(&self, messages: &[Message]) {
        self.metrics.records.inc_by(messages.len() as u64);
        let bytes: usize =
            messages.iter().map(|m| m.key().map_or(0, <[u8]>::len) + m.value().map_or(0, <[u8]>::len)).sum();
        self.metrics.record_bytes.inc_by(bytes as u64);
    }
}
