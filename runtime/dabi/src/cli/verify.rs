//! `dabi verify`: the star against its transforms over the lake.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::audited::Audited;
use crate::audit::{Difference, TargetReport, Verdict, Verified, Verify};
use crate::config::Settings;

/// Compare the star with what its transforms make of the lake
///
/// Folds every source table from the lake's Parquet files, joins and evaluates
/// all rows anew with the live modules, makes versions of all that ever happened to
/// a key where they are kept, takes every event for itself where changes are, and
/// compares every row of every target by key and hash. Nothing of dabi's own state
/// is used, and nothing is written. dabi may run meanwhile: both sides are read at
/// the last epoch that is stored, and what differs is looked at again at the next.
/// It takes one transform after the other, and holds in memory its source tables,
/// every event of one that versions are kept of, and a hash of each star row.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dabi verify                         every target
  dabi verify --target f_orders       one of them
  dabi verify --json | jq .targets    for scripts

Exit codes: 0 equal; 1 some row differs; 2 it could not be said (the last lines say why).")]
pub(super) struct VerifyCommand {
    /// Only this target
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Differing keys to show of each target
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: usize,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// Whatever keeps it from an answer is exit code 2, and not 1: no difference was
/// seen.
pub(super) async fn run(
    command: VerifyCommand,
    settings: impl FnOnce() -> anyhow::Result<Settings>,
) -> ExitCode {
    let answered = async { answer(command, &settings()?).await };
    answered.await.unwrap_or_else(|error| {
        super::fail(&error);
        ExitCode::from(2)
    })
}

async fn answer(command: VerifyCommand, settings: &Settings) -> anyhow::Result<ExitCode> {
    let json = command.json;
    let verified = verify(command, settings).await?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    if json {
        serde_json::to_writer_pretty(&mut out, &verified)?;
        writeln!(out)?;
    } else {
        print(&mut out, &verified)?;
    }
    out.flush()?;
    Ok(match verified.verdict {
        Verdict::Equal => ExitCode::SUCCESS,
        Verdict::Different => ExitCode::from(1),
        Verdict::Unknown => ExitCode::from(2),
    })
}

async fn verify(command: VerifyCommand, settings: &Settings) -> anyhow::Result<Verified> {
    let Audited { lake, warehouse, loaded } = Audited::open(settings).await?;
    let verify = Verify {
        pipeline: settings.pipeline.clone(),
        lake,
        warehouse,
        loaded,
        calendar: settings.calendar,
        target: command.target,
        shown_max: command.limit,
    };
    Ok(verify.run().await?)
}

fn print(out: &mut impl Write, verified: &Verified) -> io::Result<()> {
    writeln!(out, "star at term {}, epoch {}", verified.term, verified.epoch)?;
    for target in &verified.targets {
        print_target(out, target)?;
    }
    for work in &verified.open_work {
        writeln!(out, "open work: {work}; until it is done the star is not claimed to be right")?;
    }
    if let Some(reason) = &verified.nothing_compared {
        writeln!(out, "{reason}")?;
    }
    let verdict = match verified.verdict {
        Verdict::Equal => "equal",
        Verdict::Different => "different",
        Verdict::Unknown => "could not be verified",
    };
    writeln!(out, "{verdict}")
}

fn print_target(out: &mut impl Write, target: &TargetReport) -> io::Result<()> {
    let name = &target.target;
    if let Some(reason) = &target.exempt {
        return writeln!(out, "{name}: not verified: {reason}");
    }
    if let Some(reason) = &target.unknown {
        return writeln!(out, "{name}: could not be verified: {reason}");
    }
    let mut without = Vec::new();
    if target.dead_letters > 0 {
        without.push(format!("{} dead letters", target.dead_letters));
    }
    if target.held > 0 {
        without.push(format!("{} that wait for a row", target.held));
    }
    let without = if without.is_empty() {
        String::new()
    } else {
        format!("; source rows without: {}", without.join(", "))
    };
    let differs = match target.differing {
        0 => "equal".to_owned(),
        1 => "1 key differs".to_owned(),
        keys => format!("{keys} keys differ"),
    };
    writeln!(out, "{name}: {differs} ({} rows, {} expected{without})", target.rows, target.expected)?;
    for Difference { key, expected, found } in &target.differences {
        writeln!(out, "  {key}")?;
        writeln!(out, "    expected {}", shown(expected.as_ref()))?;
        writeln!(out, "    found    {}", shown(found.as_ref()))?;
    }
    let more = target.differing.saturating_sub(target.differences.len() as u64);
    if more > 0 {
        writeln!(out, "  and {more} more: --limit shows more")?;
    }
    Ok(())
}

fn shown(row: Option<&Value>) -> String {
    row.map_or_else(|| "no row".to_owned(), Value::to_string)
}
