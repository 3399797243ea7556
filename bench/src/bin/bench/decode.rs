//! Decoding alone, against `serde_json::Value`: measured by `bench/decode`.

use crate::Bench;
use crate::alone;
use crate::results::{Figure, Target};

const TIMES_VALUE: f64 = 2.5;

/// Runs it.
pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let figures = alone::measure(bench, "dabi-bench-decode")?;
    Ok(figures.into_iter().map(|figure| figure.should(Target::AtLeast(TIMES_VALUE))).collect())
}
