//! Runs seeds one after the other, by default random ones: for long runs.

use std::process::ExitCode;

use clap::Parser;

/// Runs the simulation.
#[derive(Parser)]
struct Arguments {
    /// The first seed; by default a random one.
    #[arg(long)]
    from: Option<u64>,
    /// How many seeds.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Print what happened before a failure.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let from = arguments.from.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    // A panic is a failure like any other, and told with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let mut failed = 0;
    for seed in from..from.saturating_add(arguments.seeds) {
        if let Err(failure) = dabi_sim::run(seed, arguments.trace) {
            failed += 1;
            failure.trace.iter().for_each(|line| println!("{line}"));
            println!("{failure}");
        }
    }
    println!("{failed} of {} seeds from {from} failed", arguments.seeds);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
