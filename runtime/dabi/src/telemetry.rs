//! Logs and metrics.
//!
//! Owns the log format, the metrics registry and the names of the metrics.
//! Does not own serving them (`web`).

mod latency;
mod screen;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use tracing_subscriber::EnvFilter;

pub use self::latency::{Latencies, Latency, LatencyRecorder};
pub use self::screen::screen;
use crate::build::{BuildError, Built};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// for people
    Human,
    /// one JSON object a line
    Json,
}

/// Starts logging to stderr; `DABI_LOG` filters (as `info,dabi::source=debug`).
pub fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_env("DABI_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(screen::AboveScreen);
    // Set once, at start; a second call (tests) finds it set and that is fine.
    let _ = match format {
        LogFormat::Human => {
            let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
            builder.with_ansi(ansi).with_target(false).try_init()
        }
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// A part of the pipeline whose CPU time is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, prometheus_client::encoding::EncodeLabelValue)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Stage {
    Fetch,
    Decode,
    Lake,
    Transform,
    State,
    Encode,
}

/// Labels of a per-stage metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct StageLabel {
    /// The stage.
    pub stage: Stage,
}

/// Labels of a per-table metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TableLabel {
    /// `schema.table` of a source, or the name of a target.
    pub table: String,
}

/// Labels of what is counted by kind.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    /// `tombstone`, `heartbeat`, …; for dead letters stage and code.
    pub kind: String,
}

/// Labels of a per-partition metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct PartitionLabel {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
}

/// Labels of a per-transform metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TransformLabel {
    /// Its name.
    pub transform: String,
}

/// Labels of a per-sink metric.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct NeighbourLabel {
    /// `kafka`, `lake` or `clickhouse`.
    pub neighbour: String,
}

type Seconds = Counter<f64, AtomicU64>;

/// What the counters with labels add up to, which they cannot tell themselves.
/// Prometheus sums by itself, so these are not registered.
#[derive(Clone, Default)]
pub struct Totals {
    /// Change events of all tables.
    pub events: Counter,
    /// Events that a transform could not use.
    pub dead_letters: Counter,
    /// Records that could not be decoded; they lie in the lake.
    pub unreadable: Counter,
}

/// Every metric, one handle each; cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Records read from Kafka.
    pub records: Counter,
    /// Bytes of keys and values read from Kafka.
    pub record_bytes: Counter,
    /// Change events by source table.
    pub events: Family<TableLabel, Counter>,
    /// Records that are no change events, by kind.
    pub skipped: Family<KindLabel, Counter>,
    /// Dead letters by stage and code.
    pub dead_letters: Family<KindLabel, Counter>,
    /// CPU seconds by stage.
    pub stage_cpu: Family<StageLabel, Seconds>,
    /// Epochs made visible.
    pub epochs: Counter,
    /// Rows in each epoch.
    pub epoch_rows: Histogram,
    /// Seconds from the close of an epoch to its visibility.
    pub epoch_seconds: Histogram,
    /// Seconds from a record's Kafka timestamp to its visibility in the star.
    pub latency_seconds: Histogram,
    /// Star rows written by target, tombstones included.
    pub star_rows: Family<TableLabel, Counter>,
    /// Lake files committed.
    pub lake_files: Counter,
    /// Bytes of lake files committed.
    pub lake_bytes: Counter,
    /// Encoded bytes that wait for the next manifest.
    pub lake_pending_bytes: Gauge,
    /// Offsets between a sink's position and the end of each partition.
    pub lag: Family<PartitionLabel, Gauge>,
    /// 1 while a neighbour is waited for.
    pub waiting: Family<NeighbourLabel, Gauge>,
    /// 1 for a transform that was stopped.
    pub stopped: Family<TransformLabel, Gauge>,
    /// Events whose key has a null, by source table.
    pub keyless: Family<TableLabel, Counter>,
    /// Events by which the commit clock of a source table with history stepped back.
    pub clock_steps: Family<TableLabel, Counter>,
    /// The largest such step, s.
    pub clock_step_largest: Family<TableLabel, Gauge<f64, AtomicU64>>,
    /// Source rows that gave another row for a star key than stands, by transform.
    pub conflicts: Family<TransformLabel, Counter>,
    /// Modules taken up while running.
    pub reloads: Family<TransformLabel, Counter>,
    /// Seconds from a module's file to the switch to it.
    pub reload_seconds: Histogram,
    /// Builds of source projects: `ok`, `failed`.
    pub builds: Family<KindLabel, Counter>,
    /// Seconds of builds that gave a module.
    pub build_seconds: Histogram,
    /// Bytes of events in memory, bounded by `limits.memory_bytes`.
    pub in_flight_bytes: Gauge,
    /// Sums over labels.
    pub totals: Totals,
    /// Fine latencies, for the overview.
    pub latencies: LatencyRecorder,
}

