//! The snapshot, as plain data. Its JSON is what `/api/overview` answers.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::config::Settings;
use crate::pipeline::TransformReport;
use crate::telemetry::{Latencies, Latency};
use crate::warehouse::StoredDeadLetter;

/// A moment of a pipeline.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Overview {
    /// When, ms since 1970.
    pub at_ms: u64,
    /// What does not change while it runs.
    pub about: About,
    /// `starting`, `running`, `draining`, `stopped`.
    pub phase: String,
    /// Events flow and nothing is waited for.
    pub ready: bool,
    /// Neighbours that are waited for, with the reason.
    pub waiting: BTreeMap<String, String>,
    /// The last second.
    pub now: Sample,
    /// Offsets between the lake and the ends of the partitions.
    pub lake_lag: u64,
    /// Latencies of the last ten seconds.
    pub latency: LatencyPair,
    /// Since the start.
    pub run: Run,
    /// The star's tables.
    pub targets: Vec<TargetState>,
    /// What fills them.
    pub transforms: Vec<TransformReport>,
    /// Events that a transform could not use.
    pub dead_letters: DeadLetters,
    /// What the lake got.
    pub lake: LakeState,
    /// The last five minutes, oldest first; left out of updates, whose `now`
    /// continues it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Sample>,
}

impl Overview {
    /// The same without its history, for who has that already.
    #[must_use]
    pub fn update(&self) -> Self {
        Self { history: Vec::new(), ..self.clone() }
    }
}

/// What does not change while a pipeline runs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    /// Its name.
    pub pipeline: String,
    /// dabi's version.
    pub version: &'static str,
    /// When it was started, ms since 1970.
    pub started_ms: u64,
    /// Kafka's brokers.
    pub brokers: String,
    /// Which topics are read.
    pub topics: String,
    /// Where the lake is.
    pub lake: String,
    /// Where ClickHouse is.
    pub warehouse: String,
    /// The database of the star.
    pub database: String,
    /// Where transforms are looked for.
    pub transforms: String,
}

impl About {
    /// Of a pipeline with these settings that starts now.
    #[must_use]
    pub fn new(settings: &Settings, started_ms: u64) -> Self {
        Self {
            pipeline: settings.pipeline.clone(),
            version: env!("CARGO_PKG_VERSION"),
            started_ms,
            brokers: settings.kafka.brokers.clone(),
            topics: settings.kafka.topics.to_string(),
            lake: settings.lake.url.clone(),
            warehouse: settings.warehouse.url.clone(),
            database: settings.warehouse.database.clone(),
            transforms: settings.transforms.dir.display().to_string(),
        }
    }
}

/// One second.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Its end, ms since 1970.
    pub at_ms: u64,
    /// Change events read per second.
    pub events_per_s: f64,
    /// Offsets between the star and the ends of the partitions.
    pub lag: u64,
    /// How long events took that became visible in it.
    #[serde(flatten)]
    pub latency: LatencyPair,
}

/// Latencies of some time; absent where no event became visible in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LatencyPair {
    /// From the commit in the source database to visibility in the star.
    pub commit_ms: Option<Quantiles>,
    /// From Kafka to visibility in the star.
    pub kafka_ms: Option<Quantiles>,
}

impl LatencyPair {
    pub(super) fn of(latencies: &Latencies) -> Self {
        Self {
            commit_ms: Quantiles::of(&latencies.since_commit),
            kafka_ms: Quantiles::of(&latencies.since_kafka),
        }
    }
}

/// Half of the events, and all but one in a hundred, were done within, in ms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Quantiles {
    pub p50: u64,
    pub p99: u64,
}

impl Quantiles {
    fn of(latency: &Latency) -> Option<Self> {
        Some(Self { p50: latency.quantile_ms(0.5)?, p99: latency.quantile_ms(0.99)? })
    }
}

/// What happened since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Run {
    /// Change events read.
    pub events: u64,
    /// Events that a transform could not use.
    pub dead_letters: u64,
    /// Records that could not be decoded.
    pub unreadable: u64,
    /// Modules taken up.
    pub reloads: u64,
    /// How long the events took.
    pub latency: LatencyPair,
}

/// A table of the star.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TargetState {
    /// The view's name.
    pub table: String,
    /// The transform that fills it.
    pub transform: String,
    /// How many rows a reader finds.
    pub rows: Option<RowCount>,
    /// Rows written in the last second, tombstones included.
    pub rows_per_s: f64,
}

/// A number of rows, and when it was that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RowCount {
    /// Without tombstones.
    pub count: u64,
    /// ms since 1970.
    pub at_ms: u64,
}

/// Dead letters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetters {
    /// How many `_dead_letters` holds, from earlier runs too.
    pub stored: Option<u64>,
    /// The latest of them, the last one first.
    pub latest: Vec<StoredDeadLetter>,
}

/// What the lake got since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LakeState {
    /// Files committed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Encoded bytes that wait for the next commit.
    pub pending_bytes: i64,
    /// When it last committed, ms since 1970.
    pub committed_ms: Option<u64>,
}
