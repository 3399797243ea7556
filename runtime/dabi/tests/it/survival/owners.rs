//! Case 3: an owner stands still, another takes over, the first goes on.

use std::time::Duration;

use super::load::Load;
use super::{World, oracle};
use crate::support::wait_until;

const EVENTS_PER_SECOND: u32 = 1_000;
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn an_owner_that_wakes_up_after_another_took_over_is_fenced() {
    let mut world = World::start();
    let load = Load::with_parcels(world.kafka.client(), EVENTS_PER_SECOND, 5);
    let mut first = world.dabi.start(&["run"]);
    stores(&world, 1);
    first.pause();

    // On another machine, with a state of its own to build.
    let elsewhere = world.home();
    let of_first = std::mem::replace(&mut world.dabi, elsewhere);
    let mut second = world.dabi.start(&["run"]);
    stores(&world, 2);
    first.resume();
    let status = first.wait(LIMIT);
    assert!(!status.success(), "the first goes on beside the second:\n{}", first.log());
    let log = first.log();
    // Its next manifest is refused, or its table is gone: the second has rebuilt it.
    assert!(log.contains("fenced") || log.contains("f_parcels__g1"), "it does not say why it ended:\n{log}");
    drop(of_first);

    std::thread::sleep(Duration::from_secs(5));
    assert!(second.ended().is_none(), "it ended by itself:\n{}", second.log());
    let outcome = load.stop();
    let status = second.terminate(Duration::from_secs(30));
    assert!(status.success(), "{status}\n{}", second.log());
    world.catch_up();
    oracle::check(&world, &outcome);
}

/// Waits until the owner of `term` has stored some epochs.
fn stores(world: &World, term: u32) {
    wait_until("epochs are stored", LIMIT, || {
        // There is no such table before the first start.
        let tables = world.clickhouse.query("SELECT count() FROM system.tables WHERE name = '_dabi_epochs'");
        let sql = format!("SELECT countIf(term = {term}) FROM dabi._dabi_epochs");
        tables.trim() == "1" && world.clickhouse.query(&sql).trim().parse::<u64>().expect("a count") > 5
    });
}
