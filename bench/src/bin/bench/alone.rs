//! Parts measured alone, by programs that print their figures.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::Bench;
use crate::results::Figure;

/// Runs `program` of this workspace; gives the figures that it prints, one a line.
pub(crate) fn measure(bench: &Bench, program: &str) -> anyhow::Result<Vec<Figure>> {
    let program = bench.binary(program);
    let output = Command::new(&program).current_dir(&bench.data).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("start {}", program.display()))?;
    ensure!(output.status.success(), "{} ended: {}", program.display(), output.status);
    let figures = String::from_utf8(output.stdout).context("read what it printed")?;
    figures.lines().map(|line| serde_json::from_str(line).with_context(|| format!("read {line:?}"))).collect()
}