impl Metrics {
    /// Registers everything under the prefix `dabi`.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("dabi");
        let mut this = Self {
            registry: Arc::default(),
            records: Counter::default(),
            record_bytes: Counter::default(),
            events: Family::default(),
            skipped: Family::default(),
            dead_letters: Family::default(),
            stage_cpu: Family::default(),
            epochs: Counter::default(),
            epoch_rows: Histogram::new(exponential_buckets(1.0, 4.0, 11)),
            epoch_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            latency_seconds: Histogram::new(exponential_buckets(0.005, 1.5, 24)),
            star_rows: Family::default(),
            lake_files: Counter::default(),
            lake_bytes: Counter::default(),
            lake_pending_bytes: Gauge::default(),
            lag: Family::default(),
            waiting: Family::default(),
            stopped: Family::default(),
            keyless: Family::default(),
            clock_steps: Family::default(),
            clock_step_largest: Family::default(),
            conflicts: Family::default(),
            reloads: Family::default(),
            reload_seconds: Histogram::new(exponential_buckets(0.005, 1.5, 24)),
            builds: Family::default(),
            build_seconds: Histogram::new(exponential_buckets(0.1, 2.0, 12)),
            in_flight_bytes: Gauge::default(),
            totals: Totals::default(),
            latencies: LatencyRecorder::default(),
        };
        registry.register("records", "Records read from Kafka", this.records.clone());
        registry.register_with_unit(
            "record",
            "Key and value bytes read from Kafka",
            Unit::Bytes,
            this.record_bytes.clone(),
        );
        registry.register("events", "Change events by source table", this.events.clone());
        registry.register("skipped_records", "Records that are no change events", this.skipped.clone());
        registry.register("dead_letters", "Dead letters by stage and code", this.dead_letters.clone());
        registry.register_with_unit("stage_cpu", "CPU time by stage", Unit::Seconds, this.stage_cpu.clone());
        registry.register("epochs", "Epochs made visible", this.epochs.clone());
        registry.register("epoch_rows", "Rows per epoch", this.epoch_rows.clone());
        registry.register_with_unit(
            "epoch",
            "From an epoch's close to its visibility",
            Unit::Seconds,
            this.epoch_seconds.clone(),
        );
        registry.register_with_unit(
            "latency",
            "From Kafka timestamp to visibility in the star",
            Unit::Seconds,
            this.latency_seconds.clone(),
        );
        registry.register("star_rows", "Star rows written, tombstones included", this.star_rows.clone());
        registry.register("lake_files", "Lake files committed", this.lake_files.clone());
        registry.register_with_unit(
            "lake_file",
            "Bytes of lake files committed",
            Unit::Bytes,
            this.lake_bytes.clone(),
        );
        registry.register_with_unit(
            "lake_pending",
            "Encoded, waiting for the next manifest",
            Unit::Bytes,
            this.lake_pending_bytes.clone(),
        );
        registry.register("lag", "Offsets between the star and the end of the partition", this.lag.clone());
        registry.register("waiting", "1 while a neighbour does not answer", this.waiting.clone());
        registry.register("transform_stopped", "1 for a transform that was stopped", this.stopped.clone());
        registry.register(
            "keyless_events",
            "Events with a null in their key, which belong to no row",
            this.keyless.clone(),
        );
        registry.register(
            "clock_steps",
            "Changes with an earlier commit time than one of the same row before them",
            this.clock_steps.clone(),
        );
        registry.register_with_unit(
            "clock_step_largest",
            "By how much a commit time was earlier at most",
            Unit::Seconds,
            this.clock_step_largest.clone(),
        );
        registry.register(
            "conflicting_rows",
            "Source rows that gave another row for a star key than the one that stands",
            this.conflicts.clone(),
        );
        registry.register("reloads", "Modules taken up while running", this.reloads.clone());
        registry.register_with_unit(
            "reload",
            "From a module's file to the switch to it",
            Unit::Seconds,
            this.reload_seconds.clone(),
        );
        registry.register("builds", "Builds of source projects, by outcome", this.builds.clone());
        registry.register_with_unit(
            "build",
            "Builds that gave a module",
            Unit::Seconds,
            this.build_seconds.clone(),
        );
        registry.register_with_unit(
            "in_flight",
            "Events in memory",
            Unit::Bytes,
            this.in_flight_bytes.clone(),
        );
        this.registry = Arc::new(registry);
        this
    }

    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("writing to a string");
        text
    }

    /// A source project was built, or was not.
    pub fn built(&self, outcome: &Result<Built, BuildError>) {
        let kind = if outcome.is_ok() { "ok" } else { "failed" }.to_owned();
        self.builds.get_or_create(&KindLabel { kind }).inc();
        if let Ok(built) = outcome {
            self.build_seconds.observe(built.took.as_secs_f64());
        }
    }

    /// `transform` failed too often, and runs no more.
    pub fn stopped(&self, transform: &str) {
        self.stopped.get_or_create(&TransformLabel { transform: transform.to_owned() }).set(1);
    }

    /// A module of `transform` was taken up, so long after its file was there.
    pub fn reloaded(&self, transform: &str, took: Duration) {
        self.reload_seconds.observe(took.as_secs_f64());
        let label = TransformLabel { transform: transform.to_owned() };
        self.stopped.get_or_create(&label).set(0);
        self.reloads.get_or_create(&label).inc();
    }

    /// Runs `work` and adds the CPU time of this thread to `stage`.
    pub fn timed<T>(&self, stage: Stage, work: impl FnOnce() -> T) -> T {
        let start = thread_cpu_seconds();
        let answer = work();
        self.stage_cpu.get_or_create(&StageLabel { stage }).inc_by(thread_cpu_seconds() - start);
        answer
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn thread_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "seconds of CPU time")]
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    seconds
}
