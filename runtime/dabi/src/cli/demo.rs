//! `dabi demo`: the whole of dabi on embedded parts, over a shop that is open.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::Args;
use indicatif::HumanCount;
use rdkafka::ClientConfig;
use serde::Serialize;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::observed::{self, Observed};
use super::run::stop_on_signal;
use super::terminal;
use super::world::World;
use crate::broker::EmbeddedBroker;
use crate::config::{self, Settings};
use crate::demo::{Seller, Sold, TargetVerdict, judge};
use crate::overview::{Overview, Quantiles};
use crate::pipeline::{Pipeline, STOPPED, Status};
use crate::telemetry::Metrics;
use crate::warehouse::Warehouse;

/// Where a demo lives; made anew at each start.
const WORLD: &str = ".dabi/demo";
/// After the shop has closed, the star may take so long to have everything.
const DRAIN_WITHIN: Duration = Duration::from_secs(60);

/// A shop sells, and its star follows, all on embedded parts; edit a transform
/// and see new rows change
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dabi demo                             until Ctrl-C, at http://127.0.0.1:3001
  dabi demo --rate 20000                more of it (0: as fast as it goes)
  dabi demo --for 30s --json            then compare star and shop, value by value

Exit code 1 if they differ.")]
pub(super) struct DemoCommand {
    /// Change events per second; 0: as fast as they are read
    #[arg(long, value_name = "N", default_value_t = 1000)]
    rate: u32,
    /// End after this time (30s, 5m) instead of at Ctrl-C
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    duration: Option<Duration>,
    /// Print nothing on stdout but a summary as JSON
    #[arg(long)]
    json: bool,
    /// Another shop
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Send the schema in every record, as Debezium does by default
    #[arg(long)]
    schema: bool,
    /// The folder of transforms
    #[arg(long, value_name = "DIR", default_value = "transforms")]
    transforms: PathBuf,
}

/// `30s`, `5m`, `1h`, or seconds.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("" | "s") => 1,
        Some("m" | "min") => 60,
        Some("h") => 3600,
        _ => return Err("write 30s, 5m or 1h".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "write 30s, 5m or 1h".to_owned())?;
    Ok(Duration::from_secs(number.saturating_mul(unit)))
}

/// What came of a demo.
#[derive(Debug, Serialize)]
struct Summary {
    /// Change events that the shop made while open.
    events: u64,
    events_per_s: f64,
    /// From commit to visibility, since the opening.
    latency_ms: Option<Quantiles>,
    targets: BTreeMap<&'static str, TargetVerdict>,
    dead_letters: u64,
    reloads: u64,
    /// Is every value of the star what the shop says?
    equal: bool,
}

pub(super) async fn run(command: DemoCommand) -> anyhow::Result<()> {
    ensure!(
        command.transforms.is_dir(),
        "there is no folder {}; run this in dabi's folder, or name one with --transforms",
        command.transforms.display()
    );
    let stop = stop_on_signal()?;
    let world = World::create(Path::new(WORLD)).await?;
    let shown = play(&command, &world, stop).await;
    world.close().await;
    let summary = shown?;
    if command.json {
        println!("{}", serde_json::to_string(&summary).context("write the summary")?);
    } else {
        print(&summary);
    }
    ensure!(summary.equal, "the star differs from the shop");
    Ok(())
}

async fn play(command: &DemoCommand, world: &World, stop: CancellationToken) -> anyhow::Result<Summary> {
    let broker = EmbeddedBroker::start()?;
    let seller = Seller::new(command.seed, command.schema, command.rate);
    for (topic, partitions) in seller.topics() {
        broker.create_topic(topic, partitions)?;
    }
    let settings = settings(command, world, &broker)?;
    let listener = observed::listen_nearby(&settings).await?;
    introduce(command, world, listener.local_addr().context("ask for the port")?);

    let (metrics, status) = (Metrics::new(), Status::default());
    let (finish, abort) = (CancellationToken::new(), CancellationToken::new());
    let pipeline =
        Pipeline::new(settings.clone(), metrics.clone(), status.clone(), finish.clone(), abort.clone());
    let mut observed = Observed::start(&pipeline, &settings, metrics, status.clone(), listener);
    let view = tokio::spawn(terminal::follow(observed.overview()));

    let hours = Hours::default();
    let selling = sell(seller, &settings.kafka.client_config()?, status, hours.clone());
    let selling = async {
        let sold = close_in_time(selling, command.duration, &stop, &hours, &abort).await;
        finish.cancel();
        sold
    };
    let (ran, sold) = tokio::join!(observed.run(pipeline), selling);
    let overview = observed.close().await;
    view.await.context("the terminal")?;
    // The pipeline's error explains the shop's.
    ran?;
    let sold = sold?;
    let warehouse =
        Warehouse::connect(&settings.warehouse, Status::default(), &CancellationToken::new()).await?;
    Ok(summary(&sold, &overview, judge(&sold.shop, &warehouse).await))
}

/// When the shop is open.
#[derive(Clone, Default)]
struct Hours {
    opened: CancellationToken,
    closes: CancellationToken,
}

