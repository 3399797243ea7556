//! Kill -9 in the midst of commits, again and again, on one folder.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use fastrand::Rng;

use super::model::Model;
use super::*;

const FOLDER: &str = "DABI_TEST_STATE_FOLDER";
const KIND: &str = "DABI_TEST_STATE_KIND";

/// What is killed: commits without end, and says which are durable.
#[test]
#[ignore = "run and killed by the tests below"]
fn child() {
    let folder = PathBuf::from(std::env::var_os(FOLDER).expect("run by the tests below"));
    let kind = if std::env::var(KIND).is_ok_and(|kind| kind == "disk") {
        StoreKind::Disk
    } else {
        StoreKind::Memory
    };
    let (mut store, opened) = open(kind, &folder);
    assert!(!matches!(opened, Opened::Rebuild { .. }), "{opened:?}");
    let last = store.committed().map_or(0, |last| last.epoch.0);
    println!("\nopen");
    for number in last + 1.. {
        store.commit(&workload::epoch(number)).unwrap();
        println!("durable {number}");
    }
}

fn survives_kills(kind: StoreKind, name: &str, kills: u64) {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::default();
    let mut known = 0;
    for kill in 0..kills {
        let last = known;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "state::tests::kills::child", "--ignored", "--nocapture"])
            .env(FOLDER, folder.path())
            .env(KIND, name)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while line != "open\n" {
            line.clear();
            assert!(lines.read_line(&mut line).unwrap() > 0, "the child failed");
        }
        std::thread::sleep(Duration::from_millis(Rng::with_seed(kill).u64(0..150)));
        child.kill().unwrap();
        child.wait().unwrap();
        let mut said = String::new();
        lines.read_to_string(&mut said).unwrap();
        // the last line may be cut
        let durable = said
            .split_inclusive('\n')
            .filter_map(|line| line.strip_prefix("durable ")?.strip_suffix('\n')?.parse().ok())
            .max();
        known = durable.unwrap_or(known);

        let (store, opened) = open(kind, folder.path());
        assert!(matches!(opened, Opened::Recovered { .. }), "{opened:?}");
        let committed = store.committed().map_or(0, |last| last.epoch.0);
        assert!(committed == known || committed == known + 1, "{committed} of {known}");
        (last + 1..=committed).for_each(|number| model.commit(&workload::epoch(number)));
        model.check(&*store);
        known = committed;
    }
    assert!(known > 20, "only {known} epochs in {kills} kills");
}

#[test]
fn memory_survives_kills() {
    survives_kills(StoreKind::Memory, "memory", 12);
}

#[test]
fn disk_survives_kills() {
    survives_kills(StoreKind::Disk, "disk", 6);
}
