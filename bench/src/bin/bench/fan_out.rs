//! A changed dimension with a million dependents: how long until the star has
//! all of them, in how much memory, and what other events wait meanwhile.
//!
//! Invariant: it is over when no row of the star's view has the old value, which
//! is counted.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use dabi_bench::Shard;

use crate::Bench;
use crate::clickhouse::{ClickHouse, Client};
use crate::pipeline::{DATABASE, Pipeline, Setup};
use crate::process::Process;
use crate::results::{Figure, Target};
use crate::throughput::{Dimension, rows_more};

const NAME: &str = "fan_out";
/// So many that about a million orders have a first line.
const EVENTS: u64 = 5_500_000;
/// Other events a second, while the dependents are evaluated.
const RATE: u32 = 1_000;
const LOAD_SECONDS: u32 = 60;
const LATENCY_P99_MS_MAX: f64 = 1_000.0;
const LIMIT: Duration = Duration::from_secs(600);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A line has one of so many places in its order.
const POSITIONS: Dimension = Dimension { table: "positions", key: "line_no", rows: 6, labels: &["first"] };
/// The first place, which every order has.
const FIRST: Dimension = Dimension { rows: 1, labels: &["second"], ..POSITIONS };

/// Loads the state, changes the row, and watches.
pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let (folder, events, seed) = (bench.data.join(NAME), bench.events(EVENTS), 1);
    let topic = format!("{NAME}.shop.order_items");
    let mut generator = bench.generator(&topic);
    generator.args(["--events", &events.to_string(), "--seed", &seed.to_string()]);
    Process::start("generate", generator, &bench.data)?.wait()?;
    POSITIONS.write(bench, NAME)?;
    let dependents = dependents(seed, events);

    let clickhouse =
        ClickHouse::start(&bench.binary("dabi-clickhouse"), &bench.arguments.clickhouse, &folder)?;
    let (dabi, transforms) = (bench.binary("dabi"), bench.modules(&["order_positions"], &folder)?);
    let setup = Setup {
        dabi: &dabi,
        transforms: &transforms,
        brokers: bench.kafka.brokers(),
        topics: &format!("^{NAME}[.]shop[.]"),
        folder: &folder,
    };
    let pipeline = Pipeline::start(&setup, &clickhouse, &[])?;
    wait(clickhouse.client(), dependents)?;
    let loaded = pipeline.usage()?;

    let mut load = bench.generator(&topic);
    // Another seed: rows that exist change, and a few go.
    load.args(["--seed", "2", "--rate", &RATE.to_string(), "--for", &LOAD_SECONDS.to_string()]);
    let load = Process::start("generate", load, &folder)?;
    std::thread::sleep(Duration::from_secs(3));
    let before = pipeline.metrics()?;
    let changed = Instant::now();
    FIRST.write(bench, NAME)?;
    let took = wait(clickhouse.client(), 0)?.duration_since(changed);
    let metrics = pipeline.metrics()?.since(&before);
    let after = pipeline.usage()?;
    drop(load);
    pipeline.stop()?;
    drop(clickhouse);
    crate::remove(&folder)?;

    let latency = metrics.quantile("dabi_latency_seconds", 0.99).context("dabi reported no latency")?;
    #[expect(clippy::cast_precision_loss, reason = "some millions, and bytes of one machine")]
    let (count, mb) = (dependents as f64, |bytes: u64| bytes as f64 / 1e6);
    let conditions = format!(
        "one row of a dimension changes that {dependents} rows of the star look up, {events} events before and \
         {RATE} events/s meanwhile; {}",
        bench.machine
    );
    let figure =
        |name: &str, value: f64, unit| Figure::new(format!("fan_out.{name}"), value, unit, &conditions);
    Ok(vec![
        figure("seconds", took.as_secs_f64(), "s"),
        figure("rows_per_s", count / took.as_secs_f64(), "rows/s"),
        figure("latency_p99", latency.value * 1e3, "ms").should(Target::AtMost(LATENCY_P99_MS_MAX)),
        figure("rss_before", mb(loaded.rss_bytes_max), "MB"),
        figure("rss_max", mb(after.rss_bytes_max), "MB"),
    ])
}

/// First lines that are left of the first `events` changes.
fn dependents(seed: u64, events: u64) -> i64 {
    let all = Shard::split(seed, events).into_iter().flatten();
    all.filter(|event| event.key.line_no == 1).map(|event| rows_more(event.op)).sum()
}

/// When exactly `rows` rows have the old name of the first place.
fn wait(client: &Client, rows: i64) -> anyhow::Result<Instant> {
    let sql = format!("SELECT count() FROM {DATABASE}.f_order_positions WHERE position = 'first 1'");
    let since = Instant::now();
    loop {
        // The table is made by dabi.
        let found = client.number(&sql).unwrap_or(-1);
        if found == rows {
            return Ok(Instant::now());
        }
        ensure!(since.elapsed() < LIMIT, "{found} instead of {rows} rows have the old name after {LIMIT:?}");
        std::thread::sleep(LOOK_EVERY);
    }
}
