//! The live loop under load: from a module on disk to the first events that go
//! through it, and from a saved source to a row that a reader sees.
//!
//! Invariant: a figure is never better than what was seen from outside; if a
//! row of the star is not what the events say, there is no figure.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use dabi_bench::{Key, Op, OrderItem, PARTITIONS, Shard};

use crate::Bench;
use crate::clickhouse::{ClickHouse, Client};
use crate::latency::{now_us, quantile};
use crate::pipeline::{DATABASE, Pipeline, Setup, TransformReport};
use crate::process::Process;
use crate::results::{Figure, Target, median};

/// Events a second.
const RATE: u32 = 20_000;
const SEED: u64 = 1;
const RELOADS: u32 = 100;
const RELOADS_QUICK: u32 = 10;
const RELOAD_EVERY: Duration = Duration::from_millis(500);
const SAVES: u32 = 5;
/// Of one reload or save, builds included.
const LIMIT: Duration = Duration::from_secs(120);
/// Before the first reload and after the last, the load runs for so long.
const AROUND_SECONDS: u32 = 3;
const P50_MS_MAX: f64 = 100.0;
/// From the end of a build until a reader sees what it made.
const BUILT_TO_VISIBLE_MS_MAX: f64 = 1_000.0;
/// Time between an answer and the next question.
const LOOK_EVERY: Duration = Duration::from_millis(3);
const ENTRY: &str = "order_items.wasm";
const PROJECT: &str = "order_items";

/// Measures both.
pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut figures = reloads(bench)?;
    figures.extend(saves(bench)?);
    Ok(figures)
}

/// A folder of transforms, and dabi with its neighbours around it.
struct World {
    folder: PathBuf,
    transforms: PathBuf,
    clickhouse: ClickHouse,
    pipeline: Pipeline,
    topic: String,
}

impl World {
    fn start(
        bench: &Bench,
        name: &str,
        fill: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<Self> {
        let (folder, topic) = (bench.data.join(name), format!("{name}.shop.order_items"));
        let transforms = folder.join("transforms");
        std::fs::create_dir_all(&transforms)?;
        fill(&transforms)?;
        let mut create = bench.generator(&topic);
        create.args(["--events", "0"]);
        Process::start("topic", create, &folder)?.wait()?;
        let library = &bench.arguments.clickhouse;
        let clickhouse = ClickHouse::start(&bench.binary("dabi-clickhouse"), library, &folder)?;
        let dabi = bench.binary("dabi");
        let (brokers, topic_name) = (bench.kafka.brokers(), topic.as_str());
        let setup =
            Setup { dabi: &dabi, transforms: &transforms, brokers, topics: topic_name, folder: &folder };
        let pipeline = Pipeline::start(&setup, &clickhouse, &[])?;
        Ok(Self { folder, transforms, clickhouse, pipeline, topic })
    }

    fn load(&self, bench: &Bench, seconds: u32) -> anyhow::Result<Process> {
        let mut generator = bench.generator(&self.topic);
        generator.args(["--seed", &SEED.to_string()]);
        generator.args(["--rate", &RATE.to_string(), "--for", &seconds.to_string()]);
        Process::start("generate", generator, &self.folder)
    }

    /// Asks again and again until `is_so`; gives how long that took.
    fn until(
        &self,
        entry: &str,
        since: Instant,
        is_so: impl Fn(&TransformReport) -> bool,
    ) -> anyhow::Result<Duration> {
        loop {
            if self.pipeline.transform(entry)?.as_ref().is_some_and(&is_so) {
                return Ok(since.elapsed());
            }
            ensure!(since.elapsed() < LIMIT, "{entry} is not taken up within {LIMIT:?}");
            sleep(LOOK_EVERY);
        }
    }

    /// Fails unless the star is what the first `events` changes make.
    fn check(&self, events: u64) -> anyhow::Result<()> {
        let (expected, since) = (Sums::of(events), Instant::now());
        loop {
            let found = Sums::in_star(self.clickhouse.client())?;
            if found == expected {
                return Ok(());
            }
            ensure!(
                since.elapsed() < LIMIT,
                "the star has {found:?} instead of {expected:?}: events were lost or doubled"
            );
            sleep(Duration::from_millis(100));
        }
    }

    fn end(self) -> anyhow::Result<()> {
        self.pipeline.stop()?;
        drop(self.clickhouse);
        crate::remove(&self.folder)
    }
}

/// What tells a star from another in three numbers.
#[derive(Debug, PartialEq, Eq)]
struct Sums {
    rows: i64,
    orders: i64,
    quantity: i64,
}

impl Sums {
    fn of(events: u64) -> Self {
        let mut rows: HashMap<Key, u32> = HashMap::new();
        // They take turns: partition 0 has the first change.
        let turns =
            |partition: u8| (events + 2 - u64::from(partition)) / u64::from(PARTITIONS.unsigned_abs());
        let of = |partition| Shard::new(SEED, partition, 0).zip(0..turns(partition));
        for (change, _) in (0..u8::try_from(PARTITIONS).unwrap_or(u8::MAX)).flat_map(of) {
            match change.op {
                Op::Delete => rows.remove(&change.key),
                Op::Read | Op::Create | Op::Update => rows.insert(change.key, change.updates),
            };
        }
        let quantity =
            rows.iter().map(|(key, updates)| i64::from(OrderItem::new(SEED, *key, *updates, 0).quantity()));
        Self {
            rows: i64::try_from(rows.len()).unwrap_or(i64::MAX),
            orders: rows.keys().map(|key| i64::from(key.order_id)).sum(),
            quantity: quantity.sum(),
        }
    }

