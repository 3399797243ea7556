//! How fast a backlog is worked off, at what cost, in how much memory; and what
//! the incumbent's way costs on the same topic in the same round.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use dabi_bench::{Key, Op, OrderItem, Shard};

use crate::Bench;
use crate::clickhouse::ClickHouse;
use crate::incumbent::{self, Answer};
use crate::pipeline::{DATABASE, Pipeline, Run, Setup};
use crate::process::{Process, Usage};
use crate::results::{Figure, Target, median};

/// One kind of record.
pub(crate) struct Kind {
    name: &'static str,
    /// What makes the generator write it.
    generate: &'static [&'static str],
    described: &'static str,
    events: u64,
    star: Star,
    /// What the transforms look up or refer to, if anything.
    dimension: Option<Dimension>,
    asked: Option<Asked>,
}

/// What is made of the records.
struct Star {
    transforms: &'static [&'static str],
    /// The rows to be found in the end, as a FROM clause names them.
    rows: &'static str,
    /// How many there must be.
    count: fn(seed: u64, events: u64) -> i64,
}

/// What is asked of dabi on it, partly against the incumbent's way.
struct Asked {
    events_per_s: f64,
    cpu_us: f64,
    incumbents: Option<IncumbentsAsked>,
}

/// What is asked against the incumbent's way.
struct IncumbentsAsked {
    times_json: f64,
    times_orjson: f64,
    /// The incumbents need not read all of it: their cost per event is the same.
    events: u64,
}

/// A table beside the events'.
pub(crate) struct Dimension {
    pub(crate) table: &'static str,
    pub(crate) key: &'static str,
    pub(crate) rows: u32,
    /// What the names of its rows begin with, one version after the other.
    pub(crate) labels: &'static [&'static str],
}

impl Dimension {
    /// Writes its rows, once for each label.
    pub(crate) fn write(&self, bench: &Bench, prefix: &str) -> anyhow::Result<()> {
        for label in self.labels {
            let mut generator = bench.generator(&format!("{prefix}.shop.{}", self.table));
            generator.args(["--dimension", self.key, "--rows", &self.rows.to_string(), "--label", label]);
            Process::start("generate", generator, &bench.data)?.wait()?;
        }
        Ok(())
    }
}

const STATELESS: Star = Star { transforms: &["order_items"], rows: "f_order_items", count: living_rows };

/// Schemas off.
pub(crate) const PLAIN: Kind = Kind {
    name: "plain",
    generate: &[],
    described: "without schema",
    events: 5_000_000,
    star: STATELESS,
    dimension: None,
    asked: Some(Asked {
        events_per_s: 200_000.0,
        cpu_us: 3.3,
        incumbents: Some(IncumbentsAsked { times_json: 3.0, times_orjson: 2.0, events: 1_000_000 }),
    }),
};

/// With the schema in every record.
pub(crate) const SCHEMA: Kind = Kind {
    name: "schema",
    generate: &["--schema"],
    described: "with schema",
    events: 1_500_000,
    star: STATELESS,
    dimension: None,
    asked: Some(Asked {
        events_per_s: 120_000.0,
        cpu_us: 5.2,
        incumbents: Some(IncumbentsAsked { times_json: 6.0, times_orjson: 3.5, events: 400_000 }),
    }),
};

/// Schemas off, with the headers that Debezium 3 adds by default: what they cost.
pub(crate) const HEADERS: Kind = Kind {
    name: "headers",
    generate: &["--headers"],
    described: "without schema, with Debezium's four context headers",
    events: 1_500_000,
    star: STATELESS,
    dimension: None,
    asked: None,
};

const LINES: Star = Star { transforms: &["order_lines"], rows: "f_order_lines", count: living_rows };
const PRODUCTS: Dimension =
    Dimension { table: "products", key: "product_id", rows: 50_000, labels: &["first"] };

/// Through one lookup, the state durable.
pub(crate) const LOOKUP: Kind = Kind {
    name: "lookup",
    generate: &[],
    described: "without schema through a lookup of 50,000 products",
    events: 5_000_000,
    star: LINES,
    dimension: Some(PRODUCTS),
    asked: Some(Asked { events_per_s: 120_000.0, cpu_us: 10.0, incumbents: None }),
};

/// The same over a hundred thousand rows of state, and over ten million.
const LOOKUP_SMALL: Kind = Kind { name: "lookup_small", events: 150_000, asked: None, ..LOOKUP };
const LOOKUP_LARGE: Kind = Kind { name: "lookup_large", events: 15_000_000, asked: None, ..LOOKUP };
/// An event may cost twice as much where the state is a hundred times as large.
const GROWTH_RATIO_MIN: f64 = 0.5;
/// So long a topic is worked off once.
const EVENTS_ONCE: u64 = 10_000_000;

/// Every version of every order line, in a star that keeps history.
pub(crate) const SCD2: Kind = Kind {
    name: "scd2",
    generate: &[],
    described: "without schema into an scd2 target",
    events: 2_000_000,
    star: Star { transforms: &["order_item_versions"], rows: "dim_order_items", count: versions },
    dimension: None,
    asked: None,
};

