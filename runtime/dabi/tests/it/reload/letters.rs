//! Dead letters of a module that is replaced: what it could not use may be of use
//! to the one after it, and is tried again without being asked for.

use dabi::lake::{Lake, LakeSettings};

use super::{LIMIT, World, put};
use crate::support::lake::manifests;
use crate::support::project::SourceProject;
use crate::support::shop_events::{GOOD, ShopEvents, TOO_EARLY};
use crate::support::{block_on, guests, wait_until};

/// Before the epoch, where the edited transform gives up.
const OLD: &str = "1969-07-20T20:17:40Z";

/// The one line of `sql`.
fn ask(world: &World, sql: &str) -> String {
    world.clickhouse.query(sql).trim().to_owned()
}

/// What the open letters are of.
fn letters(world: &World) -> Vec<String> {
    let keys = world.clickhouse.query("SELECT key FROM dabi._dead_letters ORDER BY key FORMAT TabSeparated");
    keys.lines().map(str::to_owned).collect()
}

#[test]
fn a_saved_module_is_given_the_rows_that_the_one_before_could_not_use() {
    let mut world = World::new();
    world.dabi.environment(&SourceProject::environment());
    let project = SourceProject::copy_of("orders", &world.transform("orders"));
    let placed = "order.placed_at.date().key()";
    project.edit(placed, &format!("{{ assert!(order.placed_at.micros() > 0); {placed} }}"));
    let mut dabi = world.run();
    let mut shop = ShopEvents::new(world.broker.address());
    for (id, placed_at) in [(1, GOOD), (2, OLD), (3, OLD), (4, OLD)] {
        shop.order("c", id, placed_at);
    }
    wait_until("three letters are open", LIMIT, || letters(&world) == ["2", "3", "4"]);
    // Repaired in the source, and so not to be tried.
    shop.order("u", 4, GOOD);
    wait_until("two letters are open", LIMIT, || letters(&world) == ["2", "3"]);
    assert_eq!(ask(&world, "SELECT count() FROM dabi.f_orders"), "2");

    project.restore();
    wait_until("no letter is open", LIMIT, || letters(&world).is_empty());
    assert_eq!(
        world.clickhouse.query("SELECT id, toYear(placed_at) FROM dabi.f_orders ORDER BY id FORMAT CSV"),
        "1,2025\n2,1969\n3,1969\n4,2025\n"
    );
    assert!(dabi.log().contains("dead letters are tried again"), "{}", dabi.log());
    assert!(dabi.terminate(LIMIT).success(), "{}", dabi.log());
}

/// Where every change is kept, a letter is of one change: neither the row's next
/// event nor another module's rows of other changes end it.
#[test]
fn of_kept_changes_each_has_its_own_letter_until_a_saved_module_takes_it() {
    let mut world = World::new();
    world.dabi.environment(&SourceProject::environment());
    let project = SourceProject::copy_of("order_changes", &world.transform("order_changes"));
    project.edit("op: change.op,", r#"op: { assert_ne!(change.op, "d"); change.op },"#);
    let mut dabi = world.run();
    let mut shop = ShopEvents::new(world.broker.address());
    for (op, id) in [("c", 1), ("u", 1), ("d", 1), ("c", 1), ("c", 2), ("d", 2), ("d", 1)] {
        shop.order(op, id, GOOD);
    }
    let kept = || {
        let changes = "SELECT id, op, count() FROM dabi.order_changes GROUP BY ALL ORDER BY ALL FORMAT CSV";
        world.clickhouse.query(changes).replace('"', "")
    };
    wait_until("three letters are open", LIMIT, || letters(&world).len() == 3);
    let rows: Vec<String> = letters(&world)
        .iter()
        .map(|key| key.split(" change ").next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(rows, ["1", "1", "2"]);
    assert_eq!(kept(), "1,c,2\n1,u,1\n2,c,1\n");
    assert_eq!(ask(&world, "SELECT count() FROM dabi.order_sightings"), "6");

    project.restore();
    wait_until("no letter is open", LIMIT, || letters(&world).is_empty());
    assert_eq!(kept(), "1,c,2\n1,d,2\n1,u,1\n2,c,1\n2,d,1\n");
    assert_eq!(ask(&world, "SELECT count() FROM dabi.order_sightings"), "6");

    // Without an LSN an event that is sent again cannot be known; that is said once.
    let warnings = |log: &str| log.matches("have no LSN or no key").count();
    assert_eq!(warnings(&dabi.log()), 0, "{}", dabi.log());
    shop.leave_lsn_out();
    for id in [3, 4] {
        shop.order("c", id, GOOD);
        wait_until("its change is kept", LIMIT, || kept().contains(&format!("{id},c,1")));
    }
    assert_eq!(warnings(&dabi.log()), 1, "{}", dabi.log());
    assert!(dabi.terminate(LIMIT).success(), "{}", dabi.log());
}

/// What is brought up from the lake has letters as any event has: those of a start,
/// with and without row state, and those of a transform that comes later.
#[test]
fn letters_of_older_events_are_in_the_lake_too() {
    let world = World::new();
    let mut shop = ShopEvents::new(world.broker.address());
    for (id, placed_at) in [(1, GOOD), (2, TOO_EARLY), (3, TOO_EARLY)] {
        shop.order("c", id, placed_at);
    }
    shop.parcel(1, "1");
    shop.parcel(2, r#""no number""#);
    let caught_up = || {
        let (code, _, log) = world.dabi.ask(&["run", "--until-caught-up"], LIMIT);
        assert_eq!(code, 0, "{log}");
    };
    let in_lake = || {
        let url = world.dabi.home().join("lake").display().to_string();
        let lake = Lake::open(&LakeSettings::at(&url)).unwrap();
        let manifests = block_on(manifests(&lake));
        manifests.iter().flat_map(|manifest| &manifest.dead_letters).map(|file| file.rows).sum::<u64>()
    };
    caught_up();
    assert_eq!(in_lake(), 0, "no transform, no letter");

    for name in ["orders", "parcels"] {
        put(&world.transform(&format!("{name}.wasm")), &guests::wasm(name));
    }
    caught_up();
    assert_eq!((letters(&world), in_lake()), (vec!["2".into(), "2".into(), "3".into()], 3));

    std::fs::remove_file(world.transform("orders.wasm")).unwrap();
    let mut dabi = world.run();
    put(&world.transform("orders.wasm"), &guests::wasm("orders"));
    wait_until("both orders are refused once more", LIMIT, || in_lake() == 5);
    assert!(dabi.log().contains("filled f_orders with 3 older events"), "{}", dabi.log());
    assert!(dabi.terminate(LIMIT).success(), "{}", dabi.log());
}
