//! `dabi.calendar` in a running dabi: its days are there without any event, once,
//! and follow the settings.

use crate::reload::{LIMIT, World, put, variant};
use crate::support::guests;

/// Days, weekend days, the first and the last, as a reader finds them.
const DAYS: &str = "SELECT count(), countIf(is_weekend), min(date), max(date) FROM dabi.dim_date";

#[test]
fn the_days_are_those_of_the_settings_whatever_happens() {
    let mut world = World::new();
    let module = guests::wasm("dim_date");
    put(&world.transform("dim_date.wasm"), &module);

    let whole_year = "366\t104\t2024-01-01\t2024-12-31\n";
    set(&mut world, "2024-01-01", "2024-12-31");
    catch_up(&world);
    assert_eq!(world.clickhouse.query(DAYS), whole_year);
    let sent = rows(&world, 1);
    catch_up(&world);
    assert_eq!(rows(&world, 1), sent, "nothing has changed, so nothing is sent");

    let later = "215\t60\t2024-07-01\t2025-01-31\n";
    set(&mut world, "2024-07-01", "2025-01-31");
    catch_up(&world);
    assert_eq!(world.clickhouse.query(DAYS), later);

    // The lake has no days: a rebuild has them from where they came first.
    std::fs::remove_dir_all(world.dabi.home().join(".dabi/state")).expect("remove the state");
    catch_up(&world);
    assert_eq!(world.clickhouse.query(DAYS), later);
    // Numbered by the term: this is the fourth start.
    assert_eq!(rows(&world, 4), "215\t1\n", "a new generation has just the days that stand");

    let mut dabi = world.run();
    put(&world.transform("dim_date.wasm"), &variant(&module, 1));
    let report = world.web.wait_for("dim_date.wasm", "is reloaded", |report| {
        report["reloads"] == 1 && report["note"].is_null()
    });
    assert_eq!(report["state"], "live", "{report}");
    assert_eq!(world.clickhouse.query(DAYS), later);
    assert_eq!(world.clickhouse.query("SELECT count() FROM dabi._dead_letters").trim(), "0");
    assert!(dabi.terminate(LIMIT).success());
}

fn set(world: &mut World, from: &str, to: &str) {
    world.dabi.environment(&[("DABI_CALENDAR_FROM", from), ("DABI_CALENDAR_TO", to)]);
}

fn catch_up(world: &World) {
    let mut run = world.dabi.start(&["run", "--until-caught-up"]);
    let status = run.wait(LIMIT);
    assert!(status.success(), "{status}\n{}", run.log());
}

/// Rows that were stored in a generation of the table, and how many versions they have.
fn rows(world: &World, generation: u32) -> String {
    world.clickhouse.query(&format!("SELECT count(), uniqExact(_version) FROM dabi.dim_date__g{generation}"))
}