/// A fact that refers to the version of a product, of which there are two each.
pub(crate) const AS_OF: Kind = Kind {
    name: "as_of",
    generate: &[],
    described: "without schema with an as-of reference to 100,000 versions of 50,000 products",
    events: 2_000_000,
    star: Star {
        transforms: &["product_versions", "order_products"],
        rows: "f_order_products WHERE product_key IS NOT NULL",
        count: living_rows,
    },
    dimension: Some(Dimension { labels: &["first", "second"], ..PRODUCTS }),
    asked: None,
};

/// What the size of the state costs.
pub(crate) fn measure_growth(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let mut figures = measure(bench, &LOOKUP_SMALL)?;
    let large = measure(bench, &LOOKUP_LARGE)?;
    let cpu = |figures: &[Figure]| {
        figures.iter().find(|figure| figure.name.ends_with(".cpu")).map_or(f64::NAN, |figure| figure.value)
    };
    let growth =
        Figure::new("lookup.growth", cpu(&large), "µs/event", "lookup_large.cpu against lookup_small.cpu");
    let growth = growth.against(cpu(&figures)).should(Target::AtLeast(GROWTH_RATIO_MIN));
    figures.extend(large);
    figures.push(growth);
    Ok(figures)
}

const RSS_MB_MAX: f64 = 400.0;
/// The backlog that the bound on memory speaks of.
const RSS_BACKLOG: u64 = 5_000_000;

/// One round on one topic.
struct Round {
    dabi: Run,
    clickhouse_cpu: Duration,
    kafka_cpu: Duration,
    incumbents: Option<Incumbents>,
}

struct Incumbents {
    json: Answer,
    orjson: Answer,
}

/// Fills a topic, then works it off again and again.
pub(crate) fn measure(bench: &Bench, kind: &Kind) -> anyhow::Result<Vec<Figure>> {
    let topic = format!("{}.shop.order_items", kind.name);
    let (events, seed) = (bench.events(kind.events), 1);
    let mut generator = bench.generator(&topic);
    generator.args(["--events", &events.to_string(), "--seed", &seed.to_string()]).args(kind.generate);
    Process::start("generate", generator, &bench.data)?.wait()?;

    if let Some(dimension) = &kind.dimension {
        dimension.write(bench, kind.name)?;
    }
    let rows = (kind.star.count)(seed, events);
    let mut rounds = Vec::new();
    for number in 1..=if kind.events > EVENTS_ONCE { 1 } else { bench.rounds() } {
        let folder = bench.data.join(format!("{}-{number}", kind.name));
        rounds.push(round(bench, kind, &topic, rows, &folder)?);
        crate::remove(&folder)?;
    }
    Ok(figures(bench, kind, events, &rounds))
}

/// How many rows the source table has in the end.
fn living_rows(seed: u64, events: u64) -> i64 {
    Shard::split(seed, events).into_iter().flatten().map(|change| rows_more(change.op)).sum()
}

/// How many versions its rows had, where a change of the quantity begins one.
fn versions(seed: u64, events: u64) -> i64 {
    let mut quantities: HashMap<Key, u32> = HashMap::new();
    let mut versions = 0;
    for change in Shard::split(seed, events).into_iter().flatten() {
        if change.op == Op::Delete {
            continue;
        }
        let quantity = OrderItem::new(seed, change.key, change.updates, 0).quantity();
        versions += i64::from(quantities.insert(change.key, quantity) != Some(quantity));
    }
    versions
}

/// How many rows more there are after an event.
pub(crate) fn rows_more(op: Op) -> i64 {
    match op {
        Op::Read | Op::Create => 1,
        Op::Update => 0,
        Op::Delete => -1,
    }
}

fn round(bench: &Bench, kind: &Kind, topic: &str, rows: i64, folder: &Path) -> anyhow::Result<Round> {
    let arguments = &bench.arguments;
    let clickhouse = ClickHouse::start(&bench.binary("dabi-clickhouse"), &arguments.clickhouse, folder)?;
    let dabi = bench.binary("dabi");
    let setup = Setup {
        dabi: &dabi,
        transforms: &bench.modules(kind.star.transforms, folder)?,
        brokers: bench.kafka.brokers(),
        topics: &format!("^{}[.]shop[.]", kind.name),
        folder,
    };
    let pipeline = Pipeline::start(&setup, &clickhouse, &["--until-caught-up"])?;
    let before: [Usage; 2] = [clickhouse.usage()?, bench.kafka.usage()?];
    let dabi = pipeline.finish(&setup.lake())?;
    let after = [clickhouse.usage()?, bench.kafka.usage()?];
    let found = clickhouse.client().number(&format!("SELECT count() FROM {DATABASE}.{}", kind.star.rows))?;
    ensure!(
        found == rows,
        "the star has {found} rows instead of {rows}: the figures would be of something wrong"
    );
    drop(clickhouse);
    eprintln!("  {}: {:?} wall, {:?} CPU", kind.name, dabi.wall, dabi.cpu);

    let asked = kind.asked.as_ref().and_then(|asked| asked.incumbents.as_ref());
    let incumbents = asked.map(|asked| incumbents(bench, asked, topic, folder)).transpose()?;
    Ok(Round {
        dabi,
        clickhouse_cpu: after[0].cpu - before[0].cpu,
        kafka_cpu: after[1].cpu - before[1].cpu,
        incumbents,
    })
}

