//! Case 4: a topic gets more partitions while it is written to, and keys move.

use std::time::Duration;

use super::load::{Load, PARCELS_TOPIC, TOPIC};
use super::{World, oracle};
use crate::support::wait_until;

const EVENTS_PER_SECOND: u32 = 1_000;
const LIMIT: Duration = Duration::from_secs(60);
/// How long the load goes on before something else happens.
const GOES_ON: Duration = Duration::from_secs(3);

#[test]
fn partitions_that_are_added_under_load_lose_and_double_nothing() {
    let world = world();
    let load = Load::with_parcels(world.kafka.client(), EVENTS_PER_SECOND, 8);
    at_work(&world, || raise(&world, &load, 6));
    raise(&world, &load, 12);
    finish(&world, load);
}

/// Then keys move between the older partitions, too, and dabi is behind in all.
#[test]
fn a_count_that_is_no_multiple_of_the_former_keeps_the_order_of_keys() {
    let world = world();
    let load = Load::with_parcels(world.kafka.client(), EVENTS_PER_SECOND, 11);
    at_work(&world, || {});
    for partitions in [4, 7] {
        std::thread::sleep(GOES_ON);
        raise(&world, &load, partitions);
        at_work(&world, || {});
    }
    finish(&world, load);
}

/// A world whose dabi sees new partitions soon.
fn world() -> World {
    let mut world = World::start();
    let refresh = ("DABI_KAFKA_PROPERTIES", r#"{ "topic.metadata.refresh.interval.ms" = "1000" }"#);
    world.dabi.environment(&[refresh]);
    world
}

fn raise(world: &World, load: &Load, partitions: u8) {
    for topic in [TOPIC, PARCELS_TOPIC] {
        world.kafka.add_partitions(topic, partitions.into());
    }
    load.spread_over(partitions.into());
    std::thread::sleep(GOES_ON);
}

/// Has dabi run for a while, and something happen meanwhile.
fn at_work(world: &World, meanwhile: impl FnOnce()) {
    let mut dabi = world.dabi.start(&["run"]);
    let starts = dabi.log().matches("starts").count();
    wait_until("dabi runs", LIMIT, || dabi.log().matches("starts").count() > starts);
    std::thread::sleep(GOES_ON);
    meanwhile();
    let status = dabi.terminate(Duration::from_secs(30));
    assert!(status.success(), "{status}\n{}", dabi.log());
}

fn finish(world: &World, load: Load) {
    let outcome = load.stop();
    world.catch_up();
    oracle::check(world, &outcome);
}
