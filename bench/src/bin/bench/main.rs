//! Measures dabi against its targets and the incumbent's way, everything on
//! this machine: a real Kafka, the real ClickHouse engine, a local lake.
//!
//! Owns the order of the measurements. What one measurement is stands in its
//! module: `throughput`, `fan_out`, `latency`, `reload`; `alone` runs those that are programs of
//! their own.

mod alone;
mod clickhouse;
mod decode;
mod fan_out;
mod incumbent;
mod kafka;
mod latency;
mod metrics;
mod pipeline;
mod process;
mod reload;
mod results;
mod throughput;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use clap::Parser;

use crate::kafka::Kafka;
use crate::results::Figure;

/// Measure dabi on a real Kafka and the embedded ClickHouse engine
#[derive(Debug, Parser)]
pub(crate) struct Arguments {
    /// Few events and one round, to see that everything works
    #[arg(long)]
    quick: bool,
    /// Only the measurements whose names contain this: throughput-plain,
    /// throughput-schema, throughput-headers, lookup-growth, lookup-throughput,
    /// lookup-fan-out, history-scd2, history-as-of, latency, reload, decode, state
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Rounds, of which the median is taken
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Folder with dabi, dabi-clickhouse, generate, dabi-bench-decode and dabi-bench-state [default: that of this binary]
    #[arg(long, value_name = "DIR")]
    bin: Option<PathBuf>,
    /// Folder with Kafka's jars in `libs`
    #[arg(long, value_name = "DIR", env = "DABI_TEST_KAFKA")]
    kafka: PathBuf,
    /// libchdb.so
    #[arg(long, value_name = "FILE", env = "DABI_CLICKHOUSE_LIB")]
    clickhouse: PathBuf,
    /// Folder with the modules of bench/transforms
    #[arg(long, value_name = "DIR", default_value = "bench/data/transforms")]
    transforms: PathBuf,
    /// Python with what .ci/requirements.txt names
    #[arg(long, value_name = "FILE", env = "DABI_TEST_PYTHON", default_value = ".venv/bin/python")]
    python: PathBuf,
    /// Where topics, lakes and logs go; emptied first
    #[arg(long, value_name = "DIR", default_value = "bench/data/run")]
    data: PathBuf,
    /// Where the figures go
    #[arg(long, value_name = "FILE", default_value = "bench/results.json")]
    out: PathBuf,
}

/// What every measurement needs.
pub(crate) struct Bench {
    pub(crate) arguments: Arguments,
    pub(crate) bin: PathBuf,
    pub(crate) data: PathBuf,
    pub(crate) kafka: Kafka,
    /// What holds for every figure.
    pub(crate) machine: String,
}

impl Bench {
    fn start(arguments: Arguments) -> anyhow::Result<Self> {
        let here = std::env::current_exe().context("find this binary")?;
        let bin = match &arguments.bin {
            Some(bin) => bin.clone(),
            None => here.parent().context("find this binary's folder")?.to_owned(),
        };
        if arguments.data.exists() {
            std::fs::remove_dir_all(&arguments.data)
                .with_context(|| format!("empty {}", arguments.data.display()))?;
        }
        std::fs::create_dir_all(&arguments.data)?;
        let data = arguments.data.canonicalize()?;
        let kafka = Kafka::start(&arguments.kafka, &data.join("kafka"))?;
        let cores = std::thread::available_parallelism()?;
        let machine = format!("{cores} cores shared with the Kafka broker and ClickHouse");
        Ok(Self { arguments, bin, data, kafka, machine })
    }

    /// A binary of this workspace.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    /// How many events to use: `full`, or enough to see that it works.
    pub(crate) fn events(&self, full: u64) -> u64 {
        if self.arguments.quick { full.min(200_000) } else { full }
    }

    /// How often to measure.
    pub(crate) fn rounds(&self) -> u32 {
        if self.arguments.quick { 1 } else { self.arguments.rounds }
    }

    /// A folder below `folder` with the modules of `names`.
    pub(crate) fn modules(&self, names: &[&str], folder: &Path) -> anyhow::Result<PathBuf> {
        let transforms = folder.join("transforms");
        std::fs::create_dir_all(&transforms)?;
        for name in names {
            let file = format!("{name}.wasm");
            std::fs::copy(self.arguments.transforms.join(&file), transforms.join(&file))
                .with_context(|| format!("take {file}"))?;
        }
        Ok(transforms)
    }

    /// The generator for `topic`.
    pub(crate) fn generator(&self, topic: &str) -> Command {
        let mut command = Command::new(self.binary("generate"));
        command.args(["--brokers", self.kafka.brokers(), "--topic", topic]);
        command
    }
}

fn main() -> anyhow::Result<()> {
    let mut arguments = Arguments::parse();
    for path in [&mut arguments.kafka, &mut arguments.clickhouse, &mut arguments.transforms] {
        *path = path.canonicalize().with_context(|| format!("find {}", path.display()))?;
    }
    let bench = Bench::start(arguments)?;
    let mut figures: Vec<Figure> = Vec::new();
    type Measurement = fn(&Bench) -> anyhow::Result<Vec<Figure>>;
    let measurements: [(&str, Measurement); 12] = [
        ("decode", decode::measure),
        ("state", |bench| alone::measure(bench, "dabi-bench-state")),
        ("throughput-plain", |bench| throughput::measure(bench, &throughput::PLAIN)),
        ("throughput-schema", |bench| throughput::measure(bench, &throughput::SCHEMA)),
        ("throughput-headers", |bench| throughput::measure(bench, &throughput::HEADERS)),
        ("lookup-growth", throughput::measure_growth),
        ("lookup-throughput", |bench| throughput::measure(bench, &throughput::LOOKUP)),
        ("lookup-fan-out", fan_out::measure),
        ("history-scd2", |bench| throughput::measure(bench, &throughput::SCD2)),
        ("history-as-of", |bench| throughput::measure(bench, &throughput::AS_OF)),
        ("latency", latency::measure),
        ("reload", reload::measure),
    ];
    for (name, measure) in measurements {
        if bench.arguments.only.as_ref().is_some_and(|only| !name.contains(only)) {
            continue;
        }
        eprintln!("{name} …");
        figures.extend(measure(&bench).with_context(|| format!("measure {name}"))?);
    }
    ensure!(!figures.is_empty(), "--only names no measurement");
    results::save(&figures, &bench.arguments.out)?;
    results::print(&figures);
    let data = bench.data.clone();
    drop(bench);
    remove(&data)
}

/// Removes what a measurement left behind.
pub(crate) fn remove(folder: &Path) -> anyhow::Result<()> {
    std::fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))
}