fn incumbents(
    bench: &Bench,
    asked: &IncumbentsAsked,
    topic: &str,
    folder: &Path,
) -> anyhow::Result<Incumbents> {
    let run = |parser: &str| {
        let (python, script) = (&bench.arguments.python, Path::new("bench/incumbent.py"));
        let events = bench.events(asked.events);
        incumbent::run(python, script, bench.kafka.brokers(), topic, parser, events, &folder.join(parser))
    };
    Ok(Incumbents { json: run("json")?, orjson: run("orjson")? })
}

fn figures(bench: &Bench, kind: &Kind, events: u64, rounds: &[Round]) -> Vec<Figure> {
    #[expect(clippy::cast_precision_loss, reason = "some millions")]
    let count = events as f64;
    let per_event = |duration: Duration| duration.as_secs_f64() * 1e6 / count;
    let middle = |value: &dyn Fn(&Round) -> f64| median(rounds.iter().map(value));
    let conditions = format!(
        "{events} events {}, 3 partitions, lz4; lake on local disk, transforms: {}; {}; median of {}",
        kind.described,
        kind.star.transforms.join(", "),
        bench.machine,
        rounds.len()
    );
    let figure =
        |name: &str, value: f64, unit| Figure::new(format!("{}.{name}", kind.name), value, unit, &conditions);

    let mut events_per_s =
        figure("events_per_s", middle(&|round| count / round.dabi.wall.as_secs_f64()), "events/s");
    let mut cpu = figure("cpu", middle(&|round| per_event(round.dabi.cpu)), "µs/event");
    let mut compared = Vec::new();
    if let Some(asked) = kind.asked.as_ref().and_then(|asked| asked.incumbents.as_ref()) {
        for (parser, times, answer) in [
            ("json", asked.times_json, (|ours| &ours.json) as fn(&Incumbents) -> &Answer),
            ("orjson", asked.times_orjson, |ours| &ours.orjson),
        ] {
            let of = |value: fn(&Answer) -> f64| {
                median(rounds.iter().filter_map(|round| Some(value(answer(round.incumbents.as_ref()?)))))
            };
            let cost = figure(&format!("cpu_to_python_{parser}"), cpu.value, "µs/event");
            compared.push(cost.against(of(|answer| answer.cpu_us_per_event)).should(Target::AtLeast(times)));
            let pace = figure(&format!("events_per_s_to_python_{parser}"), events_per_s.value, "events/s");
            compared.push(pace.over(of(|answer| answer.events_per_s)));
        }
    }
    if let Some(asked) = &kind.asked {
        events_per_s = events_per_s.should(Target::AtLeast(asked.events_per_s));
        cpu = cpu.should(Target::AtMost(asked.cpu_us));
    }
    let mut figures = vec![events_per_s, cpu];
    let stages: Vec<(String, f64)> = rounds.iter().flat_map(|round| stages(&round.dabi)).collect();
    for stage in stages.iter().map(|(stage, _)| stage).collect::<BTreeSet<_>>() {
        let of_stage = stages.iter().filter(|(other, _)| other == stage).map(|(_, us)| *us);
        figures.push(figure(&format!("cpu.{stage}"), median(of_stage), "µs/event"));
    }
    figures.extend(compared);
    figures.extend([
        figure("cpu.clickhouse_process", middle(&|round| per_event(round.clickhouse_cpu)), "µs/event"),
        figure("cpu.kafka_process", middle(&|round| per_event(round.kafka_cpu)), "µs/event"),
        figure("start", middle(&|round| round.dabi.start.as_secs_f64()), "s"),
        figure("lake", middle(&|round| bytes(round.dabi.lake_bytes) / count), "B/event"),
    ]);
    let rss_max = rounds.iter().map(|round| round.dabi.rss_bytes_max).max().unwrap_or(0);
    let rss = figure("rss_max", bytes(rss_max) / 1e6, "MB");
    figures.push(if events >= RSS_BACKLOG && kind.dimension.is_none() {
        rss.should(Target::AtMost(RSS_MB_MAX))
    } else {
        rss
    });
    figures
}

/// CPU µs per record of each stage, up to the last reading of the metrics.
fn stages(run: &Run) -> Vec<(String, f64)> {
    let records = run.metrics.total("dabi_records_total");
    let stages = run.metrics.by_label("dabi_stage_cpu_seconds_total");
    stages.iter().map(|(stage, seconds)| (stage.to_lowercase(), seconds * 1e6 / records)).collect()
}

fn bytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "bytes of one machine")]
    let bytes = bytes as f64;
    bytes
}
