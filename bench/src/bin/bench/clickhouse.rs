//! The embedded ClickHouse engine, started by the bench instead of by dabi, so
//! that its start is not measured and its own CPU time is known.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;

use crate::process::{Process, Usage};

/// The user that the helper knows.
pub(crate) const USER: &str = "default";
/// It listens on loopback and lives as long as the bench.
pub(crate) const PASSWORD: &str = "bench";
const QUERY_LIMIT: Duration = Duration::from_secs(60);

/// The engine behind its HTTP interface; ends on drop.
pub(crate) struct ClickHouse {
    process: Process,
    client: Client,
    /// Its end would end the helper.
    _stdin: ChildStdin,
}

/// Sends queries; cheap to clone.
#[derive(Clone)]
pub(crate) struct Client {
    url: String,
    agent: ureq::Agent,
}

#[derive(Deserialize)]
struct Ready {
    port: u16,
}

impl ClickHouse {
    /// Starts an empty engine.
    pub(crate) fn start(helper: &Path, library: &Path, folder: &Path) -> anyhow::Result<Self> {
        ensure!(library.is_file(), "{} does not exist: run `make setup`", library.display());
        let mut command = Command::new(helper);
        command.arg("--lib").arg(library).arg("--path").arg(folder.join("clickhouse"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start("clickhouse", command, folder)?;
        let mut stdin = process.child().stdin.take().context("take the helper's standard input")?;
        writeln!(stdin, "{PASSWORD}").context("hand over the password")?;
        let stdout = process.child().stdout.take().context("take the helper's standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("wait for ClickHouse")?;
        let Ok(Ready { port }) = serde_json::from_str(&line) else {
            process.ensure_running()?;
            anyhow::bail!("ClickHouse said {line:?} instead of its port");
        };
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(QUERY_LIMIT))
            .http_status_as_error(false)
            .build();
        let client = Client { url: format!("http://127.0.0.1:{port}"), agent: agent.into() };
        Ok(Self { process, client, _stdin: stdin })
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.client.url
    }

    /// For queries beside the pipeline's.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// What the engine has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        self.process.usage()
    }
}

impl Client {
    /// The one number that `sql` selects.
    pub(crate) fn number(&self, sql: &str) -> anyhow::Result<i64> {
        let request =
            self.agent.post(&self.url).header("X-ClickHouse-User", USER).header("X-ClickHouse-Key", PASSWORD);
        let mut response = request.send(sql).with_context(|| format!("ask ClickHouse: {sql}"))?;
        let text = response.body_mut().read_to_string().context("read ClickHouse's answer")?;
        ensure!(response.status().is_success(), "{sql}: {text}");
        text.trim().parse().with_context(|| format!("{sql}: {text:?} is not a number"))
    }
}
