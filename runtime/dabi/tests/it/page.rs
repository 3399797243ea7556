//! The page in a real browser: what it shows of a pipeline, live, at both
//! widths and in both schemes. Pictures are left in cargo's folder for tests.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dabi::overview::{
    About, DeadLetters, LakeState, LatencyPair, Overview, Quantiles, RowCount, Run, Sample, TargetState,
};
use dabi::pipeline::{BuildReport, Status, TransformReport, TransformState, now_ms};
use dabi::telemetry::Metrics;
use dabi::warehouse::StoredDeadLetter;
use dabi::web::{Served, serve};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::browser::Browser;

const STOPS_WITHIN: Duration = Duration::from_secs(2);

/// A server of made-up snapshots.
struct Site {
    runtime: Runtime,
    overview: watch::Sender<Arc<Overview>>,
    address: SocketAddr,
    stop: CancellationToken,
    server: Option<JoinHandle<std::io::Result<()>>>,
}

impl Site {
    fn start(first: Overview) -> Self {
        let mut site = Self {
            runtime: Runtime::new().unwrap(),
            overview: watch::Sender::new(Arc::new(first)),
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            stop: CancellationToken::new(),
            server: None,
        };
        site.restart();
        site
    }

    fn restart(&mut self) {
        let listener = self.runtime.block_on(TcpListener::bind(self.address)).unwrap();
        self.address = listener.local_addr().unwrap();
        self.stop = CancellationToken::new();
        let served = Served {
            metrics: Metrics::new(),
            status: Status::default(),
            overview: self.overview.subscribe(),
            retrier: tokio::sync::watch::Sender::new(None).subscribe(),
        };
        self.server = Some(self.runtime.spawn(serve(listener, served, self.stop.clone())));
    }

