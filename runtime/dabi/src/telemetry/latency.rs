//! How long events took to become visible, to 1 %.
//!
//! Owns the fine histograms between the star's lane, which records, and the
//! overview, which takes them away once a second. Prometheus has coarser ones
//! of its own. Nobody has to take: the memory of a histogram is fixed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;

/// Longer ones (old captures, a backlog of days) count as this.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Two digits: a bucket is at most 1 % wide.
const DIGITS: u8 = 2;

/// Durations of events, in ms.
#[derive(Clone, Debug)]
pub struct Latency(Histogram<u64>);

impl Default for Latency {
    fn default() -> Self {
        let longest_ms = u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX);
        Self(Histogram::new_with_max(longest_ms, DIGITS).expect("the bounds are valid"))
    }
}

impl Latency {
    /// Notes that `events` events took `ms`; less than nothing (clocks differ)
    /// counts as nothing.
    pub fn record(&mut self, ms: i64, events: u64) {
        self.0.saturating_record_n(u64::try_from(ms).unwrap_or(0), events);
    }

    /// Takes in what another has noted.
    pub fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    /// The ms within which a share of the events was done, and no event if none was.
    #[must_use]
    pub fn quantile_ms(&self, share: f64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(share))
    }
}

/// What is measured of each event that becomes visible in the star.
#[derive(Clone, Debug, Default)]
pub struct Latencies {
    /// From the commit in the source database; reads of a snapshot have none.
    pub since_commit: Latency,
    /// From the record's Kafka timestamp.
    pub since_kafka: Latency,
}

/// Latencies that nobody has taken yet; cheap to clone.
#[derive(Clone, Default)]
pub struct LatencyRecorder(Arc<Mutex<Latencies>>);

impl LatencyRecorder {
    /// Notes through `record` what an epoch took.
    pub fn record(&self, record: impl FnOnce(&mut Latencies)) {
        record(&mut self.lock());
    }

    /// Everything since the last call.
    #[must_use]
    pub fn take(&self) -> Latencies {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Latencies> {
        // Counts are whole after every statement, even if a writer panicked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_exact_to_a_hundredth_and_weighted() {
        let mut latency = Latency::default();
        assert_eq!(latency.quantile_ms(0.5), None);
        latency.record(-3, 98);
        latency.record(1000, 1);
        latency.record(i64::MAX, 1);
        assert_eq!(latency.quantile_ms(0.5), Some(0));
        let p99 = latency.quantile_ms(0.99).unwrap();
        assert!((1000..=1010).contains(&p99), "{p99}");

        let mut sum = Latency::default();
        sum.add(&latency);
        sum.record(5, 10_000);
        assert_eq!(sum.quantile_ms(0.99), Some(5));
    }

    #[test]
    fn what_was_taken_is_not_taken_again() {
        let recorder = LatencyRecorder::default();
        recorder.record(|latencies| latencies.since_kafka.record(7, 1));
        assert_eq!(recorder.take().since_kafka.quantile_ms(1.0), Some(7));
        assert_eq!(recorder.take().since_kafka.quantile_ms(1.0), None);
    }
}
