//! Case 15 and 16: ClickHouse and S3 have done what they were asked, and the
//! answer is lost.

use std::time::Duration;

use super::load::Load;
use super::{World, oracle};
use crate::support::proxy::Proxy;

const EVENTS_PER_SECOND: u32 = 1_000;

#[test]
fn answers_lost_after_the_work_was_done_lose_and_double_nothing() {
    let mut world = World::start();
    let clickhouse = Proxy::start(world.clickhouse.url().trim_start_matches("http://"));
    let minio = Proxy::start(world.minio.endpoint().trim_start_matches("http://"));
    world.dabi.environment(&[
        ("DABI_WAREHOUSE_URL", &format!("http://{}", clickhouse.address())),
        ("AWS_ENDPOINT", &format!("http://{}", minio.address())),
    ]);
    let load = Load::with_parcels(world.kafka.client(), EVENTS_PER_SECOND, 6);
    let mut dabi = world.dabi.start(&["run"]);
    std::thread::sleep(Duration::from_secs(5));
    clickhouse.lose_every(7);
    minio.lose_every(5);
    std::thread::sleep(Duration::from_secs(20));
    assert!(dabi.ended().is_none(), "it ended by itself:\n{}", dabi.log());
    clickhouse.lose_every(0);
    minio.lose_every(0);
    let outcome = load.stop();
    let status = dabi.terminate(Duration::from_secs(30));
    assert!(status.success(), "{status}\n{}", dabi.log());
    world.catch_up();
    oracle::check(&world, &outcome);
    assert!(clickhouse.lost() > 10 && minio.lost() > 5, "{} and {}", clickhouse.lost(), minio.lost());
}
