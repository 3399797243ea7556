//! `dabi dev`: one's own events through one's own transforms, on embedded parts.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::Args;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::observed::{self, Observed};
use super::run::stop_on_signal;
use super::terminal;
use super::world::World;
use crate::broker::EmbeddedBroker;
use crate::capture::{self, Pace, Played};
use crate::config::{self, Settings};
use crate::pipeline::{Pipeline, STOPPED, Status};
use crate::telemetry::Metrics;

/// Where the embedded parts live; made anew at each start.
const WORLD: &str = ".dabi/dev";
/// Not that of production, whose offsets it would move.
const GROUP: &str = "dabi-dev";

/// Follow your own Kafka, or a capture of it, and edit transforms while it runs
///
/// Lake and ClickHouse are embedded and made anew at each start, whatever
/// dabi.toml says of those of production.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dabi dev --brokers kafka:9092 --topic '^cdc\\.shop\\.'
  dabi dev --capture captures/shop
  dabi dev                              the Kafka of dabi.toml")]
pub(super) struct DevCommand {
    /// host:port, several separated by commas
    #[arg(long, value_name = "HOST:PORT", conflicts_with = "capture")]
    brokers: Option<String>,
    /// A topic, or a regular expression that starts with ^
    #[arg(long = "topic", value_name = "NAME|^REGEX", conflicts_with = "capture")]
    topics: Vec<String>,
    /// A folder of recorded topics (dabi capture record), played into an
    /// embedded Kafka
    #[arg(long, value_name = "DIR")]
    capture: Option<PathBuf>,
    /// The folder of transforms [default: transforms.dir]
    #[arg(long, value_name = "DIR")]
    transforms: Option<PathBuf>,
    /// End with exit code 0 once everything is read and both sinks have it
    #[arg(long)]
    until_caught_up: bool,
}

pub(super) async fn run(command: DevCommand, config: Option<&Path>) -> anyhow::Result<()> {
    if let Some(capture) = &command.capture {
        ensure!(capture.is_dir(), "there is no capture at {}", capture.display());
    }
    let stop = stop_on_signal()?;
    let world = World::create(Path::new(WORLD)).await?;
    let followed = follow(&command, config, &world, stop).await;
    world.close().await;
    followed
}

async fn follow(
    command: &DevCommand,
    config: Option<&Path>,
    world: &World,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let broker = command.capture.as_ref().map(|_| EmbeddedBroker::start()).transpose()?;
    let settings = settings(command, config, world, broker.as_ref())?;
    let listener = observed::listen_nearby(&settings).await?;
    introduce(&settings, world, listener.local_addr().context("ask for the port")?);

    let (metrics, status, finish) = (Metrics::new(), Status::default(), CancellationToken::new());
    let playing = match &command.capture {
        Some(dir) => Some(play(dir, &settings, status.clone()).await?),
        None => None,
    };
    let pipeline = Pipeline::new(settings.clone(), metrics.clone(), status.clone(), finish.clone(), stop);
    let mut observed = Observed::start(&pipeline, &settings, metrics, status, listener);
    let view = tokio::spawn(terminal::follow(observed.overview()));
    let fed = async {
        let played = match playing {
            Some(playing) => Some(playing.await.context("the player")??),
            None => None,
        };
        if let Some(Played { records, topics, .. }) = played {
            tracing::info!("played {records} records of {topics} topics");
        }
        if command.until_caught_up {
            finish.cancel();
        }
        anyhow::Ok(())
    };
    let (ran, fed) = tokio::join!(observed.run(pipeline), fed);
    let last = observed.close().await;
    view.await.context("the terminal")?;
    // The pipeline's error explains the player's.
    ran?;
    for line in terminal::lines(&last) {
        eprintln!("{line}");
    }
    fed
}

/// What the command names, over dabi.toml and the environment; lake and
/// warehouse are embedded, so that nothing of production is written to.
fn settings(
    command: &DevCommand,
    config: Option<&Path>,
    world: &World,
    broker: Option<&EmbeddedBroker>,
) -> anyhow::Result<Settings> {
    let mut variables = vec![("DABI_PIPELINE", "dev".to_owned()), ("DABI_KAFKA_GROUP", GROUP.to_owned())];
    variables.extend(world.variables());
    let brokers = broker.map(|broker| broker.address().to_owned()).or_else(|| command.brokers.clone());
    variables.extend(brokers.map(|brokers| ("DABI_KAFKA_BROKERS", brokers)));
    if broker.is_some() {
        variables.push(("DABI_KAFKA_TOPICS", r#"["^.*"]"#.to_owned()));
    } else if !command.topics.is_empty() {
        variables.push(("DABI_KAFKA_TOPICS", format!("{:?}", command.topics)));
    }
    if let Some(dir) = &command.transforms {
        variables.push(("DABI_TRANSFORMS_DIR", dir.display().to_string()));
    }
    let instead = variables.into_iter().map(|(name, value)| (name.to_owned(), value));
    let mut settings =
        config::load_replacing(config, std::env::vars(), &["lake", "warehouse", "state"], instead)?;
    if broker.is_some() {
        settings.kafka = settings.kafka.for_embedded_broker();
    }
    Ok(settings)
}

fn introduce(settings: &Settings, world: &World, page: SocketAddr) {
    let query = format!("SHOW TABLES FROM {}", settings.warehouse.database);
    terminal::introduce(&[
        ("Open", format!("http://{page}")),
        ("Edit", format!("{}, and save: later events go through it", settings.transforms.dir.display())),
        ("Ask", world.curl(&query)),
        ("Lake", settings.lake.url.clone()),
        ("End", "Ctrl-C".to_owned()),
    ]);
}

/// Starts to play the capture behind the pipeline, and returns once the topics
/// are there, which the pipeline's start needs.
async fn play(
    dir: &Path,
    settings: &Settings,
    status: Status,
) -> anyhow::Result<tokio::task::JoinHandle<anyhow::Result<Played>>> {
    let (topics_exist, first_progress) = oneshot::channel();
    let (dir, client) = (dir.to_owned(), settings.kafka.client_config()?);
    let player = tokio::task::spawn_blocking(move || {
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
        capture::play(&dir, &client, &Pace::Reader(&reader), &mut progress)
    });
    // An error ends the channel too; the player's own answer tells it later.
    let _ = first_progress.await;
    Ok(player)
}
