//! `dabi setup`: what dabi needs beside its own binary.

use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

use crate::warehouse::embedded::{self, Step};

/// Fetch what dabi needs beside its binary
#[derive(Debug, Args)]
pub struct SetupCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Fetch the library of the embedded ClickHouse, once
    ///
    /// Through npm, in a pinned version with a pinned checksum, into the cache
    /// folder (DABI_CACHE, else XDG_CACHE_HOME/dabi, else ~/.cache/dabi).
    /// DABI_CLICKHOUSE_LIB names a library that is there already.
    Clickhouse,
}

/// Runs the command; prints the path of what is there now.
///
/// # Errors
/// If it cannot be fetched, with what to do.
pub async fn run(command: SetupCommand) -> anyhow::Result<()> {
    match command.what {
        What::Clickhouse => {
            let path = tokio::task::spawn_blocking(|| {
                let bar = ProgressBar::new_spinner()
                    .with_style(ProgressStyle::with_template("{spinner} {msg} ({elapsed})")?);
                bar.enable_steady_tick(Duration::from_millis(100));
                let path = embedded::install(|step| {
                    let message = match step {
                        Step::Downloading => "ClickHouse library: downloading 178 MB",
                        Step::Verifying => "ClickHouse library: verifying",
                        Step::Unpacking => "ClickHouse library: unpacking 566 MB",
                    };
                    bar.set_message(message);
                });
                bar.finish_and_clear();
                anyhow::Ok(path?)
            })
            .await??;
            println!("{}", path.display());
        }
    }
    Ok(())
}
