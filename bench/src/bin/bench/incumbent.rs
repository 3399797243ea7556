//! The incumbent's way (`incumbent.py`), run over the same topic.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde::Deserialize;

/// What it printed.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) events_per_s: f64,
    pub(crate) cpu_us_per_event: f64,
}

/// Consumes about `events` of the topic with this JSON parser.
pub(crate) fn run(
    python: &Path,
    script: &Path,
    brokers: &str,
    topic: &str,
    parser: &str,
    events: u64,
    folder: &Path,
) -> anyhow::Result<Answer> {
    let mut command = Command::new(python);
    command.arg(script).args(["--brokers", brokers, "--topic", topic, "--parser", parser]);
    command.arg("--events").arg(events.to_string()).arg("--out").arg(folder);
    let output =
        command.stderr(Stdio::inherit()).output().with_context(|| format!("start {}", python.display()))?;
    ensure!(output.status.success(), "{} ended: {}", script.display(), output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("read what {} printed", script.display()))
}
