use std::time::{Duration, Instant};

use super::load::Load;
use super::{World, oracle};
use crate::support::process::{Process, Server};
use crate::support::wait_until;

const OUTAGE: Duration = Duration::from_secs(60);
const EVENTS_PER_SECOND: u32 = 2_000;
const RESIDENT_MAX: u64 = 400 << 20;

#[test]
fn an_outage_of_each_neighbour_under_load_loses_and_doubles_nothing() {
    let mut world = World::start();
    let load = Load::with_parcels(world.kafka.client(), EVENTS_PER_SECOND, 3);
    let mut dabi = world.dabi.start(&["run"]);
    wait_until("dabi runs", Duration::from_secs(60), || dabi.log().contains("starts"));

    outage(&mut world.clickhouse.server, &mut dabi, "waiting for ClickHouse");
    outage(&mut world.minio.server, &mut dabi, "waiting for the lake's store");
    outage(&mut world.kafka.server, &mut dabi, "Kafka");

    let outcome = load.stop();
    let status = dabi.terminate(Duration::from_secs(30));
    assert!(status.success(), "{status}\n{}", dabi.log());
    world.catch_up();
    oracle::check(&world, &outcome);
}

/// A minute without `server`; meanwhile dabi lives, says what it waits for, and
/// stays within its memory.
fn outage(server: &mut Server, dabi: &mut Process, says: &str) {
    let log_before = dabi.log().len();
    server.kill();
    let start = Instant::now();
    while start.elapsed() < OUTAGE {
        assert!(dabi.ended().is_none(), "it ended by itself:\n{}", dabi.log());
        let resident = dabi.resident_bytes();
        assert!(resident < RESIDENT_MAX, "{} MB resident while {says}", resident >> 20);
        std::thread::sleep(Duration::from_millis(500));
    }
    let said = dabi.log()[log_before..].to_owned();
    assert!(said.contains(says), "the log does not say {says:?}:\n{said}");
    server.restart();
    // Time to come back before the next one goes.
    std::thread::sleep(Duration::from_secs(10));
}
