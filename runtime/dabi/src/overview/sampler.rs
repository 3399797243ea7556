//! The task that makes a snapshot every second.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::history::{History, Meter};
use super::onlooker::{Onlooker, Seen};
use super::snapshot::{About, LakeState, Overview, Run, TargetState};
use crate::pipeline::{Report, Status, now_ms};
use crate::telemetry::{Metrics, TableLabel};
use crate::warehouse::Warehouse;

const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// What snapshots are made of.
pub struct Sampler {
    /// What does not change.
    pub about: About,
    /// What the pipeline counts.
    pub metrics: Metrics,
    /// What the pipeline says of itself.
    pub status: Status,
    /// The warehouse, while the pipeline has one.
    pub warehouse: watch::Receiver<Option<Warehouse>>,
}

impl Sampler {
    /// Samples until `stop`, then once more, so that the last snapshot is of
    /// the end. Whoever holds the receiver sees the latest.
    #[must_use]
    pub fn spawn(self, stop: CancellationToken) -> (watch::Receiver<Arc<Overview>>, JoinHandle<()>) {
        let (seen, latest) = watch::channel(Seen::default());
        let onlooker = Onlooker {
            metrics: self.metrics.clone(),
            status: self.status.clone(),
            warehouse: self.warehouse.clone(),
            seen,
        };
        let mut scribe = Scribe::new(self.about, self.metrics, self.status, latest);
        let (overview, readers) = watch::channel(Arc::new(scribe.snapshot(Instant::now(), now_ms())));
        let task = tokio::spawn(async move {
            let onlooker = tokio::spawn(onlooker.run(stop.clone()));
            let mut ticks = interval(SAMPLE_EVERY);
            // A second that was slept through is one long sample, not several empty ones.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks.tick().await;
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                overview.send_replace(Arc::new(scribe.snapshot(Instant::now(), now_ms())));
            }
            let _ended = onlooker.await;
            overview.send_replace(Arc::new(scribe.snapshot(Instant::now(), now_ms())));
        });
        (readers, task)
    }
}

/// Writes down one snapshot after the other.
struct Scribe {
    about: About,
    metrics: Metrics,
    status: Status,
    seen: watch::Receiver<Seen>,
    history: History,
    events: Meter,
    targets: BTreeMap<String, Meter>,
}

impl Scribe {
    fn new(about: About, metrics: Metrics, status: Status, seen: watch::Receiver<Seen>) -> Self {
        let events = Meter::new(Instant::now(), metrics.totals.events.get());
        Self { about, metrics, status, seen, history: History::default(), events, targets: BTreeMap::new() }
    }

    fn snapshot(&mut self, now: Instant, at_ms: u64) -> Overview {
        let report = self.status.report();
        let totals = self.metrics.totals.clone();
        let rate = self.events.rate(now, totals.events.get());
        let sample = self.history.push(at_ms, rate, report.star_lag, self.metrics.latencies.take());
        let seen = self.seen.borrow().clone();
        Overview {
            at_ms,
            about: self.about.clone(),
            now: sample,
            latency: self.history.recent(),
            run: Run {
                events: totals.events.get(),
                dead_letters: totals.dead_letters.get(),
                unreadable: totals.unreadable.get(),
                reloads: report.reloads,
                latency: self.history.all(),
            },
            targets: self.target_states(&report, &seen, now),
            transforms: report.transforms,
            dead_letters: seen.dead_letters,
            lake: LakeState {
                files: self.metrics.lake_files.get(),
                bytes: self.metrics.lake_bytes.get(),
                pending_bytes: self.metrics.lake_pending_bytes.get(),
                committed_ms: report.lake_committed_ms,
            },
            history: self.history.samples(),
            phase: report.phase,
            ready: report.ready,
            waiting: report.waiting,
            lake_lag: report.lake_lag,
        }
    }
    fn target_states(&mut self, report: &Report, seen: &Seen, now: Instant) -> Vec<TargetState> {
        let metrics = &self.metrics;
        let meters = &mut self.targets;
        let states = report.targets().map(|(table, transform)| {
            let label = TableLabel { table: table.to_owned() };
            let written = metrics.star_rows.get_or_create(&label).get();
            let meter = meters.entry(table.to_owned()).or_insert_with(|| Meter::new(now, written));
            TargetState {
                table: table.to_owned(),
                transform: transform.name.clone(),
                rows: seen.rows.get(table).copied(),
                rows_per_s: meter.rate(now, written),
            }
        });
        states.collect()
    }
}
