//! The helper's life: one URL and password for all of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use clickhouse::Client;
use dabi::warehouse::embedded::EmbeddedClickHouse;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::support::{block_on, wait_until};

pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn client(engine: &EmbeddedClickHouse) -> Client {
    Client::default().with_url(engine.url()).with_user(engine.user()).with_password(engine.password())
}

/// The helper on `folder`: its lock names it.
pub(super) fn helper(folder: &Path) -> Pid {
    let text = fs::read_to_string(folder.join("dabi-clickhouse.lock")).unwrap();
    Pid::from_raw(text.trim().parse().unwrap()).unwrap()
}

fn runs(helper: Pid) -> bool {
    test_kill_process(helper).is_ok()
}

#[test]
fn it_comes_back_under_the_same_url_and_password() {
    let folder = tempfile::tempdir().unwrap();
    let engine = block_on(EmbeddedClickHouse::start(folder.path())).unwrap();
    let client = client(&engine);
    block_on(client.query("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a").execute()).unwrap();
    block_on(client.query("INSERT INTO t VALUES (7)").execute()).unwrap();
    for _ in 0..3 {
        let killed = helper(folder.path());
        kill_process(killed, Signal::KILL).unwrap();
        wait_until("it answers again", PATIENCE, || {
            block_on(client.query("SELECT a FROM t").fetch_one::<i8>()).is_ok_and(|a| a == 7)
        });
        assert_ne!(helper(folder.path()), killed);
    }
    block_on(engine.stop());
}

#[test]
fn it_ends_when_stopped_and_when_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let engine = block_on(EmbeddedClickHouse::start(folder.path())).unwrap();
    let process = helper(folder.path());
    block_on(engine.stop());
    assert!(!runs(process));
    let engine = block_on(EmbeddedClickHouse::start(folder.path())).unwrap();
    let process = helper(folder.path());
    drop(engine);
    wait_until("it has ended", PATIENCE, || !runs(process));
}

#[test]
fn a_folder_in_use_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let engine = block_on(EmbeddedClickHouse::start(folder.path())).unwrap();
    let error = block_on(EmbeddedClickHouse::start(folder.path())).unwrap_err().to_string();
    assert!(error.contains("in use by process") && error.contains("choose another folder"), "{error}");
    block_on(engine.stop());
}
