//! Source projects that are saved.

use std::time::Duration;

use super::{LIMIT, World};
use crate::support::project::SourceProject;
use crate::support::wait_until;

/// A piece of the source of `orders`.
const NOTE: &str = "order.note.filter(|note| !note.trim().is_empty())";
const DATE_KEY: &str = "order.placed_at.date().key()";

/// What stands in its place, so that an order without a note gets `note`.
fn noting(note: &str) -> String {
    format!("Some({note:?}).or(order.note)")
}

#[test]
fn a_saved_source_is_built_and_taken_up_and_a_broken_one_is_told() {
    let mut world = World::new();
    world.dabi.environment(&SourceProject::environment());
    let orders = SourceProject::copy_of("orders", &world.transform("orders"));
    let mut dabi = world.run();
    let load = world.load(6);
    let report = world.web.report_of("orders");
    assert_eq!((&report["state"], &report["language"]), (&"live".into(), &"Rust".into()), "{report}");
    let notes = |note: &str| {
        let sql = format!("SELECT count() FROM dabi.f_orders WHERE note = '{note}'");
        world.clickhouse.query(&sql).trim() != "0"
    };

    // An error is told with file and line, and the module from before goes on.
    orders.edit("passed()", "pass()");
    let report = world.web.wait_for("orders", "has failed", |report| report["state"] == "failed");
    let error = report["last_build"]["error"].as_str().unwrap();
    assert!(
        error.contains("transforms/orders/src/lib.rs:") && error.contains("cannot find function `pass`"),
        "{error}"
    );
    assert!(!report["module"].is_null(), "the module from before goes on");
    assert!(dabi.log().contains("cannot find function `pass`"));

    // A storm of saves ends in one build, or in two if it outlasts the first.
    let before = world.web.counter("dabi_builds_total{kind=\"ok\"}");
    for number in 0..100 {
        orders.edit(NOTE, &noting(&format!("storm {number}")));
        std::thread::sleep(Duration::from_millis(2));
    }
    wait_until("the last save is in the star", LIMIT, || notes("storm 99"));
    let report = world.web.wait_for("orders", "is live", |report| report["state"] == "live");
    assert!(report["last_build"]["took_ms"].as_u64().unwrap() > 0, "{report}");
    let builds = world.web.counter("dabi_builds_total{kind=\"ok\"}") - before;
    assert!((1..=2).contains(&builds), "{builds} builds");

    // Two saves during a build: the last one counts.
    orders.edit(NOTE, &noting("first"));
    world.web.wait_for("orders", "is building", |report| report["state"] == "building");
    orders.edit(NOTE, &noting("second"));
    orders.edit(NOTE, &noting("third"));
    wait_until("the third save is in the star", LIMIT, || notes("third"));

    // A column of another type does not fit the table.
    let live = world.web.wait_for("orders", "is live", |report| report["state"] == "live")["module"].clone();
    orders.edit_all(&[
        (NOTE, &noting("wide")),
        ("date_key: Option<i32>", "date_key: Option<i64>"),
        (DATE_KEY, &format!("{DATE_KEY}.map(i64::from)")),
    ]);
    let report = world.web.wait_for("orders", "is refused", |report| report["state"] == "failed");
    let reason = report["reason"].as_str().unwrap();
    assert!(reason.contains("date_key") && reason.contains("f_orders__g1"), "{reason}");
    assert_eq!(report["module"], live);

    let outcome = load.stop();
    world.expect_star(&outcome);
    assert!(!notes("wide"));
    assert!(dabi.terminate(LIMIT).success());
}
