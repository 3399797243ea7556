//! `dabi demo`: the whole of dabi on embedded parts, over a recorded shop.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use clap::Args;
use dabi_core::star::quote;
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::run::stop_on_signal;
use crate::broker::EmbeddedBroker;
use crate::capture::{self, Pace};
use crate::config::{self, Settings};
use crate::lake::Lake;
use crate::pipeline::{Pipeline, STOPPED, Status};
use crate::telemetry::Metrics;
use crate::warehouse::Warehouse;
use crate::warehouse::embedded::EmbeddedClickHouse;

/// Where a demo lives; made anew at each start.
const WORLD: &str = ".dabi/demo";
/// Files that are shown at the end.
const FILES_SHOWN: usize = 5;

/// Play a recorded shop through Kafka, lake, transforms and ClickHouse, all embedded
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dabi demo
  dabi demo --capture runtime/fixtures/debezium/schema")]
pub(super) struct DemoCommand {
    /// The recorded topics to play
    #[arg(long, value_name = "DIR", default_value = "runtime/fixtures/debezium/plain")]
    capture: PathBuf,
    /// Where the built transforms of that capture lie (make demo builds them)
    #[arg(long, value_name = "DIR", default_value = ".dabi/fixtures/transforms")]
    transforms: PathBuf,
}

pub(super) async fn run(command: DemoCommand) -> anyhow::Result<()> {
    ensure!(
        command.capture.is_dir(),
        "there is no capture at {}; run this in dabi's folder, or name one with --capture",
        command.capture.display()
    );
    let world = Path::new(WORLD);
    if world.exists() {
        std::fs::remove_dir_all(world).with_context(|| format!("clear the last demo's {WORLD}"))?;
    }
    std::fs::create_dir_all(world).with_context(|| format!("create {WORLD}"))?;
    let stop = stop_on_signal()?;
    let broker = EmbeddedBroker::start()?;
    println!("Kafka       {} (embedded)", broker.address());
    let engine = EmbeddedClickHouse::start(&world.join("clickhouse")).await?;
    println!("ClickHouse  {} (embedded)", engine.url());
    let settings = settings(&command, &broker, &engine, world)?;
    println!("lake        {}", settings.lake.url);
    println!("playing     {} …", command.capture.display());
    let replayed = replay(&command.capture, &settings, stop).await;
    let shown = match replayed {
        Ok(()) => show(&settings).await,
        Err(error) => Err(error),
    };
    engine.stop().await;
    shown
}

fn settings(
    command: &DemoCommand,
    broker: &EmbeddedBroker,
    engine: &EmbeddedClickHouse,
    world: &Path,
) -> anyhow::Result<Settings> {
    let environment = [
        ("DABI_KAFKA_BROKERS", broker.address().to_owned()),
        ("DABI_KAFKA_TOPICS", r#"["^.*"]"#.to_owned()),
        ("DABI_LAKE_URL", world.join("lake").display().to_string()),
        ("DABI_WAREHOUSE_URL", engine.url().to_owned()),
        ("DABI_WAREHOUSE_USER", engine.user().to_owned()),
        ("DABI_WAREHOUSE_PASSWORD", format!("{:?}", engine.password())),
        ("DABI_TRANSFORMS_DIR", command.transforms.display().to_string()),
    ];
    Ok(config::from_environment(environment.map(|(name, value)| (name.to_owned(), value)))?)
}

/// Plays the capture while the pipeline reads it, until both are done.
async fn replay(capture: &Path, settings: &Settings, stop: CancellationToken) -> anyhow::Result<()> {
    let (status, finish) = (Status::default(), CancellationToken::new());
    let (topics_exist, first_progress) = oneshot::channel();
    let player = tokio::task::spawn_blocking({
        let (capture, client, status) = (capture.to_owned(), settings.kafka.client_config()?, status.clone());
        move || {
            let reader = || {
                let report = status.report();
                ensure!(report.phase != STOPPED, "the pipeline has ended");
                Ok(report.star_position)
            };
            let mut topics_exist = Some(topics_exist);
            let mut progress = |_: capture::Progress<'_>| {
                if let Some(topics_exist) = topics_exist.take() {
                    let _ = topics_exist.send(());
                }
            };
            capture::play(&capture, &client, &Pace::Reader(&reader), &mut progress)
        }
    });
    // An error ends the channel too; the player's own answer tells it below.
    let _ = first_progress.await;
    let pipeline = Pipeline::new(settings.clone(), Metrics::new(), status, finish.clone(), stop);
    let played = async {
        let played = player.await.context("the player")?;
        finish.cancel();
        played
    };
    let (ran, played) = tokio::join!(pipeline.run(), played);
    // The pipeline's error explains the player's.
    ran?;
    let played = played?;
    println!("played      {} records of {} topics; both sinks have them all", played.records, played.topics);
    Ok(())
}

async fn show(settings: &Settings) -> anyhow::Result<()> {
    let lake = Lake::open(&settings.lake)?;
    let files = lake.files(None).await?;
    let (rows, bytes) =
        files.iter().fold((0, 0), |(rows, bytes), file| (rows + file.rows, bytes + file.bytes));
    println!("\nThe lake: {} files, {rows} change events, {bytes} bytes. Some of them:", files.len());
    for file in files.iter().take(FILES_SHOWN) {
        println!("  {}  {} rows", lake.url_of(&file.path), file.rows);
    }
    let never = CancellationToken::new();
    let warehouse = Warehouse::connect(&settings.warehouse, Status::default(), &never).await?;
    let views = format!(
        "SELECT name FROM system.tables WHERE database = '{}' AND engine = 'View' ORDER BY name",
        warehouse.database()
    );
    let views: Vec<Named> = warehouse.rows(&views, "list the star's tables", &never).await?;
    for Named { name } in views {
        let table = format!("{}.{}", quote(warehouse.database()), quote(&name));
        let count: Vec<Counted> =
            warehouse.rows(&format!("SELECT count() AS rows FROM {table}"), "count rows", &never).await?;
        println!("\nThe star: {name}, {} rows. One of them:", count.first().map_or(0, |count| count.rows));
        let one = format!("SELECT * FROM {table} LIMIT 1");
        println!("{}", warehouse.shown(&one, "show a row", &never).await?.trim_end());
    }
    println!("\nThe lake stays in {WORLD} until the next demo. Next: README.md, Your first transform.");
    Ok(())
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
struct Counted {
    rows: u64,
}
