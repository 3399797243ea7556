//! Rates from counters, and the last minutes of everything that is charted.
//! Pure: times are arguments.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::snapshot::{LatencyPair, Sample};
use crate::telemetry::Latencies;

/// One a second: five minutes.
const SAMPLES: usize = 300;
/// Over how many samples the latencies of "now" are taken: in one second of a
/// slow stream there may be a single event.
const LATENCY_WINDOW: usize = 10;

/// A counter that is looked at now and then.
#[derive(Debug)]
pub(super) struct Meter {
    at: Instant,
    count: u64,
}

impl Meter {
    /// A counter that stands at `count`.
    pub(super) fn new(at: Instant, count: u64) -> Self {
        Self { at, count }
    }

    /// By how much it grew per second since the last look.
    pub(super) fn rate(&mut self, now: Instant, count: u64) -> f64 {
        let seconds = now.saturating_duration_since(self.at).max(Duration::from_millis(1)).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let rate = count.saturating_sub(self.count) as f64 / seconds;
        *self = Self { at: now, count };
        rate
    }
}

/// The last five minutes, and the latencies of the last seconds and of all time.
#[derive(Default)]
pub(super) struct History {
    samples: VecDeque<Sample>,
    window: VecDeque<Latencies>,
    all: Latencies,
}

impl History {
    /// Notes one second and gives its sample.
    pub(super) fn push(&mut self, at_ms: u64, events_per_s: f64, lag: u64, latencies: Latencies) -> Sample {
        let sample = Sample { at_ms, events_per_s, lag, latency: LatencyPair::of(&latencies) };
        add(&mut self.all, &latencies);
        push_within(&mut self.window, latencies, LATENCY_WINDOW);
        push_within(&mut self.samples, sample.clone(), SAMPLES);
        sample
    }

    /// Every sample, oldest first.
    pub(super) fn samples(&self) -> Vec<Sample> {
        self.samples.iter().cloned().collect()
    }

    /// Latencies of the last ten seconds.
    pub(super) fn recent(&self) -> LatencyPair {
        let mut sum = Latencies::default();
        self.window.iter().for_each(|latencies| add(&mut sum, latencies));
        LatencyPair::of(&sum)
    }

    /// Latencies since the start.
    pub(super) fn all(&self) -> LatencyPair {
        LatencyPair::of(&self.all)
    }
}

fn add(sum: &mut Latencies, latencies: &Latencies) {
    sum.since_commit.add(&latencies.since_commit);
    sum.since_kafka.add(&latencies.since_kafka);
}

fn push_within<T>(queue: &mut VecDeque<T>, item: T, most: usize) {
    if queue.len() == most {
        queue.pop_front();
    }
    queue.push_back(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::overview::Quantiles;

    fn of_commit(ms: i64) -> Latencies {
        let mut latencies = Latencies::default();
        latencies.since_commit.record(ms, 1);
        latencies
    }

    #[test]
    fn a_rate_is_growth_over_the_time_that_passed() {
        let start = Instant::now();
        let mut meter = Meter::new(start, 100);
        assert_eq!(meter.rate(start + Duration::from_secs(2), 300), 100.0);
        assert_eq!(meter.rate(start + Duration::from_secs(3), 300), 0.0);
        // A counter never falls; a metric that was made anew must not underflow.
        assert_eq!(meter.rate(start + Duration::from_secs(4), 0), 0.0);
    }

    #[test]
    fn samples_are_kept_for_five_minutes_oldest_first() {
        let mut history = History::default();
        for second in 0..400 {
            history.push(second * 1000, 1.0, 7, Latencies::default());
        }
        let samples = history.samples();
        assert_eq!((samples.len(), samples[0].at_ms, samples[299].at_ms), (300, 100_000, 399_000));
        assert_eq!(samples[299].latency, LatencyPair::default(), "no event, no latency");
    }

    #[test]
    fn now_forgets_after_ten_seconds_and_the_run_never() {
        let mut history = History::default();
        let sample = history.push(0, 1.0, 0, of_commit(5000));
        assert_eq!(sample.latency.commit_ms.unwrap().p99, history.recent().commit_ms.unwrap().p99);
        for second in 1..=10 {
            history.push(second * 1000, 1.0, 0, of_commit(50));
        }
        assert_eq!(history.recent().commit_ms, Some(Quantiles { p50: 50, p99: 50 }));
        assert!(history.all().commit_ms.unwrap().p99 >= 5000);
        assert_eq!(history.all().kafka_ms, None);
    }
}
