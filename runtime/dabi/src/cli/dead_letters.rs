//! `dabi dead-letters`: what a transform could not use, and trying it again.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use clap::{Args, Subcommand};
use serde_json::Value;

use crate::config::Settings;
use crate::pipeline::Retried;
use crate::warehouse::{LetterFilter, StoredDeadLetter, Warehouse, WholeDeadLetter};
use crate::web::RetryRequest;

/// How long ClickHouse, or dabi, may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// Look at dead letters, and try them again
///
/// A dead letter is a source row that a transform could not use: it has no star
/// row until it is repaired. It is open until the row's next event goes through,
/// the row is deleted, or it is tried again with success: when a row that it
/// looks up arrives, when the module is changed, or by hand with `retry`.
#[derive(Debug, Args)]
pub(super) struct DeadLettersCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the open ones, the latest first
    #[command(after_help = "Examples:\n  \
        dabi dead-letters list --transform f_orders --code out-of-range\n  \
        dabi dead-letters list --json | jq -r .code | sort | uniq -c")]
    List {
        #[command(flatten)]
        which: Which,
        /// At most so many
        #[arg(long, value_name = "N", default_value_t = 50)]
        limit: usize,
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Show everything of one: the message, the module, the row
    #[command(after_help = "Examples:\n  dabi dead-letters show f_orders 17")]
    Show {
        /// The transform
        transform: String,
        /// The source row's key, as the list shows it
        id: String,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Evaluate their source rows again, in the dabi that runs
    #[command(after_help = "Examples:\n  \
        dabi dead-letters retry --transform f_orders\n  dabi dead-letters retry --all")]
    Retry {
        /// Those of one transform
        #[arg(long, value_name = "TRANSFORM", required_unless_present = "all")]
        transform: Option<String>,
        /// Those of every transform
        #[arg(long, conflicts_with = "transform")]
        all: bool,
        /// What is tried again, as one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
struct Which {
    /// Only those of one transform
    #[arg(long, value_name = "TRANSFORM")]
    transform: Option<String>,
    /// Only those that failed there: read, transform or star
    #[arg(long, value_name = "STAGE")]
    stage: Option<String>,
    /// Only those with this code
    #[arg(long, value_name = "CODE")]
    code: Option<String>,
}

pub(super) async fn run(command: DeadLettersCommand, settings: &Settings) -> anyhow::Result<()> {
    match command.action {
        Action::List { which: Which { transform, stage, code }, limit, json } => {
            let filter = LetterFilter { transform, stage, code, id: None };
            let letters =
                Warehouse::open(&settings.warehouse)?.latest_dead_letters(&filter, limit, PATIENCE).await?;
            print_list(&letters, json, limit)?;
        }
        Action::Show { transform, id, json } => {
            let filter = LetterFilter {
                transform: Some(transform.clone()),
                id: Some(id.clone()),
                ..Default::default()
            };
            let letters =
                Warehouse::open(&settings.warehouse)?.whole_dead_letters(&filter, 1, PATIENCE).await?;
            let nothing = || {
                format!(
                    "{transform} has no open dead letter {id}; `dabi dead-letters list` shows which it has"
                )
            };
            print_whole(letters.first().with_context(nothing)?, json)?;
        }
        Action::Retry { transform, all: _, json } => {
            let retried = retry(settings.web.listen, &RetryRequest { transform }).await?;
            print_retried(&retried, json)?;
        }
    }
    Ok(())
}

/// Asks the dabi that runs.
async fn retry(address: SocketAddr, asked: &RetryRequest) -> anyhow::Result<BTreeMap<String, Retried>> {
    let url = format!("http://{address}/api/dead-letters/retry");
    let client = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
    let request = client.post(&url).header("content-type", "application/json");
    let answer = request.body(serde_json::to_vec(asked)?).send().await.with_context(|| {
        format!(
            "no dabi runs at {address} ([web] listen): only a running one can try again. Start it; a module that \
             was changed is applied to every row at the start anyway"
        )
    })?;
    let (status, text) = (answer.status(), answer.text().await?);
    ensure!(status.is_success(), "dabi at {address} answers {status}: {}", text.trim());
    serde_json::from_str(&text)
        .with_context(|| format!("read what dabi at {address} answers: is it another version?"))
}

fn print_list(letters: &[StoredDeadLetter], json: bool, limit: usize) -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for letter in letters {
        if json {
            serde_json::to_writer(&mut out, letter)?;
            writeln!(out)?;
            continue;
        }
        let StoredDeadLetter { transform, id, stage, code, message, .. } = letter;
        writeln!(out, "{transform} {id}  {stage}/{code}: {message}")?;
    }
    if !json && letters.is_empty() {
        writeln!(out, "no open dead letters")?;
    }
    if !json && letters.len() == limit {
        writeln!(out, "(the latest {limit}; --limit shows more)")?;
    }
    out.flush()
}

fn print_whole(whole: &WholeDeadLetter, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string_pretty(whole)?);
        return Ok(());
    }
    let StoredDeadLetter { transform, id, source, topic, partition, offset, stage, code, message, .. } =
        &whole.letter;
    println!("{transform} {id}\n  {stage}/{code}: {message}");
    println!("  source {source}, event {topic}[{partition}]@{offset}\n  module {}", whole.module);
    match serde_json::from_str::<Value>(&whole.row) {
        Ok(row) => println!("  row {row:#}"),
        Err(_) => println!("  row {}", whole.row),
    }
    Ok(())
}

fn print_retried(retried: &BTreeMap<String, Retried>, json: bool) -> anyhow::Result<()> {
    if json {
        println!("{}", serde_json::to_string(retried)?);
    } else if retried.is_empty() {
        println!("no open dead letters");
    } else {
        for (transform, of) in retried {
            println!("{transform}: {} source rows are evaluated again", of.retrying);
            if of.not_in_lake > 0 {
                println!(
                    "  {} more are not in the lake yet, or their row has changed since; try again in a few seconds",
                    of.not_in_lake
                );
            }
        }
        println!("`dabi dead-letters list` shows what is still open");
    }
    let stopped: Vec<&str> =
        retried.iter().filter(|(_, of)| of.not_running).map(|(name, _)| name.as_str()).collect();
    if !stopped.is_empty() {
        bail!(
            "{} does not run: there is no such transform, or it is stopped (see /readyz)",
            stopped.join(", ")
        );
    }
    Ok(())
}
