//! The ClickHouse engine in a process of its own, behind ClickHouse's HTTP
//! interface on loopback.
//!
//! Owns start and end: the lock on the folder, the line that says it is ready,
//! the orderly stop. A process of its own, because the engine brings its own
//! threads, memory and crashes; HTTP, so that whoever talks to it talks to a
//! real server in the same way.

mod answer;
mod body;
mod engine;
mod ffi;
mod http;
mod job;
mod lz4_block;
mod request;
mod session;
mod statement;

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use axum::serve::ListenerExt;
use clap::Parser;
use rustix::fs::{FlockOperation, flock};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::engine::Engine;
use crate::job::{Limits, Shared};
use crate::session::Sessions;

/// From the signal to the end, whatever still runs.
const STOP_DEADLINE: Duration = Duration::from_secs(8);
/// Threads beside those of requests: kills, and a margin.
const SPARE_THREADS: usize = 8;
const LOCK_FILE: &str = "dabi-clickhouse.lock";

/// The ClickHouse engine behind its HTTP interface, on loopback.
///
/// The password comes from a file, or, for a process that is supervised, as the
/// first line of standard input; then the end of standard input ends it too, so
/// that it never outlives its parent.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// libchdb.so (get it with `dabi setup clickhouse`)
    #[arg(long, value_name = "FILE", env = "DABI_CLICKHOUSE_LIB")]
    lib: PathBuf,
    /// The engine's folder, made if missing
    #[arg(long, value_name = "DIR")]
    path: PathBuf,
    /// Loopback address; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// A file that holds the password of user `default`
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Memory of one statement
    #[arg(long, value_name = "MIB", default_value_t = 4096)]
    memory_mib: u64,
    /// Threads of one statement; 0 leaves it to the engine
    #[arg(long, value_name = "N", default_value_t = 0)]
    threads: u64,
    /// The largest answer in a format that cannot be streamed
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    answer_mib: u64,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(http::REQUESTS_MAX + SPARE_THREADS)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let code = match runtime.block_on(run(arguments)) {
        Ok(()) => 0,
        Err(error) => {
            tracing::error!("{error:#}");
            1
        }
    };
    ffi::exit_without_handlers(code)
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    ensure!(arguments.listen.ip().is_loopback(), "--listen {}: not a loopback address", arguments.listen);
    let (password, parent) = match &arguments.password_file {
        Some(file) => (std::fs::read_to_string(file).context("read --password-file")?, None),
        None => {
            let mut line = String::new();
            std::io::stdin().read_line(&mut line).context("read the password from standard input")?;
            (line, Some(watch_parent()?))
        }
    };
    let password = password.trim_end_matches(['\r', '\n']).to_owned();
    ensure!(!password.is_empty(), "the password is empty");

    // Taken before the folder, so that of two processes on one port only one
    // gets as far as the engine.
    let listener = TcpListener::bind(arguments.listen)
        .await
        .with_context(|| format!("listen on {}", arguments.listen))?;
    std::fs::create_dir_all(&arguments.path)
        .with_context(|| format!("make the folder {}", arguments.path.display()))?;
    let folder = arguments.path.canonicalize().context("find the engine's folder")?;
    let _lock = lock(&folder)?;
    let library = arguments.lib.clone();
    let engine = tokio::task::spawn_blocking(move || Engine::open(&library, &folder)).await??;
    let engine = Arc::new(engine);
    let sessions = Arc::new(Sessions::default());
    let limits = Limits {
        memory_bytes: arguments.memory_mib << 20,
        threads: arguments.threads,
        answer_bytes: arguments.answer_mib << 20,
    };
    let ready = serde_json::json!({ "port": listener.local_addr()?.port(), "version": engine.version });
    let shared = Shared { engine, sessions: Arc::clone(&sessions), limits };
    let router = http::router(shared, password);
    println!("{ready}");
    std::io::stdout().flush().context("say that it is ready")?;

    let sweeper = tokio::spawn(close_idle_sessions(Arc::clone(&sessions)));
    let (stop_sender, stop) = oneshot::channel();
    // An answer's last bytes would otherwise wait 40 ms for the client to
    // acknowledge the ones before.
    let listener = listener.tap_io(|connection| _ = connection.set_nodelay(true));
    let serving = axum::serve(listener, router).with_graceful_shutdown(async move {
        stopped(parent).await;
        let _ = stop_sender.send(());
    });
    tokio::select! {
        served = serving => served.context("serve")?,
        () = async { let _ = stop.await; tokio::time::sleep(STOP_DEADLINE).await } => {
            tracing::warn!("requests still running at the deadline are cut off");
        }
    }
    sweeper.abort();
    sessions.close_all();
    Ok(())
}

/// Waits for SIGTERM, SIGINT, or the end of the parent.
async fn stopped(parent: Option<oneshot::Receiver<()>>) {
    let parent_gone = async {
        match parent {
            Some(gone) => drop(gone.await),
            None => std::future::pending().await,
        }
    };
    let signalled = |kind| async move {
        match signal(kind) {
            Ok(mut signals) => {
                signals.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = signalled(SignalKind::terminate()) => {}
        () = signalled(SignalKind::interrupt()) => {}
        () = parent_gone => {}
    }
}

/// Tells when standard input ends, and so the parent has. PR_SET_PDEATHSIG
/// would fire when the parent's *thread* ends, and an async runtime's threads
/// come and go.
fn watch_parent() -> anyhow::Result<oneshot::Receiver<()>> {
    let (sender, gone) = oneshot::channel();
    std::thread::Builder::new()
        .name("parent".into())
        .spawn(move || {
            let mut stdin = std::io::stdin().lock();
            let _ = std::io::copy(&mut stdin, &mut std::io::sink());
            let _ = sender.send(());
        })
        .context("start a thread")?;
    Ok(gone)
}

async fn close_idle_sessions(sessions: Arc<Sessions>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let sessions = Arc::clone(&sessions);
        // Closing a connection may wait for the engine.
        let _ = tokio::task::spawn_blocking(move || sessions.close_idle()).await;
    }
}

/// Locks the folder for this process; the lock goes with the process.
fn lock(folder: &Path) -> anyhow::Result<File> {
    let path = folder.join(LOCK_FILE);
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut owner = String::new();
        file.read_to_string(&mut owner).ok();
        bail!(
            "{} is in use by process {}; stop it, or choose another folder",
            folder.display(),
            owner.trim()
        );
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}