    fn stop(&mut self) {
        self.stop.cancel();
        let ended = self
            .runtime
            .block_on(async { tokio::time::timeout(STOPS_WITHIN, self.server.take().unwrap()).await });
        ended.expect("the server ends although a page listens").unwrap().unwrap();
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    fn tell(&self, overview: Overview) {
        self.overview.send_replace(Arc::new(overview));
    }
}

fn busy() -> Overview {
    let at_ms = now_ms();
    let latency = |ms| LatencyPair {
        commit_ms: Some(Quantiles { p50: ms / 2, p99: ms }),
        kafka_ms: Some(Quantiles { p50: ms / 3, p99: ms - 10 }),
    };
    let sample = |second: u64| Sample {
        at_ms: at_ms - second * 1000,
        events_per_s: 1000.0 + f64::from(u32::try_from(second * 7919 % 90).unwrap()),
        lag: second * 31 % 140,
        latency: latency(100 + second * 17 % 40),
    };
    Overview {
        at_ms,
        about: about(at_ms),
        phase: "running".to_owned(),
        ready: true,
        now: Sample { events_per_s: 1234.0, ..sample(0) },
        lake_lag: 512,
        latency: latency(118),
        run: Run { events: 412_345, ..Run::default() },
        targets: TARGETS.iter().zip(1..).map(|(name, n)| target(name, 1_384_617 / n, at_ms)).collect(),
        transforms: TARGETS.iter().map(|name| transform(name, at_ms)).collect(),
        dead_letters: DeadLetters { stored: Some(0), latest: Vec::new() },
        lake: LakeState {
            files: 214,
            bytes: 83_123_456,
            pending_bytes: 412_000,
            committed_ms: Some(at_ms - 3000),
        },
        history: (0..240).rev().map(sample).collect(),
        ..Overview::default()
    }
}

const TARGETS: [&str; 5] = ["f_orders", "dim_users", "dim_products", "dim_aisles", "dim_departments"];

fn about(at_ms: u64) -> About {
    About {
        pipeline: "shop".to_owned(),
        version: "0.1.0",
        started_ms: at_ms - 400_000,
        brokers: "127.0.0.1:46313".to_owned(),
        topics: "^shop".to_owned(),
        lake: ".dabi/demo/lake".to_owned(),
        warehouse: "http://127.0.0.1:17353".to_owned(),
        database: "dabi".to_owned(),
        transforms: "transforms".to_owned(),
    }
}

fn target(table: &str, count: u64, at_ms: u64) -> TargetState {
    let rows = Some(RowCount { count, at_ms });
    TargetState { table: table.to_owned(), transform: table.to_owned(), rows, rows_per_s: 188.0 }
}

fn transform(name: &str, at_ms: u64) -> TransformReport {
    let mut report = TransformReport::default();
    report.name = name.to_owned();
    report.source = Some(format!("public.{name}"));
    report.targets = vec![name.to_owned()];
    report.language = Some("rust");
    report.module = Some("e4f5a6b7".repeat(8));
    report.state = TransformState::Live;
    report.since_ms = Some(at_ms - 400_000);
    report.last_build =
        Some(BuildReport { at_ms: at_ms - 400_000, took_ms: Some(1912), ok: true, error: None });
    report
}

/// As [`busy`], but with a build error, a stopped transform and dead letters.
fn troubled() -> Overview {
    let mut overview = busy();
    let at_ms = overview.at_ms;
    let error = "error[E0425]: cannot find value `order_dat` in this scope\n  \
                 --> transforms/f_orders/src/lib.rs:41:23\n   |\n\
                 41 |         date_key: order_dat.date().key(),\n   |                   ^^^^^^^^^\n";
    let build = BuildReport { at_ms, took_ms: None, ok: false, error: Some(error.to_owned()) };
    overview.transforms[0].state = TransformState::Failed;
    overview.transforms[0].last_build = Some(build);
    overview.transforms[0].reloads = 2;
    overview.run.reloads = 2;
    overview.transforms[2].state = TransformState::Stopped;
    overview.transforms[2].reason = Some("stopped: 101 poison rows in one epoch".to_owned());
    overview.transforms[1].remarks = vec!["public.users: 2 changes have an earlier commit time".to_owned()];
    overview.run.dead_letters = 3;
    let letter = |offset: i64| StoredDeadLetter {
        recorded_ms: at_ms - 5000,
        transform: "f_orders".to_owned(),
        id: offset.to_string(),
        source: "public.orders".to_owned(),
        topic: "shop.public.orders".to_owned(),
        partition: 1,
        offset,
        stage: "read".to_owned(),
        code: "out_of_range".to_owned(),
        message: "order_date: 3026-01-01 is beyond what ClickHouse holds <img src=x onerror='window.hit=1'>"
            .to_owned(),
    };
    overview.dead_letters =
        DeadLetters { stored: Some(37), latest: vec![letter(10_295), letter(10_294), letter(10_293)] };
    overview
}

fn picture(browser: &Browser, name: &str) {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).unwrap();
    browser.screenshot(&folder.join(format!("{name}.png")));
}

/// Nothing is wider than the window.
fn fits(browser: &Browser) -> bool {
    browser.eval("document.documentElement.scrollWidth <= document.documentElement.clientWidth") == true
}

