//! Keeping the helper alive under one URL and password.
//!
//! Owns restarts: the same port and password, so that a client needs no more
//! than to try again.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::install::InstallError;
use super::process::{Launch, Process, free_port};

/// The only user that the helper knows.
const USER: &str = "default";
const FIRST_BACKOFF: Duration = Duration::from_millis(100);
const LAST_BACKOFF: Duration = Duration::from_secs(5);
/// A helper that lived this long did not fail at its start.
const STEADY: Duration = Duration::from_secs(30);

/// Why there is no embedded ClickHouse.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// Its library is not there.
    #[error(transparent)]
    Library(#[from] InstallError),
    /// Its binary is not there.
    #[error(
        "the helper that runs ClickHouse is not at {expected}; build it (`cargo build -p dabi-clickhouse`) or set \
         DABI_CLICKHOUSE_BIN"
    )]
    NoBinary {
        /// Where it belongs.
        expected: PathBuf,
    },
    /// Its binary cannot be run.
    #[error("run {binary}: {source}")]
    Spawn {
        /// The binary.
        binary: PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// It ended before it was ready, or never was.
    #[error("the embedded ClickHouse on {folder} does not start: {reason}")]
    Start {
        /// Its folder.
        folder: PathBuf,
        /// Its log.
        reason: String,
    },
    /// No port is free.
    #[error("find a free port on 127.0.0.1: {0}")]
    Port(std::io::Error),
    /// The system gives no random bytes.
    #[error("make a password: {0}")]
    Random(std::io::Error),
}

/// A ClickHouse engine of our own, on a folder; stopped when dropped.
pub struct EmbeddedClickHouse {
    url: String,
    password: String,
    stop: CancellationToken,
    supervisor: JoinHandle<()>,
}

impl EmbeddedClickHouse {
    /// Starts the engine on `folder`, which is made if missing, and keeps it
    /// running. Needs a tokio runtime.
    ///
    /// # Errors
    /// If library or binary are missing, or the engine refuses the folder (in
    /// use, or not writable).
    pub async fn start(folder: &Path) -> Result<Self, EmbeddedError> {
        let launch = Launch::on(folder)?;
        let process = launch.start(free_port().map_err(EmbeddedError::Port)?).await?;
        let url = format!("http://127.0.0.1:{}", process.port);
        let password = launch.password.clone();
        let stop = CancellationToken::new();
        let supervisor = tokio::spawn(supervise(launch, process, stop.clone()));
        Ok(Self { url, password, stop, supervisor })
    }

    /// `http://127.0.0.1:<port>`, the same for its whole life.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The user to name.
    #[must_use]
    pub fn user(&self) -> &str {
        USER
    }

    /// Its password, different for every start.
    #[must_use]
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Lets running requests end, then ends the engine.
    pub async fn stop(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.supervisor).await {
            tracing::error!(%error, "the supervisor of the embedded ClickHouse failed");
        }
    }
}

/// Without the password.
impl fmt::Debug for EmbeddedClickHouse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedClickHouse").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Drop for EmbeddedClickHouse {
    fn drop(&mut self) {
        // Where the runtime ends first, the helper's standard input closes with
        // it, which comes to the same.
        self.stop.cancel();
    }
}

async fn supervise(launch: Launch, mut process: Process, stop: CancellationToken) {
    let port = process.port;
    let mut backoff = FIRST_BACKOFF;
    loop {
        let started = Instant::now();
        tokio::select! {
            status = process.ended() => {
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                tracing::warn!("the embedded ClickHouse ended ({status}); it is started again");
            }
            () = stop.cancelled() => return process.stop().await,
        }
        if started.elapsed() > STEADY {
            backoff = FIRST_BACKOFF;
        }
        process = loop {
            tokio::select! {
                () = tokio::time::sleep(backoff) => {}
                () = stop.cancelled() => return,
            }
            backoff = (backoff * 2).min(LAST_BACKOFF);
            // A start that is broken off leaves no process: its input closes.
            tokio::select! {
                outcome = launch.start(port) => match outcome {
                    Ok(process) => break process,
                    Err(error) => tracing::error!("{error}; trying again in {} ms", backoff.as_millis()),
                },
                () = stop.cancelled() => return,
            }
        };
        tracing::info!("the embedded ClickHouse answers again");
    }
}
