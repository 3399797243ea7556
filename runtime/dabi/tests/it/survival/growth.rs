//! Case 4: a topic gets more partitions while it is written to, and keys move.

use std::time::Duration;

use super::load::{Load, PARCELS_TOPIC, TOPIC};
use super::{World, oracle};
use crate::support::wait_until;

const EVENTS_PER_SECOND: u32 = 1_000;
const LIMIT: Duration = Duration::from_secs(60);

#[test]
fn partitions_that_are_added_under_load_lose_and_double_nothing() {
    let mut world = World::start();
    let refresh = ("DABI_KAFKA_PROPERTIES", r#"{ "topic.metadata.refresh.interval.ms" = "1000" }"#);
    world.dabi.environment(&[refresh]);
    let load = Load::with_parcels(world.kafka.client(), EVENTS_PER_SECOND, 8);
    let mut dabi = world.dabi.start(&["run"]);
    wait_until("dabi runs", LIMIT, || dabi.log().contains("starts"));
    std::thread::sleep(Duration::from_secs(3));
    for partitions in [6_u8, 12] {
        for topic in [TOPIC, PARCELS_TOPIC] {
            world.kafka.add_partitions(topic, partitions.into());
        }
        load.spread_over(partitions.into());
        std::thread::sleep(Duration::from_secs(5));
    }
    let outcome = load.stop();
    let status = dabi.terminate(Duration::from_secs(30));
    assert!(status.success(), "{status}\n{}", dabi.log());
    world.catch_up();
    oracle::check(&world, &outcome);
}
