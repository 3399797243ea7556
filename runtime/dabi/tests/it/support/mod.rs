//! The neighbours that the integration tests run against, and dabi itself.
//!
//! Owns starting real servers on loopback, taking them away in the middle of a
//! test (stop, kill, pause) and bringing them back on the same port and data.
//! Does not own what is tested.
//!
//! Invariant: whatever a test started ends with it, also when it panics and
//! when the test process itself is killed.
//!
//! Everything blocks: a test is a plain `#[test]` that acts, waits and looks.

pub(crate) mod browser;
pub(crate) mod clickhouse;
pub(crate) mod connect;
pub(crate) mod credentials;
pub(crate) mod dabi;
pub(crate) mod guests;
pub(crate) mod kafka;
pub(crate) mod lake;
pub(crate) mod load;
pub(crate) mod minio;
pub(crate) mod orders;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod project;
pub(crate) mod proxy;
pub(crate) mod sample;
pub(crate) mod shop_events;
pub(crate) mod web;

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

/// Where `variable` says that a server is.
///
/// # Panics
/// Where it does not: a test without its server has not passed.
pub(crate) fn installed(variable: &str) -> PathBuf {
    let Some(path) = std::env::var_os(variable).map(PathBuf::from) else {
        panic!("{variable} is not set: run `make setup-tests`, then `. .ci/env`");
    };
    assert!(path.exists(), "{variable}: {} does not exist: run `make setup-tests`", path.display());
    path
}

/// A binary of another package of the workspace.
///
/// # Panics
/// If it has not been built.
pub(crate) fn workspace_binary(name: &str) -> PathBuf {
    let binary = Path::new(env!("CARGO_BIN_EXE_dabi")).with_file_name(name);
    assert!(binary.exists(), "{} does not exist: run `make build`", binary.display());
    binary
}

/// A file of the compose stack: tests run on the same.
///
/// # Panics
/// If there is none.
pub(crate) fn deploy(path: &str) -> PathBuf {
    let file = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy")).join(path);
    file.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

/// The text of a file.
///
/// # Panics
/// If it cannot be read.
pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()))
}

/// Asks `done` again and again until it says so.
///
/// # Panics
/// After `limit`, naming `what` was waited for.
pub(crate) fn wait_until(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "waited {limit:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A loopback port that nobody listens on.
///
/// Below the range from which the system takes ports of outgoing connections:
/// there, a client that keeps trying a stopped server ends up connected to
/// itself, and the server cannot come back to its port.
pub(crate) fn free_port() -> u16 {
    const FIRST: u64 = 15_000;
    const COUNT: u64 = 15_000;
    for attempt in 0..100_u32 {
        let random = RandomState::new().hash_one(attempt);
        let port = u16::try_from(FIRST + random % COUNT).expect("both fit");
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port among 100 tried from {FIRST} up");
}

/// Runs an asynchronous client call to its end.
pub(crate) fn block_on<T: Send>(call: impl Future<Output = T> + Send) -> T {
    static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("start a runtime for tests"));
    RUNTIME.block_on(call)
}