fn settings(command: &DemoCommand, world: &World, broker: &EmbeddedBroker) -> anyhow::Result<Settings> {
    let own = [
        ("DABI_PIPELINE", "shop".to_owned()),
        ("DABI_KAFKA_BROKERS", broker.address().to_owned()),
        ("DABI_KAFKA_TOPICS", r#"["^.*"]"#.to_owned()),
        ("DABI_TRANSFORMS_DIR", command.transforms.display().to_string()),
    ];
    let variables = own.into_iter().chain(world.variables());
    let settings = config::from_environment(variables.map(|(name, value)| (name.to_owned(), value)))?;
    Ok(Settings { kafka: settings.kafka.for_embedded_broker(), ..settings })
}

fn introduce(command: &DemoCommand, world: &World, page: SocketAddr) {
    const QUERY: &str = "SELECT day_part, count() FROM dabi.f_orders GROUP BY day_part FORMAT PrettyCompact";
    let source = command.transforms.join("f_orders/src/lib.rs");
    terminal::introduce(&[
        ("Open", format!("http://{page}")),
        ("Edit", format!("{}, and save: every order goes through it", source.display())),
        ("Ask", world.curl(QUERY)),
        ("End", "Ctrl-C: star and shop are compared, and nothing is left running".to_owned()),
    ]);
}

/// Opens the shop once events flow, and sells until it closes; nothing if it
/// closes before.
fn sell(
    seller: Seller,
    client: &ClientConfig,
    status: Status,
    hours: Hours,
) -> JoinHandle<anyhow::Result<Option<Sold>>> {
    const LOOK_EVERY: Duration = Duration::from_millis(20);
    let client = client.clone();
    tokio::task::spawn_blocking(move || {
        let position = || {
            let report = status.report();
            ensure!(report.phase != STOPPED, "the pipeline has ended");
            Ok(report.star_position)
        };
        // What is committed before would wait, and its latency be that of the start.
        while status.report().phase != "running" {
            if hours.closes.is_cancelled() || status.report().phase == STOPPED {
                return Ok(None);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        seller.run(&client, &position, || hours.opened.cancel(), &hours.closes).map(Some)
    })
}

/// Closes the shop `duration` after its opening or on `stop`, and gives the star
/// time to have everything; then breaks off through `abort`.
async fn close_in_time(
    mut selling: JoinHandle<anyhow::Result<Option<Sold>>>,
    duration: Option<Duration>,
    stop: &CancellationToken,
    hours: &Hours,
    abort: &CancellationToken,
) -> anyhow::Result<Sold> {
    let over = async {
        hours.opened.cancelled().await;
        match duration {
            Some(duration) => sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = &mut selling => ended,
        () = async { tokio::select! { () = over => {}, () = stop.cancelled() => {} } } => {
            hours.closes.cancel();
            let Ok(ended) = timeout(DRAIN_WITHIN, selling).await else {
                abort.cancel();
                bail!("{} s after the shop closed the star has not everything", DRAIN_WITHIN.as_secs());
            };
            ended
        }
    };
    let Some(sold) = ended.context("the shop")?? else {
        abort.cancel();
        bail!("ended before the shop opened");
    };
    Ok(sold)
}

fn summary(sold: &Sold, overview: &Overview, targets: BTreeMap<&'static str, TargetVerdict>) -> Summary {
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let events_per_s = sold.events as f64 / sold.open.as_secs_f64().max(f64::EPSILON);
    Summary {
        events: sold.events,
        events_per_s: (events_per_s * 10.0).round() / 10.0,
        latency_ms: overview.run.latency.commit_ms,
        dead_letters: overview.run.dead_letters + overview.run.unreadable,
        reloads: overview.run.reloads,
        equal: targets.values().all(|target| target.differences.is_empty()),
        targets,
    }
}

fn print(summary: &Summary) {
    let latency = summary.latency_ms.map_or_else(String::new, |Quantiles { p50, p99 }| {
        format!(", visible after {p50} ms (p99 {p99} ms)")
    });
    println!("{} events, {} a second{latency}", HumanCount(summary.events), summary.events_per_s);
    for (name, TargetVerdict { rows, expected, differences }) in &summary.targets {
        let rows = HumanCount(u64::try_from(*rows).unwrap_or(u64::MAX));
        let verdict = if differences.is_empty() { "equal to the shop" } else { "differs from the shop" };
        println!("  {name:<16} {rows:>9} rows of {expected}, {verdict}");
        for difference in differences {
            println!("    {difference}");
        }
    }
    if !summary.equal && summary.reloads > 0 {
        println!("An edited transform makes other rows than the shop expects; the next start begins anew.");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        let seconds = |text| time(text).map(|time| time.as_secs());
        assert_eq!(["10", "30s", "5m", "1h"].map(seconds), [Ok(10), Ok(30), Ok(300), Ok(3600)]);
        assert!(["", "s", "1d", "-1s", "1.5s"].into_iter().all(|text| seconds(text).is_err()));
    }
}
