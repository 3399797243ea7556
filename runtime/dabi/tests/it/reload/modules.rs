//! Finished modules that are dropped into the folder.

use std::thread::sleep;
use std::time::Duration;

use super::{LIMIT, World, put, variant};
use crate::support::{guests, wait_until};

#[test]
fn reloads_under_load_lose_and_double_nothing() {
    const RELOADS: u8 = 20;
    let world = World::new();
    let orders = guests::wasm("orders");
    put(&world.transform("orders.wasm"), &orders);
    let mut dabi = world.run();
    let load = world.load(1);
    wait_until("events flow", LIMIT, || !world.web.report_of("orders.wasm")["first_batch_ms"].is_null());
    let first = world.web.report_of("orders.wasm")["module"].clone();
    for number in 1..=RELOADS {
        put(&world.transform("orders.wasm"), &variant(&orders, number));
        world.web.wait_for("orders.wasm", "is reloaded and has seen events", |report| {
            report["reloads"] == number && !report["first_batch_ms"].is_null()
        });
    }
    let outcome = load.stop();
    world.expect_star(&outcome);
    let report = world.web.report_of("orders.wasm");
    assert_eq!(report["state"], "live");
    assert_ne!(report["module"], first);
    assert!(report["note"].as_str().unwrap().contains("still under the previous version"), "{report}");
    assert_eq!(world.web.report().unwrap()["reloads"], RELOADS);
    // Older rows are not the module's own, so it is not claimed, and the next
    // start replays the lake through it.
    assert_eq!(world.claimed().trim(), "{}");
    assert!(dabi.terminate(LIMIT).success());
    let mut next = world.run();
    wait_until("the start claims the module", LIMIT, || world.claimed().contains("orders"));
    assert!(next.log().contains("bringing its tables up from the lake"), "{}", next.log());
    world.expect_star(&outcome);
    assert!(next.terminate(LIMIT).success());
}

#[test]
fn a_new_transform_gets_the_older_rows_from_the_lake_while_events_go_on() {
    let world = World::new();
    let mut dabi = world.run();
    let load = world.load(2);
    wait_until("events flow", LIMIT, || world.web.counter("dabi_epochs_total") > 20);
    put(&world.transform("orders.wasm"), &guests::wasm("orders"));
    world.web.wait_for("orders.wasm", "has all rows", |report| {
        report["state"] == "live" && report["note"].is_null()
    });
    wait_until("an epoch claims it", LIMIT, || world.claimed().contains("orders"));

    // Away and back: what happened meanwhile is filled in.
    std::fs::remove_file(world.transform("orders.wasm")).unwrap();
    world.web.wait_for("orders.wasm", "is retired", |report| report["state"] == "retired");
    sleep(Duration::from_secs(2));
    put(&world.transform("orders.wasm"), &variant(&guests::wasm("orders"), 1));
    world.web.wait_for("orders.wasm", "has all rows", |report| {
        report["state"] == "live" && report["note"].is_null()
    });
    let outcome = load.stop();
    world.expect_star(&outcome);
    assert!(dabi.terminate(LIMIT).success());
}

#[test]
fn what_is_no_module_is_told_and_the_old_one_goes_on() {
    let world = World::new();
    let orders = guests::wasm("orders");
    put(&world.transform("orders.wasm"), &orders);
    let mut dabi = world.run();
    let load = world.load(4);
    let live = world.web.report_of("orders.wasm")["module"].clone();

    put(&world.transform("orders.wasm"), b"#!/bin/sh");
    let report = world.web.wait_for("orders.wasm", "has failed", |report| report["state"] == "failed");
    assert!(report["reason"].as_str().unwrap().contains("not a WASM file"), "{report}");
    assert_eq!(report["module"], live, "the old one goes on");

    put(&world.transform("again.wasm"), &variant(&orders, 1));
    let report = world.web.wait_for("again.wasm", "is refused", |report| report["state"] == "failed");
    assert!(report["reason"].as_str().unwrap().contains("two transforms have the name"), "{report}");
    std::fs::remove_file(world.transform("again.wasm")).unwrap();
    world.web.wait_for("again.wasm", "is forgotten", serde_json::Value::is_null);

    // The first half for longer than it takes to be refused, then all of it.
    let whole = variant(&orders, 2);
    std::fs::write(world.transform("orders.wasm"), &whole[..whole.len() / 2]).unwrap();
    world.web.wait_for("orders.wasm", "has failed on half a file", |report| {
        report["reason"].as_str().is_some_and(|reason| !reason.contains("not a WASM file"))
    });
    std::fs::write(world.transform("orders.wasm"), &whole).unwrap();
    world
        .web
        .wait_for("orders.wasm", "is mended", |report| report["state"] == "live" && report["reloads"] == 1);

    let outcome = load.stop();
    world.expect_star(&outcome);
    assert!(dabi.terminate(LIMIT).success());
}

#[test]
fn a_module_that_is_written_slowly_is_taken_up_once_and_without_an_error() {
    let world = World::new();
    let orders = guests::wasm("orders");
    put(&world.transform("orders.wasm"), &orders);
    let mut dabi = world.run();
    let whole = variant(&orders, 1);
    let mut file = std::fs::File::create(world.transform("orders.wasm")).unwrap();
    for part in whole.chunks(whole.len() / 20) {
        std::io::Write::write_all(&mut file, part).unwrap();
        sleep(Duration::from_millis(20));
    }
    drop(file);
    let report = world.web.wait_for("orders.wasm", "is reloaded", |report| report["reloads"] == 1);
    assert_eq!(report["state"], "live");
    assert!(!dabi.log().contains("not taken up"), "{}", dabi.log());
    assert!(dabi.terminate(LIMIT).success());
}

#[test]
fn a_folder_that_is_away_for_a_moment_changes_nothing_and_for_longer_retires() {
    let world = World::new();
    put(&world.transform("orders.wasm"), &guests::wasm("orders"));
    let mut dabi = world.run();
    let load = world.load(5);
    let (here, away) = (world.dabi.home().join("transforms"), world.dabi.home().join("away"));
    let live = world.web.report_of("orders.wasm");
    std::fs::rename(&here, &away).unwrap();
    std::fs::rename(&away, &here).unwrap();
    sleep(Duration::from_secs(1));
    assert_eq!(world.web.report_of("orders.wasm")["module"], live["module"]);

    std::fs::rename(&here, &away).unwrap();
    world.web.wait_for("orders.wasm", "is retired", |report| report["state"] == "retired");
    std::fs::create_dir(&here).unwrap();
    std::fs::copy(away.join("orders.wasm"), here.join("orders.wasm")).unwrap();
    world.web.wait_for("orders.wasm", "has returned with all rows", |report| {
        report["state"] == "live" && report["note"].is_null()
    });
    let outcome = load.stop();
    world.expect_star(&outcome);
    assert!(dabi.terminate(LIMIT).success());
}
