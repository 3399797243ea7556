//! Case 19: killed before, while and after a module is switched to.

use std::thread::sleep;
use std::time::Duration;

use super::{LIMIT, World, put, variant};
use crate::support::load::{PARCELS_STAR, Random};
use crate::support::{guests, wait_until};

const KILLS: u8 = 10;

#[test]
fn killed_around_reloads_it_loses_and_doubles_nothing() {
    let world = World::new();
    let modules = ["orders", "parcels"].map(|name| (format!("{name}.wasm"), guests::wasm(name)));
    for (file, module) in &modules {
        put(&world.transform(file), module);
    }
    let load = world.load_with_parcels(9);
    let mut random = Random(11);
    for number in 1..=KILLS {
        let mut dabi = world.run();
        for (file, module) in &modules {
            put(&world.transform(file), &variant(module, number));
        }
        // A module takes about half a second to be switched to.
        sleep(Duration::from_millis(random.below(1_500)));
        assert!(dabi.ended().is_none(), "it ended by itself:\n{}", dabi.log());
        dabi.kill();
    }
    let mut dabi = world.run();
    let outcome = load.stop();
    world.expect_star(&outcome);
    let parcels = outcome.parcels_star();
    wait_until("the parcels are those of the source", LIMIT, || {
        world.clickhouse.query(PARCELS_STAR) == parcels
    });
    assert!(dabi.terminate(LIMIT).success());
    // Some kills must have come after a switch, and some before one.
    let switches = usize::from(KILLS) * modules.len();
    let reloads = dabi.log().matches("reloaded ").count();
    assert!(0 < reloads && reloads < switches, "{reloads} of {switches} switches were done");
}
