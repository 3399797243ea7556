//! Source projects that are saved.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{LIMIT, World, put};
use crate::support::wait_until;

/// The source of the transform `orders`, as a project that stands alone.
struct Orders {
    dir: PathBuf,
    source: String,
}

impl Orders {
    fn write(dir: PathBuf) -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("src")).unwrap();
        let manifest = format!(
            "[package]\nname = \"saved_orders\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
             [lib]\ncrate-type = [\"cdylib\"]\n\
             [dependencies]\ndabi-sdk = {{ path = {:?} }}\n\
             [workspace]\n",
            workspace.join("guest-sdk/rust")
        );
        std::fs::write(dir.join("Cargo.toml"), manifest).unwrap();
        std::fs::copy(workspace.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
        let source =
            std::fs::read_to_string(workspace.join("runtime/fixtures/transforms/orders/src/lib.rs")).unwrap();
        let this = Self { dir, source };
        this.save(&this.source);
        this
    }

    /// Saves the source as vim and VS Code do, by renaming.
    fn save(&self, source: &str) {
        put(&self.dir.join("src/lib.rs"), source.as_bytes());
    }

    /// The source with the customer's note replaced by `note`.
    fn noting(&self, note: &str) -> String {
        let from = "order.note.filter(|note| !note.trim().is_empty())";
        assert!(self.source.contains(from));
        self.source.replace(from, &format!("Some({note:?}).or(order.note)"))
    }
}

#[test]
fn a_saved_source_is_built_and_taken_up_and_a_broken_one_is_told() {
    let mut world = World::new();
    // The dependencies are built there already.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().display().to_string();
    world.dabi.environment(&[("CARGO_TARGET_DIR", &target), ("CARGO_NET_OFFLINE", "true")]);
    let orders = Orders::write(world.transform("orders"));
    let mut dabi = world.run();
    let load = world.load(6);
    let report = world.report_of("orders");
    assert_eq!((&report["state"], &report["language"]), (&"live".into(), &"Rust".into()), "{report}");
    let notes = |note: &str| {
        let sql = format!("SELECT count() FROM dabi.f_orders WHERE note = '{note}'");
        world.clickhouse.query(&sql).trim() != "0"
    };

    // An error is told with file and line, and the module from before goes on.
    orders.save(&orders.source.replace("passed()", "pass()"));
    let report = world.wait_for("orders", "has failed", |report| report["state"] == "failed");
    let error = report["last_build"]["error"].as_str().unwrap();
    assert!(
        error.contains("transforms/orders/src/lib.rs:") && error.contains("cannot find function `pass`"),
        "{error}"
    );
    assert!(!report["module"].is_null(), "the module from before goes on");
    assert!(dabi.log().contains("cannot find function `pass`"));

    // A storm of saves ends in one build, or in two if it outlasts the first.
    let before = world.counter("dabi_builds_total{kind=\"ok\"} ");
    for number in 0..100 {
        orders.save(&orders.noting(&format!("storm {number}")));
        std::thread::sleep(Duration::from_millis(2));
    }
    wait_until("the last save is in the star", LIMIT, || notes("storm 99"));
    let report = world.wait_for("orders", "is live", |report| report["state"] == "live");
    assert!(report["last_build"]["took_ms"].as_u64().unwrap() > 0, "{report}");
    let builds = world.counter("dabi_builds_total{kind=\"ok\"} ") - before;
    assert!((1..=2).contains(&builds), "{builds} builds");

    // Two saves during a build: the last one counts.
    orders.save(&orders.noting("first"));
    world.wait_for("orders", "is building", |report| report["state"] == "building");
    orders.save(&orders.noting("second"));
    orders.save(&orders.noting("third"));
    wait_until("the third save is in the star", LIMIT, || notes("third"));

    // A column of another type does not fit the table.
    let live = world.wait_for("orders", "is live", |report| report["state"] == "live")["module"].clone();
    let wider = orders.noting("wide").replace("date_key: Option<i32>", "date_key: Option<i64>");
    orders
        .save(&wider.replace("order.placed_at.date().key()", "order.placed_at.date().key().map(i64::from)"));
    let report = world.wait_for("orders", "is refused", |report| report["state"] == "failed");
    let reason = report["reason"].as_str().unwrap();
    assert!(reason.contains("date_key") && reason.contains("f_orders__g1"), "{reason}");
    assert_eq!(report["module"], live);

    let outcome = load.stop();
    world.expect_star(&outcome);
    assert!(!notes("wide"));
    assert!(dabi.terminate(LIMIT).success());
}
