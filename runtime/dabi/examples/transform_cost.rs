//! What a call of a transform costs per row, everything between Arrow arrays
//! and Arrow arrays included:
//!
//! `cargo run --release -p dabi --example transform_cost -- orders.wasm …`
//!
//! CPU time of this thread, so that other load does not count; the best of
//! several rounds.

#[path = "../tests/it/support/sample.rs"]
mod sample;

use std::time::Duration;

use anyhow::Context;
use dabi::transform::{Module, Runtime, Settings};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 15;
const ROWS_PER_ROUND: usize = 200_000;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> anyhow::Result<()> {
    let runtime = Runtime::new(Settings::default())?;
    println!("{:<16} {:>8} {:>8} {:>10} {:>14}", "module", "columns", "read", "rows/call", "CPU ns/row");
    for path in std::env::args().skip(1) {
        let bytes = std::fs::read(&path).with_context(|| format!("read {path}"))?;
        let module = Module::load(&runtime, &path, &bytes)?;
        let spec = module.spec();
        let read = spec.columns.iter().filter(|column| column.read).count();
        for rows in [1_000, 10_000, 100_000] {
            let best = best_call(&module, rows)?;
            let columns = spec.targets.iter().map(|target| target.columns.len()).sum::<usize>();
            let per_row = best.as_nanos() as f64 / rows as f64;
            println!("{:<16} {columns:>8} {read:>8} {rows:>10} {per_row:>14.1}", spec.name);
        }
    }
    Ok(())
}

/// The least CPU time of one call.
fn best_call(module: &Module, rows: usize) -> anyhow::Result<Duration> {
    let input = sample::batch(module.spec(), rows, 1);
    let mut instance = module.instantiate()?;
    let calls = (ROWS_PER_ROUND / rows).max(1);
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let started = cpu_time();
        for _ in 0..calls {
            std::hint::black_box(instance.apply(&input)?);
        }
        best = best.min((cpu_time() - started) / u32::try_from(calls)?);
    }
    Ok(best)
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}
