//! The figures, as `results.json` and as a table.

use std::fmt;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One measured figure.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: String,
    /// What it is compared with, in the same unit, from the same run.
    pub(crate) baseline: Option<f64>,
    /// How many times better than the baseline.
    pub(crate) ratio: Option<f64>,
    pub(crate) conditions: String,
    #[serde(skip)]
    target: Option<Target>,
}

/// What a figure should be; for one with a baseline, what its ratio should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    AtLeast(f64),
    AtMost(f64),
}

impl Target {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(bound) => write!(f, "≥ {}", number(*bound)),
            Self::AtMost(bound) => write!(f, "≤ {}", number(*bound)),
        }
    }
}

impl Figure {
    /// A figure of its own.
    pub(crate) fn new(
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        conditions: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            value,
            unit: unit.to_owned(),
            baseline: None,
            ratio: None,
            conditions: conditions.into(),
            target: None,
        }
    }

    /// Compares a cost with that of another way; less is better.
    pub(crate) fn against(mut self, baseline: f64) -> Self {
        self.baseline = Some(baseline);
        self.ratio = Some(baseline / self.value);
        self
    }

    /// Compares a rate with that of another way; more is better.
    pub(crate) fn over(mut self, baseline: f64) -> Self {
        self.baseline = Some(baseline);
        self.ratio = Some(self.value / baseline);
        self
    }

    /// Says what it should be.
    pub(crate) fn should(mut self, target: Target) -> Self {
        let of = if self.ratio.is_some() { "ratio " } else { "" };
        self.conditions = format!("{}; target: {of}{target}", self.conditions);
        self.target = Some(target);
        self
    }

    fn verdict(&self) -> &'static str {
        match self.target {
            None => "",
            Some(target) if target.is_met(self.ratio.unwrap_or(self.value)) => "met",
            Some(_) => "missed",
        }
    }
}

/// Writes `figures` to `path`.
pub(crate) fn save(figures: &[Figure], path: &Path) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(figures)?;
    std::fs::write(path, json + "\n").with_context(|| format!("write {}", path.display()))
}

/// Prints `figures` as a table.
pub(crate) fn print(figures: &[Figure]) {
    let cells: Vec<[String; 7]> =
        std::iter::once(["figure", "value", "unit", "baseline", "ratio", "target", ""].map(str::to_owned))
            .chain(figures.iter().map(cells))
            .collect();
    let widths: Vec<usize> =
        (0..7).map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    for row in cells {
        let [name, value, unit, baseline, ratio, target, verdict] = row;
        println!(
            "{name:<w0$}  {value:>w1$}  {unit:<w2$}  {baseline:>w3$}  {ratio:>w4$}  {target:>w5$}  {verdict}",
            w0 = widths[0],
            w1 = widths[1],
            w2 = widths[2],
            w3 = widths[3],
            w4 = widths[4],
            w5 = widths[5],
        );
    }
}

fn cells(figure: &Figure) -> [String; 7] {
    let optional = |value: Option<f64>| value.map(number).unwrap_or_default();
    [
        figure.name.clone(),
        number(figure.value),
        figure.unit.clone(),
        optional(figure.baseline),
        optional(figure.ratio),
        figure.target.map(|target| target.to_string()).unwrap_or_default(),
        figure.verdict().to_owned(),
    ]
}

fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1000.0 => {
            let digits = format!("{value:.0}");
            let mut grouped = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            grouped
        }
        medium if medium >= 100.0 => format!("{value:.0}"),
        _ => format!("{value:.2}"),
    }
}

/// The middle one of an odd number of values, else the mean of the two middle ones.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (value, text) in
            [(1_234_567.4, "1,234,567"), (999.6, "1000"), (12.345, "12.35"), (1000.0, "1,000")]
        {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_ratio_is_what_its_target_speaks_of() {
        let figure = Figure::new("cpu", 3.0, "µs", "").against(12.0).should(Target::AtLeast(3.5));
        assert_eq!((figure.ratio, figure.verdict()), (Some(4.0), "met"));
        assert_eq!(Figure::new("rss", 500.0, "MB", "").should(Target::AtMost(400.0)).verdict(), "missed");
    }

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 2.5);
    }
}
