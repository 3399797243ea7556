use std::time::Duration;

use super::load::{Load, Random};
use super::{World, oracle};

const KILLS: u32 = 20;
const EVENTS_PER_SECOND: u32 = 1_000;

#[test]
fn killed_at_random_moments_under_load_it_loses_and_doubles_nothing() {
    let world = World::start();
    let load = Load::with_parcels(world.kafka.client(), EVENTS_PER_SECOND, 1);
    let mut random = Random(7);
    for _ in 0..KILLS {
        let mut dabi = world.dabi.start(&["run"]);
        // From the middle of its start to the middle of its work.
        std::thread::sleep(Duration::from_millis(300 + random.below(2_500)));
        assert!(dabi.ended().is_none(), "it ended by itself:\n{}", dabi.log());
        dabi.kill();
    }
    let outcome = load.stop();
    world.catch_up();
    oracle::check(&world, &outcome);
    // The kills must have hit work, not only starts.
    let terms = world.clickhouse.query("SELECT uniqExact(term) FROM dabi._dabi_epochs");
    let terms: u32 = terms.trim().parse().expect("a number");
    assert!(terms >= KILLS / 4, "only {terms} of {KILLS} processes lived long enough to store an epoch");
}

#[test]
fn stopped_by_a_signal_it_drains_and_the_next_continues() {
    let world = World::start();
    let load = Load::with_parcels(world.kafka.client(), EVENTS_PER_SECOND, 2);
    for _ in 0..3 {
        let mut dabi = world.dabi.start(&["run"]);
        std::thread::sleep(Duration::from_secs(4));
        let status = dabi.terminate(Duration::from_secs(15));
        assert!(status.success(), "{status}\n{}", dabi.log());
    }
    let outcome = load.stop();
    world.catch_up();
    oracle::check(&world, &outcome);
}
