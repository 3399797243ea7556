//! Decoding alone, against `serde_json::Value`: measured by `bench/decode`,
//! which prints its figures.

use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::Bench;
use crate::results::{Figure, Target};

const TIMES_VALUE: f64 = 2.5;

/// Runs it.
pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let program = bench.binary("dabi-bench-decode");
    let output = Command::new(&program).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("start {}", program.display()))?;
    ensure!(output.status.success(), "{} ended: {}", program.display(), output.status);
    let figures = String::from_utf8(output.stdout).context("read what it printed")?;
    let figure = |line| -> anyhow::Result<Figure> {
        let figure: Figure = serde_json::from_str(line).with_context(|| format!("read {line:?}"))?;
        Ok(figure.should(Target::AtLeast(TIMES_VALUE)))
    };
    figures.lines().map(figure).collect()
}
