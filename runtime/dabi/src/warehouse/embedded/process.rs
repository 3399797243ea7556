//! One run of the helper: started, ready, ended.
//!
//! Invariant: the helper ends when its standard input does, and so never
//! outlives this process, however that ends.

use std::collections::VecDeque;
use std::env;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::timeout;

use super::install;
use super::supervisor::EmbeddedError;

/// Names the helper's binary, where it is not beside dabi's.
const BINARY_VARIABLE: &str = "DABI_CLICKHOUSE_BIN";
const BINARY: &str = "dabi-clickhouse";
/// From a cold disk the library alone is 566 MB.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// A little more than the helper gives its own requests.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// Lines of its log that an error shows.
const LOG_LINES: usize = 10;

/// What a run of the helper needs.
#[derive(Clone)]
pub(super) struct Launch {
    pub(super) binary: PathBuf,
    pub(super) library: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) password: String,
}

/// What the helper prints once it is ready.
#[derive(Deserialize)]
struct Ready {
    port: u16,
    version: String,
}

/// A helper that is ready.
pub(super) struct Process {
    child: Child,
    /// Open as long as the helper is to run.
    stdin: Option<ChildStdin>,
    pub(super) port: u16,
}

impl Launch {
    /// Finds binary and library for an engine on `folder`.
    pub(super) fn on(folder: &Path) -> Result<Self, EmbeddedError> {
        let password = random_password().map_err(EmbeddedError::Random)?;
        Ok(Self { binary: binary()?, library: install::find()?, folder: folder.to_owned(), password })
    }

    /// Starts the helper on `port` and waits until it is ready.
    pub(super) async fn start(&self, port: u16) -> Result<Process, EmbeddedError> {
        let mut child = Command::new(&self.binary)
            .arg("--lib")
            .arg(&self.library)
            .arg("--path")
            .arg(&self.folder)
            .arg("--listen")
            .arg(format!("127.0.0.1:{port}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for dabi, which still needs its warehouse to drain.
            .process_group(0)
            .spawn()
            .map_err(|source| EmbeddedError::Spawn { binary: self.binary.clone(), source })?;
        let log = Arc::new(Mutex::new(VecDeque::new()));
        if let Some(stderr) = child.stderr.take() {
            tokio::spawn(forward_log(stderr, Arc::clone(&log)));
        }
        let ready = timeout(START_TIMEOUT, self.greet(&mut child)).await;
        if let Ok(Ok((stdin, ready))) = ready {
            tracing::debug!(port = ready.port, version = ready.version, "embedded ClickHouse is ready");
            return Ok(Process { child, stdin: Some(stdin), port: ready.port });
        }
        child.kill().await.ok();
        // Its last words are on their way through the pipe.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let lines = log.lock().unwrap_or_else(PoisonError::into_inner);
        let log = lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
        let reason = match ready {
            Err(_) => format!("it is not ready after {} s", START_TIMEOUT.as_secs()),
            _ if log.is_empty() => "it ended without a word".to_owned(),
            _ => log,
        };
        Err(EmbeddedError::Start { folder: self.folder.clone(), reason })
    }

    /// Hands over the password and waits for the line that says ready.
    async fn greet(&self, child: &mut Child) -> io::Result<(ChildStdin, Ready)> {
        let closed = || io::Error::from(io::ErrorKind::BrokenPipe);
        let mut stdin = child.stdin.take().ok_or_else(closed)?;
        stdin.write_all(format!("{}\n", self.password).as_bytes()).await?;
        stdin.flush().await?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or_else(closed)?).read_line(&mut line).await?;
        Ok((stdin, serde_json::from_str(&line)?))
    }
}

impl Process {
    /// Waits for its end.
    pub(super) async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// Lets it finish its requests and end, or ends it.
    pub(super) async fn stop(mut self) {
        drop(self.stdin.take());
        if timeout(STOP_TIMEOUT, self.child.wait()).await.is_err() {
            tracing::warn!("the embedded ClickHouse does not end; it is killed");
            self.child.kill().await.ok();
        }
    }
}

async fn forward_log(stderr: impl AsyncRead + Unpin, log: Arc<Mutex<VecDeque<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        tracing::warn!("embedded ClickHouse: {line}");
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() == LOG_LINES {
            log.pop_front();
        }
        log.push_back(line);
    }
}

/// The helper's binary: named, beside dabi's, or one folder up (where cargo
/// puts it for tests).
fn binary() -> Result<PathBuf, EmbeddedError> {
    if let Some(named) = env::var_os(BINARY_VARIABLE) {
        return Ok(named.into());
    }
    let own = env::current_exe().unwrap_or_default();
    let beside = own.parent().unwrap_or(Path::new(".")).join(BINARY);
    let above = own.parent().and_then(Path::parent).map(|folder| folder.join(BINARY));
    [Some(beside.clone()), above]
        .into_iter()
        .flatten()
        .find(|path| path.is_file())
        .ok_or(EmbeddedError::NoBinary { expected: beside })
}

/// 128 bits of the system's randomness, in hexadecimal.
fn random_password() -> io::Result<String> {
    let mut bytes = [0; 16];
    io::Read::read_exact(&mut std::fs::File::open("/dev/urandom")?, &mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A free port below those that the system gives to outgoing connections: among
/// them, a client that keeps trying a helper which is being restarted would in
/// time connect to itself, and the helper could not have its port back.
pub(super) fn free_port() -> io::Result<u16> {
    const PORTS: u64 = 15_000;
    let mut error = io::Error::from(io::ErrorKind::AddrInUse);
    for attempt in 0..100 {
        // Seeded by the system, differently each time.
        let offset = u16::try_from(RandomState::new().hash_one(attempt) % PORTS).unwrap_or_default();
        match TcpListener::bind(("127.0.0.1", 15_000 + offset)) {
            Ok(listener) => return Ok(listener.local_addr()?.port()),
            Err(refused) => error = refused,
        }
    }
    Err(error)
}
