//! The state store, measured: the one in memory against fjall, in one run.
//!
//! Prints one JSON object a line: name, value, unit, baseline, ratio,
//! conditions. The store in memory is the value, fjall the baseline. Arguments:
//! numbers of rows, in place of 100,000 and 1,000,000.

mod workload;

use std::path::Path;
use std::time::{Duration, Instant};

use dabi::state::{Identity, Opened, StateSettings, StoreKind, open};
use dabi_core::engine::state::State;
use dabi_core::version::Epoch;
use rustix::time::{ClockId, clock_gettime};
use workload::{EPOCH_EVENTS, Workload};

/// The allocator of the dabi binary.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const EPOCHS: u64 = 60;
const ROWS: [u32; 2] = [100_000, 1_000_000];
const MEMORY_BYTES: u64 = 16 << 30;

struct Figures {
    cpu_us: f64,
    wall_us: f64,
    epoch_ms_max: f64,
    entry_bytes: Option<f64>,
    disk_bytes: u64,
    recovery: Duration,
}

fn main() {
    let asked: Vec<u32> =
        std::env::args().skip(1).map(|rows| rows.parse().expect("a number of rows")).collect();
    let asked = if asked.is_empty() { ROWS.to_vec() } else { asked };
    for rows in asked {
        let ours = measure(StoreKind::Memory, rows);
        let theirs = measure(StoreKind::Disk, rows);
        report(rows, &ours, &theirs);
    }
}

fn measure(kind: StoreKind, rows: u32) -> Figures {
    let folder = tempfile::tempdir_in(".").expect("a folder on the disk that is measured");
    let mut store = open_store(kind, folder.path()).0;
    let mut workload = Workload::new(rows);
    while let Some(load) = workload.load() {
        store.sent(Epoch(load.epoch.0 - 1)).expect("drop what is sent");
        store.commit(&load).expect("load");
    }
    let (mut preparing, mut epoch_max) = (Duration::ZERO, Duration::ZERO);
    let (began, cpu_began, mut wall) = (Instant::now(), process_cpu(), Duration::ZERO);
    for _ in 0..EPOCHS {
        let start = thread_cpu();
        let reads = workload.next_epoch();
        preparing += thread_cpu() - start;

        let start = Instant::now();
        let read = reads.each(|space, keys| store.read(space, keys).expect("read"));
        let took = start.elapsed();

        let start = thread_cpu();
        let commit = workload.commit(&reads, &read);
        preparing += thread_cpu() - start;

        let start = Instant::now();
        store.sent(Epoch(commit.epoch.0 - 1)).expect("drop what is sent");
        store.commit(&commit).expect("commit");
        let took = took + start.elapsed();
        wall += took;
        epoch_max = epoch_max.max(took);
    }
    let cpu = process_cpu() - cpu_began - preparing;
    assert!(began.elapsed() >= wall, "what is measured is within it");
    let size = store.size();
    drop(store);
    let (store, recovery) = open_store(kind, folder.path());
    assert_eq!(store.committed().map(|last| last.epoch), Some(workload.epoch()), "it is all there");
    let events = (EPOCHS * u64::from(EPOCH_EVENTS)) as f64;
    let entries = size.entries.zip(size.members).map(|(entries, members)| entries + members);
    Figures {
        cpu_us: cpu.as_secs_f64() * 1e6 / events,
        wall_us: wall.as_secs_f64() * 1e6 / events,
        epoch_ms_max: epoch_max.as_secs_f64() * 1e3,
        entry_bytes: entries.map(|entries| size.memory_bytes as f64 / entries as f64),
        disk_bytes: size.disk_bytes,
        recovery,
    }
}

fn open_store(kind: StoreKind, folder: &Path) -> (Box<dyn State>, Duration) {
    let settings = StateSettings {
        dir: folder.into(),
        store: kind,
        memory_bytes: Some(MEMORY_BYTES),
        ..StateSettings::default()
    };
    let identity = Identity { pipeline: "bench".to_owned(), lake: "none".to_owned() };
    match open(&settings, &identity).expect("open the store") {
        (store, Opened::New) => (store, Duration::ZERO),
        (store, Opened::Recovered { took, .. }) => (store, took),
        (_, Opened::Rebuild { reason, .. }) => panic!("it must not be damaged: {reason}"),
    }
}

fn report(rows: u32, ours: &Figures, theirs: &Figures) {
    let conditions = format!(
        "{rows} orders and as many lines at first, {EPOCHS} epochs of {EPOCH_EVENTS} events, half inserts, half updates: \
         row, parent and old output read; row, output, index and outbox written; synced; CPU of all threads"
    );
    let print = |name: &str, unit: &str, value: f64, baseline: Option<f64>| {
        let round = |figure: f64| (figure * 100.0).round() / 100.0;
        let line = serde_json::json!({
            "name": format!("state, {rows} rows, {name}"), "value": round(value), "unit": unit,
            "baseline": baseline.map(round), "ratio": baseline.map(|baseline| round(baseline / value)),
            "conditions": conditions,
        });
        println!("{line}");
    };
    print("CPU", "us per event", ours.cpu_us, Some(theirs.cpu_us));
    print("wall", "us per event", ours.wall_us, Some(theirs.wall_us));
    print("longest epoch", "ms", ours.epoch_ms_max, Some(theirs.epoch_ms_max));
    print("recovery", "s", ours.recovery.as_secs_f64(), Some(theirs.recovery.as_secs_f64()));
    print("disk", "MB", ours.disk_bytes as f64 / 1e6, Some(theirs.disk_bytes as f64 / 1e6));
    if let Some(bytes) = ours.entry_bytes {
        print("memory", "B per entry or member", bytes, None);
    }
}

fn process_cpu() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

fn thread_cpu() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    let whole = |part: i64| u64::try_from(part).expect("clocks count up from zero");
    Duration::from_secs(whole(time.tv_sec)) + Duration::from_nanos(whole(time.tv_nsec))
}