#[test]
fn the_page_follows_the_pipeline() {
    let site = Site::start(busy());
    let browser = Browser::start();
    browser.look(1280, 900, "light");
    browser.open(&site.url());
    browser.wait_for("#events .value", "1,234");
    browser.wait_for("#latency .value", "118");
    browser.wait_for("#lag .note", "512 wait for the lake");
    browser.wait_for("#targets", "1,384,617");
    browser.wait_for("#transforms", "e4f5a6b");
    browser.wait_for("#connection", "live");
    assert_eq!(browser.eval("document.querySelectorAll('#events-chart path.a').length"), 1);
    assert!(fits(&browser));
    picture(&browser, "light");

    watch_layout(&browser);
    let mut next = busy().update();
    next.now.events_per_s = 4321.0;
    next.targets[0] = target("f_orders", 1_384_999, next.at_ms);
    site.tell(next);
    browser.wait_for("#events .value", "4,321");
    browser.wait_for("#targets", "1,384,999");
    let points = "document.querySelector('#events-chart path.a').getAttribute('d').split('L').length";
    assert_eq!(browser.eval(points), 241, "an update continues the history");
    let shift = layout_shift(&browser);
    assert!(shift < 0.1, "the page jumps: {shift}");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

fn watch_layout(browser: &Browser) {
    browser.eval(
        "window.shift = 0, new PerformanceObserver((list) => { \
           for (const entry of list.getEntries()) window.shift += entry.value; \
         }).observe({ type: 'layout-shift' })",
    );
}

fn layout_shift(browser: &Browser) -> f64 {
    browser.eval("window.shift").as_f64().expect("a number")
}

#[test]
fn trouble_is_shown_with_its_reason_and_never_as_markup() {
    let site = Site::start(troubled());
    let browser = Browser::start();
    browser.look(390, 844, "light");
    browser.open(&site.url());
    browser.wait_for("#transforms pre", "transforms/f_orders/src/lib.rs:41:23");
    browser.wait_for("#transforms", "stopped: 101 poison rows");
    browser.wait_for("#transforms", "2 changes have an earlier commit time");
    browser.wait_for("#letters .value", "3");
    browser.wait_for("#letters .note", "37 in _dead_letters");
    browser.wait_for("#dead-letters", "shop.public.orders[1]@10295");
    browser.wait_for("#dead-letters", "<img src=x");
    assert_eq!(
        browser.eval("document.querySelector('main img') ?? window.hit ?? null"),
        serde_json::Value::Null
    );
    assert!(fits(&browser), "a narrow window scrolls only down");
    picture(&browser, "trouble-narrow");
    browser.look(1280, 900, "dark");
    picture(&browser, "trouble-dark");

    // The build is mended: the error goes.
    site.tell(Overview { waiting: waiting(), ready: false, ..busy() });
    browser.wait_for("#waiting", "clickhouse: to store rows");
    browser.wait_for("#phase", "running, waiting for clickhouse");
    assert_eq!(browser.eval("document.querySelector('#transforms pre')"), serde_json::Value::Null);
    picture(&browser, "waiting-dark");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

fn waiting() -> BTreeMap<String, String> {
    BTreeMap::from([(
        "clickhouse".to_owned(),
        "to store rows in f_orders__g1: connection refused".to_owned(),
    )])
}

#[test]
fn an_empty_page_says_what_to_do_next() {
    let at_ms = now_ms();
    let site = Site::start(Overview {
        at_ms,
        about: about(at_ms),
        phase: "starting".to_owned(),
        ..Overview::default()
    });
    let browser = Browser::start();
    browser.look(1280, 900, "light");
    browser.open(&site.url());
    browser.wait_for("#events .note", "none yet from ^shop");
    browser.wait_for("#no-transforms", "Put a transform into transforms");
    browser.wait_for("#no-letters", "ClickHouse has not been asked");
    browser.wait_for("#latency .value", "–");
    picture(&browser, "empty");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn a_lost_connection_shows_and_heals_by_itself() {
    let mut site = Site::start(busy());
    let browser = Browser::start();
    browser.look(1280, 900, "light");
    browser.open(&site.url());
    browser.wait_for("#connection", "live");
    site.stop();
    browser.wait_for("#connection", "connection lost");
    assert_eq!(browser.eval("document.body.classList.contains('stale')"), true);
    assert!(browser.text("#events .value").contains("1,234"), "what was known stays, marked as old");
    picture(&browser, "lost");
    site.restart();
    let started = Instant::now();
    browser.wait_for("#connection", "live");
    assert!(started.elapsed() < Duration::from_secs(10));
}
