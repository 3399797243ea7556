//! One run of `dabi run` over a topic, measured from the moment it is ready.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::clickhouse::{self, ClickHouse};
use crate::kafka::free_port;
use crate::metrics::Metrics;
use crate::process::{Process, Usage};

const READY_LIMIT: Duration = Duration::from_secs(120);
const RUN_LIMIT: Duration = Duration::from_secs(900);
const READY_EVERY: Duration = Duration::from_millis(5);
/// Metrics are read while it runs, and the process ends when it is done: what
/// comes after the last reading is not in the stages' figures.
const METRICS_EVERY: Duration = Duration::from_millis(200);
/// The database of the star.
pub(crate) const DATABASE: &str = "bench";

/// What a pipeline needs.
pub(crate) struct Setup<'a> {
    pub(crate) dabi: &'a Path,
    /// A folder with the module of the transform alone.
    pub(crate) transforms: &'a Path,
    pub(crate) brokers: &'a str,
    /// A topic's name, or ^ and a regular expression.
    pub(crate) topics: &'a str,
    /// An empty folder for settings, logs and the lake.
    pub(crate) folder: &'a Path,
}

/// A `dabi run` that is ready.
pub(crate) struct Pipeline {
    process: Process,
    agent: ureq::Agent,
    url: String,
    start: Duration,
    ready_at: Instant,
    at_ready: Usage,
}

/// What a run to the end of the topic took.
#[derive(Clone, Debug)]
pub(crate) struct Run {
    /// From the start of the process until it was ready.
    pub(crate) start: Duration,
    /// From then until both sinks were durable and the process ended.
    pub(crate) wall: Duration,
    /// CPU time of the process in that time.
    pub(crate) cpu: Duration,
    pub(crate) rss_bytes_max: u64,
    /// The last reading.
    pub(crate) metrics: Metrics,
    pub(crate) lake_bytes: u64,
}

#[derive(Deserialize)]
struct Readiness {
    phase: String,
    transforms: Vec<TransformReport>,
}

/// What dabi says of a transform.
#[derive(Deserialize)]
pub(crate) struct TransformReport {
    entry: String,
    pub(crate) reloads: u64,
    /// Only there once events have gone through the present module.
    pub(crate) first_batch_ms: Option<u64>,
    pub(crate) last_build: Option<BuildReport>,
}

/// What dabi says of a build.
#[derive(Deserialize)]
pub(crate) struct BuildReport {
    /// When it ended, ms since 1970.
    pub(crate) at_ms: u64,
}

impl Pipeline {
    /// Starts `dabi run` with `arguments` and waits until it is ready.
    pub(crate) fn start(
        setup: &Setup<'_>,
        clickhouse: &ClickHouse,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        std::fs::create_dir_all(setup.folder)?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let settings = settings(setup, clickhouse, &listen);
        std::fs::write(setup.folder.join("dabi.toml"), settings).context("write dabi.toml")?;
        let mut command = Command::new(setup.dabi);
        command.arg("run").args(arguments).current_dir(setup.folder);
        command.env("DABI_WAREHOUSE_PASSWORD", clickhouse::PASSWORD).env("DABI_LOG", "info");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let started_at = Instant::now();
        let mut process = Process::start("dabi", command, setup.folder)?;
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(2)))
            .http_status_as_error(false);
        let (agent, url) = (ureq::Agent::from(agent.build()), format!("http://{listen}"));
        while !is_running(&agent, &url) {
            process.ensure_running()?;
            ensure!(started_at.elapsed() < READY_LIMIT, "dabi is not ready within {READY_LIMIT:?}");
            std::thread::sleep(READY_EVERY);
        }
        let at_ready = process.usage()?;
        Ok(Self { process, agent, url, start: started_at.elapsed(), ready_at: Instant::now(), at_ready })
    }

    /// What dabi says of the transform that came from `entry`.
    pub(crate) fn transform(&self, entry: &str) -> anyhow::Result<Option<TransformReport>> {
        let readiness: Readiness = serde_json::from_str(&get(&self.agent, &format!("{}/readyz", self.url))?)?;
        Ok(readiness.transforms.into_iter().find(|transform| transform.entry == entry))
    }

    /// What the process has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }

    /// The metrics now.
    pub(crate) fn metrics(&self) -> anyhow::Result<Metrics> {
        Ok(Metrics::parse(&get(&self.agent, &format!("{}/metrics", self.url))?))
    }

    /// Waits for the end of a run with `--until-caught-up`.
    pub(crate) fn finish(self, lake: &Path) -> anyhow::Result<Run> {
        let (mut metrics, mut rss_bytes_max, mut read_at) = (Metrics::default(), 0, self.ready_at);
        while !self.process.has_ended()? {
            ensure!(self.ready_at.elapsed() < RUN_LIMIT, "dabi does not catch up within {RUN_LIMIT:?}");
            if read_at.elapsed() >= METRICS_EVERY {
                read_at = Instant::now();
                // It may end between the check and the readings; then it has no memory.
                rss_bytes_max = rss_bytes_max.max(self.process.usage()?.rss_bytes_max);
                metrics = self.metrics().unwrap_or(metrics);
            }
            std::thread::sleep(READY_EVERY);
        }
        let wall = self.ready_at.elapsed();
        let cpu = self.process.usage()?.cpu - self.at_ready.cpu;
        self.process.wait()?;
        let lake_bytes = folder_bytes(lake)?;
        Ok(Run { start: self.start, wall, cpu, rss_bytes_max, metrics, lake_bytes })
    }

    /// Ends a run that would go on.
    pub(crate) fn stop(self) -> anyhow::Result<()> {
        self.process.stop()
    }
}

impl Setup<'_> {
    /// The lake of this pipeline.
    pub(crate) fn lake(&self) -> PathBuf {
        self.folder.join("lake")
    }
}

fn settings(setup: &Setup<'_>, clickhouse: &ClickHouse, listen: &str) -> String {
    let text = |value: &str| toml_string(value);
    let path = |value: &Path| toml_string(&value.display().to_string());
    format!(
        "[kafka]\nbrokers = {brokers}\ntopics = [{topics}]\n\
         [lake]\nurl = {lake}\n\
         [warehouse]\nurl = {warehouse}\ndatabase = {database}\nuser = {user}\n\
         [transforms]\ndir = {transforms}\n\
         [web]\nlisten = {listen}\n",
        brokers = text(setup.brokers),
        topics = text(setup.topics),
        lake = path(&setup.lake()),
        warehouse = text(clickhouse.url()),
        database = text(DATABASE),
        user = text(clickhouse::USER),
        transforms = path(setup.transforms),
        listen = text(listen),
    )
}

/// A JSON string without control characters is a TOML string too.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn is_running(agent: &ureq::Agent, url: &str) -> bool {
    let answer = get(agent, &format!("{url}/readyz")).ok();
    let readiness = answer.and_then(|text| serde_json::from_str::<Readiness>(&text).ok());
    readiness.is_some_and(|readiness| readiness.phase == "running")
}

fn get(agent: &ureq::Agent, url: &str) -> anyhow::Result<String> {
    Ok(agent.get(url).call()?.body_mut().read_to_string()?)
}

fn folder_bytes(folder: &Path) -> anyhow::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        bytes += if metadata.is_dir() { folder_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(bytes)
}
