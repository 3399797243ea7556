//! The `dabi` binary.

use std::process::ExitCode;

/// glibc's allocator gives back and re-faults every big block: a batch of
/// 100,000 rows through a transform costs more than twice the CPU under it. With
/// a backlog of five million events mimalloc holds half as much memory again.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    stop_loudly_on_panic();
    dabi::cli::main()
}

/// A panic anywhere is a defect: whatever it broke must not go on. Positions
/// advance on durability alone, so the next start continues where this stopped.
fn stop_loudly_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        eprintln!("error: dabi stops, because a part of it panicked; nothing is lost: start it again");
        std::process::exit(101);
    }));
}
