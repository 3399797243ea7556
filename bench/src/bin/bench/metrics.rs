//! dabi's metrics as its `/metrics` shows them (OpenMetrics text).

use std::collections::BTreeMap;

/// The series of one scrape, by name and labels as written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Reads a scrape; lines that are no sample are passed over.
    pub(crate) fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        });
        Self(samples.collect())
    }

    /// The value of a series without labels, or the sum over all labels.
    pub(crate) fn total(&self, name: &str) -> f64 {
        let of_name = |series: &str| {
            series.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('{'))
        };
        self.0.iter().filter(|(series, _)| of_name(series)).map(|(_, value)| value).sum()
    }

    /// What counters have come to since an earlier scrape.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let before = |series: &String| earlier.0.get(series).copied().unwrap_or_default();
        Self(self.0.iter().map(|(series, value)| (series.clone(), value - before(series))).collect())
    }

    /// The values of `name` by the value of its one label.
    pub(crate) fn by_label(&self, name: &str) -> BTreeMap<&str, f64> {
        let samples =
            self.0.iter().filter_map(|(series, value)| Some((label(series.strip_prefix(name)?)?, *value)));
        samples.collect()
    }

    /// A quantile of a histogram, by linear interpolation within its bucket,
    /// and the bounds of that bucket; `None` while it is empty.
    pub(crate) fn quantile(&self, name: &str, quantile: f64) -> Option<Quantile> {
        let mut buckets: Vec<(f64, f64)> = self
            .by_label(&format!("{name}_bucket"))
            .iter()
            .filter_map(|(bound, count)| Some((bound.replace("+Inf", "inf").parse().ok()?, *count)))
            .collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let rank = buckets.last()?.1 * quantile;
        let (mut lower, mut below) = (0.0, 0.0);
        for (upper, count) in buckets {
            if count >= rank && count > below {
                let value = if upper.is_finite() {
                    lower + (upper - lower) * (rank - below) / (count - below)
                } else {
                    lower
                };
                return Some(Quantile { value, lower, upper });
            }
            (lower, below) = (upper, count);
        }
        None
    }
}

/// A quantile that is known to a bucket.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Quantile {
    pub(crate) value: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
}

fn label(labels: &str) -> Option<&str> {
    labels.strip_prefix('{')?.strip_suffix("\"}")?.split_once("=\"").map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRAPE: &str = "\
# TYPE dabi_records counter
dabi_records_total 1200
dabi_stage_cpu_seconds_total{stage=\"Fetch\"} 0.5
dabi_stage_cpu_seconds_total{stage=\"Decode\"} 1.25
dabi_latency_seconds_bucket{le=\"0.1\"} 50
dabi_latency_seconds_bucket{le=\"0.2\"} 100
dabi_latency_seconds_bucket{le=\"+Inf\"} 100
# EOF
";

    #[test]
    fn series_are_found_by_name_and_label() {
        let metrics = Metrics::parse(SCRAPE);
        assert_eq!(metrics.total("dabi_records_total"), 1200.0);
        assert_eq!(metrics.total("dabi_stage_cpu_seconds_total"), 1.75);
        assert_eq!(
            metrics.by_label("dabi_stage_cpu_seconds_total"),
            BTreeMap::from([("Decode", 1.25), ("Fetch", 0.5)])
        );
    }

    #[test]
    fn counters_are_told_since_an_earlier_scrape() {
        let (earlier, later) = (Metrics::parse("a 3"), Metrics::parse("a 5\nb 2"));
        assert_eq!((later.since(&earlier).total("a"), later.since(&earlier).total("b")), (2.0, 2.0));
    }

    #[test]
    fn quantiles_lie_within_their_bucket() {
        let metrics = Metrics::parse(SCRAPE);
        let p75 = metrics.quantile("dabi_latency_seconds", 0.75).unwrap();
        assert!((p75.value - 0.15).abs() < 1e-9 && p75.lower == 0.1 && p75.upper == 0.2, "{p75:?}");
        assert_eq!(metrics.quantile("dabi_epoch_seconds", 0.5), None);
    }
}
