//! `dabi-shop`: the shop as a program that writes to a real PostgreSQL.
//!
//! Owns the clock, the pace and the end on a signal. Does not own what happens
//! (the library) or the connection (`database`).
//!
//! Invariant: what the database holds is the truth. A start, and every failure
//! that may pass, reads the tables anew and goes on from there; so a restart, a
//! lost connection or a hand in the tables ends no shop and repeats no id.

mod database;
mod pace;
mod stop;

use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use clap::{Args, Parser, Subcommand, ValueEnum};
use dabi_shop::{Identity, Micros, Settings, Shop, Transaction, sql};
use tokio::time::{Instant, timeout};
use tokio_postgres::Config;

use database::Database;
use pace::Pace;
use stop::Stop;

/// A small web shop that never closes
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sql(SqlCommand),
}

/// Write the shop's transactions to a PostgreSQL until stopped
///
/// Creates the tables if they are missing and fills them once; after a restart
/// it goes on with what is there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  dabi-shop sql --url postgres://postgres@localhost/shop
  dabi-shop sql --url postgres://postgres@localhost/shop --rate 0 --transactions 10000")]
struct SqlCommand {
    /// The database, as postgres://user:password@host:port/database
    #[arg(long, env = "DABI_SHOP_URL", hide_env_values = true)]
    url: String,
    /// Transactions a second; 0 writes as fast as the database takes them
    #[arg(long, default_value_t = 50.0, value_parser = rate)]
    rate: f64,
    /// Transactions to write before the end
    #[arg(long, value_name = "N")]
    transactions: Option<u64>,
    /// What happens is drawn from this
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// The schema of the tables
    #[arg(long, default_value = "public")]
    schema: String,
    /// What the database logs of old rows
    #[arg(long, value_enum, default_value_t = ReplicaIdentity::Default)]
    replica_identity: ReplicaIdentity,
    /// Users at the opening; they may double
    #[arg(long, default_value_t = Settings::default().users, value_name = "N")]
    users: usize,
    /// Products at the opening; they may double
    #[arg(long, default_value_t = Settings::default().products, value_name = "N")]
    products: usize,
    /// Orders at the opening
    #[arg(long, default_value_t = Settings::default().orders, value_name = "N")]
    orders: usize,
    /// Orders beyond which the oldest are deleted
    #[arg(long, default_value_t = Settings::default().orders_max, value_name = "N")]
    orders_max: usize,
    /// How long to wait for the database, at the start and when it goes away
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    wait: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ReplicaIdentity {
    Default,
    Full,
}

/// Failures in a row, without a transaction between them, before giving up.
const FAILURES_MAX: u32 = 10;
/// How long a transaction may take to end after a signal.
const GRACE: Duration = Duration::from_secs(5);
const REPORT_INTERVAL: Duration = Duration::from_secs(10);

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let Arguments { command: Command::Sql(command) } = Arguments::parse();
    match run(&command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dabi-shop: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: &SqlCommand) -> anyhow::Result<()> {
    let config: Config = command.url.parse().context(
        "--url is no address of a PostgreSQL; it looks like postgres://user:password@host:5432/database",
    )?;
    let mut stop = Stop::on_signal()?;
    let mut progress = Progress::new();
    let mut failures = 0;
    loop {
        let wait = Duration::from_secs(command.wait);
        let connecting = Database::connect(&config, &command.schema, wait);
        let Some(database) = stop.unless(connecting).await.transpose()? else { break };
        let before = progress.written;
        match session(&database, command, &mut progress, &mut stop).await {
            Ok(()) => break,
            Err(error) if !database::may_pass(&error) => {
                return Err(error).with_context(|| format!("write to schema {}", command.schema));
            }
            Err(error) => {
                failures = if progress.written > before { 1 } else { failures + 1 };
                ensure!(failures < FAILURES_MAX, "{FAILURES_MAX} failures in a row, the last: {error:#}");
                eprintln!("reading the tables again after: {:#}", anyhow::Error::from(error));
            }
        }
    }
    eprintln!("wrote {} transactions", progress.written);
    Ok(())
}

/// From tables as they are, transaction by transaction, to the end.
async fn session(
    database: &Database,
    command: &SqlCommand,
    progress: &mut Progress,
    stop: &mut Stop,
) -> Result<(), tokio_postgres::Error> {
    let identity = match command.replica_identity {
        ReplicaIdentity::Default => Identity::Default,
        ReplicaIdentity::Full => Identity::Full,
    };
    database.execute(&sql::create_tables(&command.schema, identity)).await?;
    let (tables, ids) = database.load().await?;
    let settings = Settings {
        users: command.users,
        products: command.products,
        orders: command.orders,
        orders_max: command.orders_max,
        history: &[],
    };
    let never_opened = ids == Default::default();
    let mut shop = Shop::with_tables(command.seed, settings, tables, ids);
    if never_opened {
        let opening = shop.open(now());
        database.execute(&sql::script(&command.schema, &opening)).await?;
        eprintln!("opened with {} rows", opening.changes.len());
    }
    let mut pace = Pace::new(command.rate, Instant::now());
    while command.transactions.is_none_or(|wanted| progress.written < wanted) {
        if stop.unless(pace.turn()).await.is_none() {
            return Ok(());
        }
        let transaction = shop.transact(now());
        if !write(database, command, &transaction, stop).await? {
            return Ok(());
        }
        progress.wrote(&transaction);
    }
    Ok(())
}

/// Writes a transaction; false if a signal came meanwhile and it did not end in time.
async fn write(
    database: &Database,
    command: &SqlCommand,
    transaction: &Transaction,
    stop: &mut Stop,
) -> Result<bool, tokio_postgres::Error> {
    let script = sql::script(&command.schema, transaction);
    let mut work = std::pin::pin!(database.execute(&script));
    if let Some(done) = stop.unless(&mut work).await {
        return done.map(|()| true);
    }
    match timeout(GRACE, work).await {
        Ok(done) => done.map(|()| true),
        Err(_) => Ok(false),
    }
}

/// What was written, said now and then.
struct Progress {
    written: u64,
    events: u64,
    reported: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { written: 0, events: 0, reported: Instant::now() }
    }

    fn wrote(&mut self, transaction: &Transaction) {
        self.written += 1;
        self.events += transaction.events();
        if self.reported.elapsed() >= REPORT_INTERVAL {
            self.reported = Instant::now();
            eprintln!("{} transactions, {} changed rows", self.written, self.events);
        }
    }
}

fn rate(text: &str) -> anyhow::Result<f64> {
    let rate: f64 = text.parse().context("a number of transactions a second")?;
    if !(0.0..=1e6).contains(&rate) {
        bail!("from 0 to 1000000 transactions a second");
    }
    Ok(rate)
}

fn now() -> Micros {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    Micros(i64::try_from(since.as_micros()).expect("the clock is before the year 290000"))
}