    fn in_star(client: &Client) -> anyhow::Result<Self> {
        let number = |what: &str| client.number(&format!("SELECT {what} FROM {DATABASE}.f_order_items"));
        Ok(Self {
            rows: number("count()")?,
            orders: number("sum(order_id)")?,
            quantity: number("sum(quantity)")?,
        })
    }
}

/// The same module with another hash, again and again, under full load.
fn reloads(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let reloads = if bench.arguments.quick { RELOADS_QUICK } else { RELOADS };
    let module = std::fs::read(bench.arguments.transforms.join(ENTRY)).context("read the bench's module")?;
    let world = World::start(bench, "reload", |folder| put(&folder.join(ENTRY), &module))?;
    // A reload may take longer than its turn; then the load ends before the
    // last one, and its first events never come: LIMIT tells.
    let seconds = 2 * AROUND_SECONDS + reloads * 3 / 4;
    let load = world.load(bench, seconds)?;
    sleep(Duration::from_secs(AROUND_SECONDS.into()));
    let mut seen_ms = Vec::new();
    for number in 1..=reloads {
        let turn = Instant::now();
        let other = variant(&module, number);
        let dropped = Instant::now();
        put(&world.transforms.join(ENTRY), &other)?;
        let took = world.until(ENTRY, dropped, |report| {
            report.reloads == u64::from(number) && report.first_batch_ms.is_some()
        })?;
        seen_ms.push(took.as_secs_f64() * 1e3);
        sleep(RELOAD_EVERY.saturating_sub(turn.elapsed()));
    }
    load.wait()?;
    world.check(u64::from(RATE * seconds))?;
    world.end()?;
    seen_ms.sort_by(f64::total_cmp);
    let conditions = format!(
        "a .wasm renamed into place → its first events evaluated, as /readyz tells who asks every 3 ms; {reloads} \
         reloads of modules never seen before under {RATE} events/s, and the star is what the events say; {}",
        bench.machine
    );
    Ok(vec![
        Figure::new("reload.wasm_p50", quantile(&seen_ms, 0.5), "ms", &conditions)
            .should(Target::AtMost(P50_MS_MAX)),
        Figure::new("reload.wasm_p99", quantile(&seen_ms, 0.99), "ms", &conditions),
    ])
}

/// A saved source, until a reader sees a row that only it can have made.
fn saves(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    const ORIGINAL: &str = "item.placed_at.date().key()";
    let source = include_str!("../../../transforms/order_items/src/lib.rs");
    ensure!(source.contains(ORIGINAL), "the bench's transform no longer has {ORIGINAL}");
    let world = World::start(bench, "saves", |folder| project(&folder.join(PROJECT), source))?;
    let (mut seen_s, mut since_built_ms) = (Vec::new(), Vec::new());
    for number in 1..=SAVES {
        let load = world.load(bench, 30)?;
        sleep(Duration::from_secs(AROUND_SECONDS.into()));
        let saved = Instant::now();
        let changed = source.replace(ORIGINAL, &format!("Some({number})"));
        put(&world.transforms.join(PROJECT).join("src/lib.rs"), changed.as_bytes())?;
        let sql = format!("SELECT count() FROM {DATABASE}.f_order_items WHERE date_key = {number}");
        while world.clickhouse.client().number(&sql)? == 0 {
            ensure!(saved.elapsed() < LIMIT, "a saved source is not visible within {LIMIT:?}");
            sleep(LOOK_EVERY);
        }
        seen_s.push(saved.elapsed().as_secs_f64());
        let seen_ms = now_us()? / 1000;
        let report = world.pipeline.transform(PROJECT)?.context("dabi knows the transform")?;
        let built = report.last_build.context("dabi has built it")?;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of one reload")]
        since_built_ms.push((seen_ms - i64::try_from(built.at_ms)?) as f64);
        drop(load);
    }
    world.end()?;
    let conditions = format!(
        "a saved Rust source → a row of it in the star's view, under {RATE} events/s; cargo shares the cores, behind \
         everything else; {}; median of {SAVES}",
        bench.machine
    );
    let since_built = "of these, from the end of the build, as /readyz tells it, to the row in the view";
    Ok(vec![
        Figure::new("reload.source_to_visible", median(seen_s), "s", &conditions),
        Figure::new(
            "reload.built_to_visible",
            median(since_built_ms),
            "ms",
            format!("{since_built}; {conditions}"),
        )
        .should(Target::AtMost(BUILT_TO_VISIBLE_MS_MAX)),
    ])
}

/// The bench's transform as a project of its own.
fn project(folder: &Path, source: &str) -> anyhow::Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    std::fs::create_dir_all(folder.join("src"))?;
    std::fs::create_dir_all(folder.join(".cargo"))?;
    // The dependencies are built there already.
    let config = format!("[build]\ntarget-dir = {:?}\n", workspace.join("target"));
    std::fs::write(folder.join(".cargo/config.toml"), config)?;
    let manifest = format!(
        "[package]\nname = \"saved_order_items\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
         [lib]\ncrate-type = [\"cdylib\"]\n\
         [dependencies]\ndabi-sdk = {{ path = {:?} }}\n[workspace]\n",
        workspace.join("guest-sdk/rust")
    );
    std::fs::write(folder.join("Cargo.toml"), manifest)?;
    std::fs::copy(workspace.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    put(&folder.join("src/lib.rs"), source.as_bytes())
}

/// Under another name first, as toolchains and editors do it.
fn put(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let part = path.with_file_name(".part");
    std::fs::write(&part, bytes).with_context(|| format!("write {}", part.display()))?;
    std::fs::rename(&part, path).with_context(|| format!("write {}", path.display()))
}

/// The same code, another file: a custom section of five bytes is appended.
fn variant(module: &[u8], number: u32) -> Vec<u8> {
    let mut bytes = module.to_vec();
    bytes.extend([0, 6, 1, b'n']);
    bytes.extend(number.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_are_those_of_the_rows_that_are_left() {
        let (none, some) = (Sums::of(0), Sums::of(3_000));
        assert_eq!(none, Sums { rows: 0, orders: 0, quantity: 0 });
        assert!(some.rows > 1_000 && some.orders > some.rows && some.quantity > some.rows, "{some:?}");
        assert_ne!(some, Sums::of(3_003));
    }
}
