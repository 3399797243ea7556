//! Runs seeds for as long as asked, in as many threads as there are cores.
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

fn main() {
    let arguments = Arguments::parse();
    let from = arguments.from.unwrap_or_else(|| fastrand::u64(..u64::from(u32::MAX)));
    let mut failed = 0;
    std::panic::set_hook(Box::new(|_| {}));
    for seed in from..from + arguments.seeds {
        match dabi_sim::run(seed, arguments.trace) {
            Ok(report) => {
                if arguments.seeds == 1 {
                    println!("{report:?}")
                }
            }
            Err(failure) => {
                failed += 1;
                for l in &failure.trace {
                    println!("{l}");
                }
                println!("{failure}");
            }
        }
    }
    println!("{failed} of {} seeds from {from} failed", arguments.seeds);
}
