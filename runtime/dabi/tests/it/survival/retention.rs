//! Case 20: Kafka has deleted what dabi has not read.

use std::time::Duration;

use super::load::{Load, PARCELS_TOPIC, TOPIC};
use super::{World, oracle};

const EVENTS_PER_SECOND: u32 = 1_000;

#[test]
fn records_that_are_gone_halt_it_and_a_new_snapshot_makes_it_right() {
    let mut world = World::start();
    let load = Load::with_parcels(world.kafka.client(), EVENTS_PER_SECOND, 10);
    let mut dabi = world.dabi.start(&["run"]);
    std::thread::sleep(Duration::from_secs(5));
    assert!(dabi.terminate(Duration::from_secs(30)).success(), "{}", dabi.log());
    std::thread::sleep(Duration::from_secs(2));
    let outcome = load.stop();
    let position = "SELECT position FROM dabi._dabi_epochs ORDER BY term DESC, epoch DESC LIMIT 1";
    let before = world.clickhouse.query(position);
    for topic in [TOPIC, PARCELS_TOPIC] {
        world.kafka.delete_records(topic);
    }
    let mut halted = world.dabi.start(&["run"]);
    assert!(!halted.wait(Duration::from_secs(60)).success(), "it skips what is gone:\n{}", halted.log());
    assert!(halted.log().contains("retention has deleted records"), "{}", halted.log());
    assert_eq!(world.clickhouse.query(position), before, "nothing was skipped");

    // As the message says: a new snapshot, with a new lake, state and star.
    outcome.snapshot(&world.kafka.client());
    world.dabi = world.home();
    world.dabi.environment(&[("DABI_LAKE_URL", "s3://lake/again")]);
    world.clickhouse.query("DROP DATABASE dabi");
    world.catch_up();
    oracle::check_star(&world, &outcome);
}
