//! The command line.
//!
//! Owns the commands, their help and the exit codes. Does not own what they do:
//! each calls the library and prints what came of it.

mod audited;
pub mod broker;
mod build;
pub mod capture;
mod check;
mod dead_letters;
mod demo;
mod dev;
mod explain;
pub mod lake;
mod observed;
mod run;
pub mod setup;
mod terminal;
mod verify;
mod world;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::config::{self, Settings};
use crate::telemetry::{LogFormat, start_logging};

/// Change events in, a ClickHouse star schema out.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    /// Settings file [default: dabi.toml if it exists]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How log lines look (on stderr; DABI_LOG=debug shows more)
    #[arg(long, global = true, value_enum, default_value = "human", env = "DABI_LOG_FORMAT")]
    log_format: LogFormat,
    #[command(subcommand)]
    command: Command,
}

/// How long threads get to end when there is nothing left to do.
const THREADS_GRACE: Duration = Duration::from_secs(1);

const AFTER_HELP: &str = "\
Examples:
  dabi demo                                   a shop and its star, on embedded parts
  dabi dev --capture captures/shop            your own events, while you edit transforms
  dabi build                                  transforms/ → modules
  dabi check                                  settings and transforms, before anything runs
  dabi run                                    Kafka → lake and star, until stopped
  dabi run --until-caught-up                  the same, up to the end of every partition
  dabi verify                                 is the star what the lake says?
  dabi explain f_order_lines 17,3             where a row comes from
  dabi dead-letters list                      what could not be used, and why
  dabi lake files --table shop.orders         what DuckDB or Spark should read

Exit codes: 0 done; 1 stopped by an error, which the last line explains; 2 wrong usage.
Where a command has others, its own help says so.";

#[derive(Debug, Subcommand)]
enum Command {
    /// A shop and its star, live, on embedded parts
    Demo(demo::DemoCommand),
    /// Your own events, on embedded parts, while you edit transforms
    Dev(dev::DevCommand),
    /// Keep lake and star up to date with Kafka
    Run(run::RunCommand),
    /// Build the source projects of the transforms' folder
    Build(build::BuildCommand),
    /// Check settings, transforms and the source, and say how each would run
    Check(check::CheckCommand),
    /// Compare the star with what its transforms make of the lake
    Verify(verify::VerifyCommand),
    /// Show where a star row comes from, and what it was before
    Explain(explain::ExplainCommand),
    /// Look at dead letters, and try them again
    DeadLetters(dead_letters::DeadLettersCommand),
    /// Look into the lake
    Lake(lake::LakeCommand),
    /// Record topics to files and play them back
    Capture(capture::CaptureArgs),
    /// Run the embedded Kafka broker alone
    Broker(broker::BrokerArgs),
    /// Fetch what dabi needs beside its binary
    Setup(setup::SetupCommand),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    crate::source::prepare();
    let cli = Cli::parse();
    start_logging(cli.log_format);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&anyhow::Error::new(error).context("start the async runtime")),
    };
    let done = runtime.block_on(dispatch(cli));
    // Threads end before the process does; but a blocking call that does not end (a
    // poll, a compile) must not keep it.
    runtime.shutdown_timeout(THREADS_GRACE);
    match done {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

async fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let settings = || settings(cli.config.as_deref());
    match cli.command {
        Command::Demo(command) => demo::run(command).await,
        Command::Dev(command) => dev::run(command, cli.config.as_deref()).await,
        Command::Run(command) => run::run(command, settings()?).await,
        Command::Build(command) => {
            build::run(command, config::transforms(cli.config.as_deref(), std::env::vars())?).await
        }
        Command::Check(command) => check::run(&command, &settings()?).await,
        Command::Explain(command) => explain::run(command, &settings()?).await,
        Command::DeadLetters(command) => dead_letters::run(command, &settings()?).await,
        Command::Lake(command) => lake::run(command, &settings()?.lake).await,
        Command::Capture(command) => tokio::task::spawn_blocking(|| capture::run(command)).await?,
        Command::Broker(command) => broker::run(command).await,
        Command::Setup(command) => setup::run(command).await,
        Command::Verify(command) => return Ok(verify::run(command, settings).await),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn settings(path: Option<&std::path::Path>) -> anyhow::Result<Settings> {
    Ok(config::load(path, std::env::vars())?)
}

fn fail(error: &anyhow::Error) -> ExitCode {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Most of our errors tell their cause themselves.
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    eprintln!("error: {text}");
    ExitCode::FAILURE
}
