//! Seeds, from a fixed one on, for as long as there is time; and each seed that
//! once found something.

use std::time::{Duration, Instant};

/// Seconds for seeds, without `SIM_SECONDS`.
const SECONDS: u64 = 60;
/// So many must be done in any time, or the simulation has become too slow to be of use.
const SEEDS_MIN: u64 = 20;

fn number(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is {text:?}; it takes a number")))
}

/// Runs a seed; where it fails, once more with every request noted.
fn check(seed: u64) -> dabi_sim::Report {
    dabi_sim::run(seed, false).unwrap_or_else(|_| {
        let failure = dabi_sim::run(seed, true).expect_err("a seed does the same again");
        panic!("{}\n{failure}", failure.trace.join("\n"))
    })
}

/// `SIM_SEED` replays one; `SIM_SECONDS` gives more time.
#[test]
fn seeds() {
    if let Some(seed) = number("SIM_SEED") {
        println!("{:?}", check(seed));
        return;
    }
    let until = Instant::now() + Duration::from_secs(number("SIM_SECONDS").unwrap_or(SECONDS));
    let mut passed = 0;
    while passed < SEEDS_MIN || Instant::now() < until {
        check(passed);
        passed += 1;
    }
    println!("{passed} seeds passed");
}

/// A seed does the same each time: else a failure could not be looked at.
#[test]
fn a_seed_does_the_same_again() {
    let traced = || dabi_sim::run(7, true).unwrap_or_else(|failure| panic!("{failure}"));
    let [one, other] = [traced(), traced()];
    let differs = one.trace.iter().zip(&other.trace).find(|(one, other)| one != other);
    assert_eq!((differs, one.trace.len()), (None, other.trace.len()));
    assert_eq!(one, other);
    assert!(one.crashes > 0 && one.epochs > 0 && !one.trace.is_empty());
}
