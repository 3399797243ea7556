//! `dabi lake`: what is in the lake, for people and for other readers.

use std::collections::BTreeMap;
use std::io::Write as _;

use anyhow::{Context as _, ensure};
use clap::{Args, Subcommand};
use dabi_core::manifest::{DataFile, FileSpan, TimeRange};
use dabi_core::position::Topic;
use dabi_core::table::SourceTable;
use serde::Serialize;

use crate::lake::{Lake, LakeSettings};

/// Look into the lake
#[derive(Debug, Args)]
pub struct LakeCommand {
    #[command(subcommand)]
    action: LakeAction,
}

#[derive(Debug, Subcommand)]
enum LakeAction {
    /// List the Parquet files that hold each change event exactly once
    #[command(after_help = "Examples:\n  \
        dabi lake files --table shop.orders\n  \
        duckdb -c \"select _op, count(*) from read_parquet([$(dabi lake files --table shop.orders \
        | sed \"s/.*/'&'/\" | paste -sd,)], union_by_name = true) group by all\"")]
    Files {
        /// Only those of one source table, as shop.orders
        #[arg(long, value_name = "SCHEMA.TABLE")]
        table: Option<SourceTable>,
        /// One JSON object a line, with rows, bytes, times and offsets
        #[arg(long)]
        json: bool,
    },
}

/// A line of `dabi lake files --json`.
#[derive(Serialize)]
struct FileLine<'a> {
    url: String,
    table: &'a SourceTable,
    rows: u64,
    bytes: u64,
    kafka_ts_ms: Option<TimeRange>,
    spans: &'a BTreeMap<Topic, BTreeMap<i32, FileSpan>>,
}

/// Runs `dabi lake …` on the lake of `settings`.
///
/// # Errors
/// If the lake cannot be read, holds nothing yet, or stdout is closed.
pub async fn run(command: LakeCommand, settings: &LakeSettings) -> anyhow::Result<()> {
    let LakeAction::Files { table, json } = command.action;
    let lake = Lake::open(settings)?;
    let nothing = || format!("{} holds no commit yet: check [lake] url, or let dabi run first", lake.url());
    ensure!(lake.head().await?.is_some(), nothing());
    let files = lake.files(table.as_ref()).await?;
    print_files(&lake, &files, json).context("print the list of files")
}

fn print_files(lake: &Lake, files: &[DataFile], json: bool) -> std::io::Result<()> {
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for file in files {
        let url = lake.url_of(&file.path);
        if json {
            let DataFile { table, rows, bytes, kafka_ts_ms, spans, .. } = file;
            let line = FileLine { url, table, rows: *rows, bytes: *bytes, kafka_ts_ms: *kafka_ts_ms, spans };
            serde_json::to_writer(&mut out, &line)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{url}")?;
        }
    }
    out.flush()
}
