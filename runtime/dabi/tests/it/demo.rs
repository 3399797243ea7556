//! `dabi demo` as a person runs it: the star fills and is equal to the shop; an
//! edit shows in it; an error in an edit does not stop it; nothing is left.

use std::path::Path;
use std::time::{Duration, Instant};

use dabi_shop::Target;
use serde_json::Value;

use crate::support::dabi::Dabi;
use crate::support::process::Process;
use crate::support::project::SourceProject;
use crate::support::{guests, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
/// Where the SDK was never built, with all that it needs.
const FIRST_BUILD: Duration = Duration::from_secs(300);
/// A second on a machine that does nothing else.
const SHOWS_WITHIN: Duration = Duration::from_secs(10);
/// What the source invites to edit.
const DAY_PARTS: &str = r#"["night", "morning", "afternoon", "evening"]"#;

/// A folder with the shop's transforms as finished modules.
fn home() -> Dabi {
    let dabi = Dabi::new("");
    let transforms = dabi.home().join("transforms");
    std::fs::create_dir(&transforms).unwrap();
    for target in Target::ALL {
        let module = guests::wasm(target.name());
        std::fs::write(transforms.join(format!("{}.wasm", target.name())), module).unwrap();
    }
    dabi
}

/// No process is left whose folder this is.
pub(crate) fn nothing_runs_in(home: &Path) -> bool {
    let home = home.canonicalize().unwrap();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    !processes
        .map(|process| process.path().join("cwd"))
        .any(|cwd| std::fs::read_link(cwd).is_ok_and(|cwd| cwd == home))
}

/// Runs a demo to its end and gives its summary.
fn summary(dabi: &Dabi, options: &[&str]) -> Value {
    let mut demo = dabi.start(&[&["demo", "--json"], options].concat());
    let before = demo.output().len();
    let status = demo.wait(LIMIT);
    assert!(status.success(), "{status}\n{}\n{}", demo.output(), demo.log());
    let summary = demo.output().split_off(before);
    let summary: Value = serde_json::from_str(&summary).expect("stdout is the summary and nothing else");
    assert_eq!(summary["equal"], true, "{summary}");
    for target in Target::ALL {
        let rows = &summary["targets"][target.name()];
        assert_eq!(rows["rows"], rows["expected"], "{summary}");
        assert!(rows["rows"].as_u64().is_some_and(|rows| rows > 20), "{summary}");
    }
    assert_eq!((&summary["dead_letters"], &summary["reloads"]), (&0.into(), &0.into()));
    assert!(nothing_runs_in(dabi.home()));
    summary
}

#[test]
fn the_star_of_a_short_demo_is_equal_to_the_shop() {
    let dabi = home();
    let ten_seconds = summary(&dabi, &["--for", "10s", "--rate", "500", "--schema", "--seed", "7"]);
    let events = ten_seconds["events"].as_u64().unwrap();
    assert!((2_500..=5_500).contains(&events), "{ten_seconds}");
    assert!(ten_seconds["latency_ms"]["p99"].as_u64().is_some_and(|p99| p99 > 0), "{ten_seconds}");
    // Another shop is another world: nothing of the first is left in it.
    summary(&dabi, &["--for", "2s", "--seed", "8"]);
}

/// A demo or dev that runs, asked as a person would: through its page and its `curl`.
pub(crate) struct Watched {
    page: String,
    clickhouse: String,
}

impl Watched {
    /// Waits for its first lines.
    pub(crate) fn new(demo: &Process) -> Self {
        wait_until("it says what to open", LIMIT, || demo.log().contains("\nEnd "));
        let log = demo.log();
        let word = |before: &str| {
            let after = log.split_once(before).expect("the first lines").1;
            after.split_whitespace().next().expect("an address").to_owned()
        };
        Self { page: word("Open  "), clickhouse: word("curl ") }
    }

    pub(crate) fn overview(&self) -> Value {
        let answer = ureq::get(format!("{}/api/overview", self.page)).call();
        serde_json::from_str(&answer.unwrap().body_mut().read_to_string().unwrap()).unwrap()
    }

    fn transform(&self, name: &str) -> Value {
        let overview = self.overview();
        let transforms = overview["transforms"].as_array().unwrap();
        transforms.iter().find(|transform| transform["name"] == name).cloned().unwrap_or_default()
    }

    fn events(&self) -> u64 {
        self.overview()["run"]["events"].as_u64().unwrap()
    }

    /// Orders in the star of which `condition` holds; none while there is no star.
    fn orders(&self, condition: &str) -> u64 {
        self.rows("f_orders", condition)
    }

    /// Rows of a view of which `condition` holds; none while there is no view.
    pub(crate) fn rows(&self, view: &str, condition: &str) -> u64 {
        let sql = format!("SELECT count() FROM dabi.{view} WHERE {condition}");
        let Ok(mut answer) = ureq::post(&self.clickhouse).send(sql) else { return 0 };
        answer.body_mut().read_to_string().unwrap().trim().parse().unwrap()
    }
}

#[test]
fn an_edit_shows_in_the_star_and_an_error_in_it_stops_nothing() {
    let mut dabi = home();
    let transforms = dabi.home().join("transforms");
    std::fs::remove_file(transforms.join("f_orders.wasm")).unwrap();
    let source = SourceProject::copy_of("f_orders", &transforms.join("f_orders"));
    dabi.environment(&SourceProject::environment());
    let mut demo = dabi.start(&["demo", "--rate", "300"]);
    let watched = Watched::new(&demo);
    wait_until("the star fills", FIRST_BUILD, || watched.orders("true") > 0);
    wait_until("the page knows", LIMIT, || {
        let targets = watched.overview()["targets"].clone();
        let orders = targets.as_array().unwrap().iter().find(|target| target["table"] == "f_orders").cloned();
        orders.is_some_and(|target| target["rows"]["count"].as_u64() > Some(0))
    });

    // A line is edited: its new values are in the star soon after the build.
    source.edit(DAY_PARTS, "[\"edited\"; 4]");
    wait_until("it is taken up", LIMIT, || watched.overview()["run"]["reloads"] == 1);
    let taken_up = Instant::now();
    wait_until("new orders go through it", LIMIT, || watched.orders("day_part = 'edited'") > 0);
    assert!(taken_up.elapsed() < SHOWS_WITHIN, "{:?}", taken_up.elapsed());

    // An error is told with its place, and events flow on through the one before.
    source.edit("passed()", "pass()");
    wait_until("the error is told", LIMIT, || watched.transform("f_orders")["state"] == "failed");
    let error = watched.transform("f_orders")["last_build"]["error"].to_string();
    assert!(error.contains("src/lib.rs:"), "{error}");
    let (events, orders) = (watched.events(), watched.orders("day_part = 'edited'"));
    wait_until("events flow on", LIMIT, || {
        watched.events() > events + 100 && watched.orders("day_part = 'edited'") > orders
    });

    // The last word is the comparison; the edited column is not compared.
    let status = demo.interrupt(LIMIT);
    assert!(status.success(), "{status}\n{}\n{}", demo.output(), demo.log());
    assert_eq!(demo.output().matches("equal to the shop").count(), Target::ALL.len(), "{}", demo.output());
    assert!(nothing_runs_in(dabi.home()));
}
