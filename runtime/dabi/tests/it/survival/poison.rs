//! Case 17: rows that break a module in every way, and records that are no events.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use arrow::array::AsArray as _;
use serde_json::Value;

use super::load::{Hand, Load, Outcome, PARCELS_TOPIC, TOPIC};
use super::{World, oracle};
use crate::reload::put;
use crate::support::lake::{dead_letters, manifests};
use crate::support::web::Web;
use crate::support::{block_on, guests, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const EVENTS_PER_SECOND: u32 = 500;
/// The ids from here on break the fragile guests.
const POISON: u64 = 1_000_000;
/// In the way that the id modulo four says.
const WAYS: [&str; 4] = ["trap", "timeout", "memory", "bad-answer"];
/// The ids from here on are of rows that are sent damaged.
const DAMAGED: u64 = 900_000;
/// Values that are no events, and what is said of them.
const DAMAGE: [(&[u8], &str); 5] = [
    (b"\xff\xfe\x00 no text", "bad-json"),
    (b"no JSON", "bad-json"),
    (br#"{"before":null,"after":{"id":900002,"custo"#, "bad-json"),
    (b"[1, 2, 3]", "unknown-shape"),
    (br#"{"hello":"world"}"#, "unknown-shape"),
];
/// Poison rows of one epoch after which a transform is stopped.
const POISON_ROWS_MAX: u64 = 20;

/// The transforms, one without row state, and one that looks up what it reads.
const FRAGILE: [&str; 2] = ["fragile_orders", "fragile_parcels"];

#[test]
fn poison_is_set_aside_and_comes_back_when_it_is_mended() {
    let (world, web) = fragile_world();
    let load = Load::with_parcels(world.kafka.client(), EVENTS_PER_SECOND, 17);
    let mut dabi = world.dabi.start(&["run"]);
    web.wait_until_ready();
    let mut hand = Hand::new(&world.kafka.client());
    for (id, (bytes, _)) in (DAMAGED..).zip(DAMAGE) {
        hand.order(id, "new");
        hand.parcel(id, None);
        hand.bytes(TOPIC, id, bytes);
        hand.bytes(PARCELS_TOPIC, id, bytes);
    }
    for id in POISON..POISON + 4 {
        hand.order(id, "new");
        hand.parcel(id, None);
    }
    hand.done();
    expect_letters(&world, &poison_letters());

    let done = load.stop();
    let elsewhere = without_poison(&done).and(without_poison(hand.done()));
    wait_until("all other rows are in the star", LIMIT, || oracle::star_equals(&world, &elsewhere));
    check_is_told(&world, &web);

    // The modules are mended, and the damaged rows are written once more.
    for name in FRAGILE {
        mend(&world, name);
    }
    for id in (DAMAGED..).take(DAMAGE.len()) {
        hand.order(id, "paid");
        hand.parcel(id, Some(POISON));
    }
    let all = done.and(hand.done().clone());
    expect_letters(&world, &BTreeSet::new());
    wait_until("all rows are in the star", LIMIT, || oracle::star_equals(&world, &all));
    let status = dabi.terminate(LIMIT);
    assert!(status.success(), "{status}\n{}", dabi.log());
    world.catch_up();
    oracle::check(&world, &all);
}

#[test]
fn more_poison_than_an_epoch_may_have_stops_one_transform_until_it_is_mended() {
    let (world, web) = fragile_world();
    let load = Load::with_parcels(world.kafka.client(), EVENTS_PER_SECOND, 18);
    let mut dabi = world.dabi.start(&["run"]);
    web.wait_until_ready();
    let mut hand = Hand::new(&world.kafka.client());
    let [orders, parcels] = FRAGILE;
    for (name, other, others_table) in [(orders, parcels, "f_parcels"), (parcels, orders, "f_orders")] {
        let entry = format!("{name}.wasm");
        // However they fall into epochs, one has too many.
        for id in (POISON..).step_by(4).take(200) {
            if name == orders {
                hand.order(id, "new");
            } else {
                hand.parcel(id, Some(id));
            }
        }
        hand.done();
        let report = web.wait_for(&entry, "is stopped", |report| report["state"] == "stopped");
        let reason = report["reason"].as_str().expect("a reason");
        let limit = format!("more than {POISON_ROWS_MAX} rows of one epoch broke it");
        assert!(reason.contains(&limit) && reason.contains("trap"), "{report}");
        let stopped = |name: &str| web.counter(&format!("dabi_transform_stopped{{transform=\"{name}\"}}"));
        assert_eq!((stopped(name), stopped(other)), (1, 0));
        // The other one goes on.
        let rows = || web.counter(&format!("dabi_star_rows_total{{table=\"{others_table}\"}}"));
        let before = rows();
        wait_until("the other one goes on", LIMIT, || rows() > before + 100);
        assert_eq!(web.report_of(&format!("{other}.wasm"))["state"], "live");

        mend(&world, name);
        web.wait_for(&entry, "is mended, and has all rows", |report| {
            report["state"] == "live" && report["note"].is_null()
        });
        assert_eq!((stopped(name), stopped(other)), (0, 0));
    }
    let all = load.stop().and(hand.done().clone());
    wait_until("all rows are in the star", LIMIT, || oracle::star_equals(&world, &all));
    let status = dabi.terminate(LIMIT);
    assert!(status.success(), "{status}\n{}", dabi.log());
    world.catch_up();
    oracle::check(&world, &all);
}

/// A world whose transforms are not yet mended, and where its dabi listens.
fn fragile_world() -> (World, Web) {
    let (mut world, web) = (World::start(), Web::free());
    world.dabi.environment(&[
        ("DABI_WEB_LISTEN", web.address()),
        ("DABI_TRANSFORMS_CALL_MS_MAX", "500"),
        // Little enough for a hoarder to reach it before its time is over.
        ("DABI_TRANSFORMS_MEMORY_BYTES_MAX", "16777216"),
        // Time enough for an endless loop in an epoch that had to wait for another.
        ("DABI_TRANSFORMS_RETRY_MS_MAX", "60000"),
        ("DABI_TRANSFORMS_POISON_ROWS_MAX", &POISON_ROWS_MAX.to_string()),
    ]);
    let transforms = world.dabi.home().join("transforms");
    for name in ["orders", "parcels"] {
        std::fs::remove_file(transforms.join(format!("{name}.wasm"))).expect("it is there");
    }
    for name in FRAGILE {
        put(&transforms.join(format!("{name}.wasm")), &guests::wasm(name));
    }
    (world, web)
}

/// Saves a module that is the same, but that no row breaks.
fn mend(world: &World, name: &str) {
    const REACTS: &[u8] = b"reacts to poison";
    let mut module = guests::wasm(name);
    let at = module.windows(REACTS.len()).position(|bytes| bytes == REACTS).expect("it says so");
    module[at..at + REACTS.len()].copy_from_slice(b"is immune to all");
    put(&world.dabi.home().join(format!("transforms/{name}.wasm")), &module);
}

/// The rows that do not break a module.
fn without_poison(outcome: &Outcome) -> Outcome {
    let mut outcome = outcome.clone();
    outcome.orders.retain(|id, _| *id < POISON);
    outcome.parcels.retain(|id, _| *id < POISON);
    outcome
}

/// Transform, key, stage and code of a letter.
type Letter = (String, String, String, String);

fn poison_letters() -> BTreeSet<Letter> {
    let letter = |transform: &str, (id, way): (u64, &str)| {
        (transform.to_owned(), id.to_string(), "transform".to_owned(), way.to_owned())
    };
    FRAGILE.iter().flat_map(|name| (POISON..).zip(WAYS).map(|poison| letter(name, poison))).collect()
}

/// Waits until these letters are open, and no others.
fn expect_letters(world: &World, expected: &BTreeSet<Letter>) {
    let started = Instant::now();
    let mut open = open_letters(world);
    while open != *expected && started.elapsed() < LIMIT {
        std::thread::sleep(Duration::from_millis(200));
        open = open_letters(world);
    }
    assert_eq!(open, *expected);
}

/// What `dabi dead-letters list` shows.
fn open_letters(world: &World) -> BTreeSet<Letter> {
    let (code, output, log) = world.dabi.ask(&["dead-letters", "list", "--json"], LIMIT);
    assert_eq!(code, 0, "{log}");
    let letter = |line: &str| {
        let letter: Value = serde_json::from_str(line).expect("a line is JSON");
        let text = |name: &str| letter[name].as_str().expect("a text").to_owned();
        (text("transform"), text("id"), text("stage"), text("code"))
    };
    output.lines().map(letter).collect()
}

/// Who looks sees it: in `/readyz`, in the metrics, and in the lake.
fn check_is_told(world: &World, web: &Web) {
    let report = web.report().expect("dabi serves its state");
    assert_eq!(
        (&report["ready"], &report["work"]["letters"]["fragile_parcels"]),
        (&true.into(), &4.into()),
        "{report:#}"
    );
    for name in FRAGILE {
        let report = web.report_of(&format!("{name}.wasm"));
        assert_eq!(report["state"], "live", "{report:#}");
    }
    for way in WAYS {
        let letters = web.counter(&format!("dabi_dead_letters_total{{kind=\"transform/{way}\"}}"));
        assert_eq!(letters, 2, "of each transform one: {way}");
    }
    let unreadable = web.counter("dabi_skipped_records_total{kind=\"dead-letter\"}");
    assert_eq!(unreadable, 2 * DAMAGE.len() as u64, "of each topic");

    let damaged = |topic: &str| {
        let letter = |(id, (bytes, code)): (u64, (&[u8], &str))| {
            (format!("decode/{code}"), format!("{topic} {{\"id\":{id}}}"), bytes.to_vec())
        };
        (DAMAGED..).zip(DAMAGE).map(letter).collect::<Vec<_>>()
    };
    let expected: BTreeSet<_> = [TOPIC, PARCELS_TOPIC].into_iter().flat_map(damaged).collect();
    wait_until("the lake has every damaged record", LIMIT, || {
        let in_lake = lake_letters(world);
        let unread = in_lake.iter().filter(|(kind, ..)| kind.starts_with("decode"));
        unread.cloned().collect::<BTreeSet<_>>() == expected && in_lake.len() == expected.len() + 8
    });
}

/// Of the letters in the lake what happened, to what, and its bytes.
fn lake_letters(world: &World) -> BTreeSet<(String, String, Vec<u8>)> {
    let manifests = block_on(manifests(&world.minio.lake("lake")));
    let batches = block_on(dead_letters(&world.minio.store(), "lake", &manifests));
    let mut letters = BTreeSet::new();
    for batch in &batches {
        let column = |name: &str| batch.column_by_name(name).expect("a column of that name");
        let text = |name: &str, row: usize| column(name).as_string::<i32>().value(row).to_owned();
        let bytes = |name: &str, row: usize| column(name).as_binary::<i32>().value(row).to_vec();
        letters.extend((0..batch.num_rows()).map(|row| {
            let key = String::from_utf8_lossy(&bytes("key", row)).into_owned();
            let what = format!("{}/{}", text("stage", row), text("code", row));
            (what, format!("{} {key}", text("topic", row)), bytes("value", row))
        }));
    }
    letters
}
