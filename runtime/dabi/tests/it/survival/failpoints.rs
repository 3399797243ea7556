//! Case 1: `kill -9` at every failpoint around batch, fsync, insert, manifest,
//! and around all that a start and a reload do.
//!
//! A process is started with the point at which it is to die, under load, and must
//! die there by itself. After every two deaths the load rests, dabi catches up, and
//! star and lake are held against the source: later events would hide what an
//! earlier kill has lost, and a rebuild all of it.

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use dabi::failpoint::Failpoint::{self, *};

use super::load::{Load, Outcome};
use super::{World, oracle};
use crate::reload::{put, variant};
use crate::support::process::Process;
use crate::support::{guests, wait_until};

const EVENTS_PER_SECOND: u32 = 1_000;
const LIMIT: Duration = Duration::from_secs(60);
const DEATHS_PER_ORACLE: usize = 2;

/// Points that are tried one after the other, each with how often it is come to.
type Points = &'static [(Failpoint, u32)];

const EPOCH: Points = &[
    (EpochClosed, 7),
    (EpochHalfHanded, 8),
    (RowsUnsent, 6),
    (TableSent, 9),
    (RowsSent, 8),
    (EpochUnrecorded, 6),
    (EpochRecorded, 7),
    (GroupMirrored, 2),
];
const LAKE: Points =
    &[(UploadDue, 5), (Uploaded, 4), (ManifestDue, 3), (ManifestCommitted, 2), (ManifestsCheckpointed, 1)];
const STATE: Points = &[
    (StateUnwritten, 6),
    (StateUnsynced, 7),
    (StateUnmarked, 6),
    (StateCommitted, 7),
    // After its beginning: on disk nothing is between that and its end.
    (CheckpointHalfWritten, 1),
    (CheckpointUnnamed, 1),
    (CheckpointNamed, 1),
    (LogRemoved, 1),
];
const TAKEOVER: Points = &[
    (TermClaimed, 1),
    (LakeTakenOver, 1),
    (StarTakenOver, 1),
    (BroughtUp, 1),
    // This leaves two outboxes at least: what is sent is told with the next commit.
    (EpochRecorded, 5),
    (OutboxResent, 1),
];
const REBUILD: Points =
    &[(ReplayedPage, 2), (RebuiltPage, 2), (ViewsDue, 1), (ViewsSwitched, 1), (DropDue, 1)];
/// Of two modules that are dropped in, one with row state.
const SWITCH: Points = &[(SwitchDue, 1), (SwitchDue, 2), (Switched, 1), (Switched, 2)];
const FILL: Points = &[(FilledPage, 2), (FillDone, 1)];

#[test]
fn every_failpoint_is_tried() {
    let tried: BTreeSet<Failpoint> = [EPOCH, LAKE, STATE, TAKEOVER, REBUILD, SWITCH, FILL]
        .iter()
        .copied()
        .flatten()
        .map(|(point, _)| *point)
        .collect();
    assert_eq!(tried, Failpoint::ALL.iter().copied().collect());
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn killed_at_every_point_of_an_epoch_it_loses_and_doubles_nothing() {
    let in_memory = &[(CheckpointHalfWritten, 2)];
    check(&[], &[EPOCH, LAKE, STATE, in_memory]);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn killed_at_every_point_of_an_epoch_with_its_state_on_disk_it_loses_and_doubles_nothing() {
    check(&[("DABI_STATE_STORE", "disk")], &[STATE]);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn killed_at_every_point_of_a_start_it_loses_and_doubles_nothing() {
    check(&[], &[&[(EpochRecorded, 30)], TAKEOVER, REBUILD]);
}

#[test]
#[cfg_attr(not(debug_assertions), ignore = "a release build has no failpoints")]
fn killed_at_every_point_of_a_reload_it_loses_and_doubles_nothing() {
    check(&[], &[&[(EpochRecorded, 30)], SWITCH, FILL]);
}

/// Dies at the points of each of `groups` under load, and then asks the oracle.
fn check(environment: &[(&str, &str)], groups: &[Points]) {
    let mut world = World::start();
    // So little of everything that what comes now and then comes soon.
    world.dabi.environment(&[
        ("DABI_LIMITS_EPOCH_ROWS_MAX", "500"),
        ("DABI_LIMITS_LAKE", "{ flush_age_ms = 300, checkpoint_every = 4 }"),
        ("DABI_STATE_LOG_BYTES_MIN", "100_000"),
    ]);
    world.dabi.environment(environment);
    let (mut outcome, mut deaths) = (Outcome::empty(), 0);
    let points = groups.iter().flat_map(|group| group.chunks(DEATHS_PER_ORACLE));
    for (seed, points) in (1..).zip(points) {
        let load = Load::with_unusable_orders(world.kafka.client(), EVENTS_PER_SECOND, outcome, seed);
        for (point, nth) in points {
            deaths += 1;
            die_at(&world, *point, *nth, deaths);
        }
        outcome = load.stop();
        world.catch_up();
        oracle::check(&world, &outcome);
    }
}

/// Starts dabi and waits until it has died at `point`; `number` tells modules apart.
fn die_at(world: &World, point: Failpoint, nth: u32, number: u8) {
    let kill_at = format!("{point:?}:{nth}");
    before_start(world, point, number);
    let mut dabi = world.dabi.start_with(&["run"], &[("DABI_KILL_AT", &kill_at)]);
    while_running(world, point, number, &dabi);
    let mut status = None;
    wait_until(&format!("dabi dies at {kill_at}"), LIMIT, || {
        status = dabi.ended();
        status.is_some()
    });
    let (signal, log) = (status.and_then(|status| status.signal()), dabi.log());
    let last = log.lines().rfind(|line| line.starts_with("killed at failpoint"));
    assert_eq!((signal, last), (Some(9), Some(&*format!("killed at failpoint {kill_at}"))), "{status:?}");
}

/// What must have happened for a start to come to `point`.
fn before_start(world: &World, point: Failpoint, number: u8) {
    let home = world.dabi.home();
    match point {
        ReplayedPage => put_module(world, "orders", number),
        RebuiltPage | ViewsDue | ViewsSwitched | DropDue => {
            std::fs::remove_dir_all(home.join(".dabi/state")).expect("lose the row state");
        }
        FilledPage | FillDone => {
            std::fs::remove_file(home.join("transforms/orders.wasm")).expect("take a transform away");
        }
        _ => {}
    }
}

/// What must happen for a running dabi to come to `point`.
fn while_running(world: &World, point: Failpoint, number: u8, dabi: &Process) {
    let modules: &[&str] = match point {
        SwitchDue | Switched => &["orders", "parcels"],
        FilledPage | FillDone => &["orders"],
        _ => return,
    };
    let log_before = dabi.log().len();
    wait_until("dabi runs", LIMIT, || dabi.log()[log_before..].contains("starts"));
    for name in modules {
        put_module(world, name, number);
    }
}

fn put_module(world: &World, name: &str, number: u8) {
    let file = world.dabi.home().join(format!("transforms/{name}.wasm"));
    put(&file, &variant(&guests::wasm(name), number));
}
