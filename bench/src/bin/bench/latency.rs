//! From Kafka to visible, seen from outside: a reader of the star asks for the
//! newest row again and again while a producer writes at a rate.
//!
//! Invariant: a figure is never better than what the reader saw. An event
//! counts as visible when an answer that holds it has arrived.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, ensure};

use crate::Bench;
use crate::clickhouse::{ClickHouse, Client};
use crate::pipeline::{DATABASE, Pipeline, Setup};
use crate::process::Process;
use crate::results::{Figure, Target};

/// Events a second.
const RATE: u32 = 1_000;
const EVENT_EVERY_US: i64 = 1_000;
const SECONDS: u32 = 60;
const SECONDS_QUICK: u32 = 10;
/// Before what counts: the producer connects, and a broker that was just started
/// compiles its own code.
const WARM_UP: Duration = Duration::from_secs(5);
const P99_MS_MAX: f64 = 200.0;
const TOPIC: &str = "latency.shop.order_items";
/// The producer's last records, on their way to the star.
const LAST_EVENTS: Duration = Duration::from_secs(1);
/// Time between an answer and the next question.
const POLL_EVERY: Duration = Duration::from_millis(15);

/// Runs dabi under a steady load and watches the star.
pub(crate) fn measure(bench: &Bench) -> anyhow::Result<Vec<Figure>> {
    let seconds = if bench.arguments.quick { SECONDS_QUICK } else { SECONDS };
    let folder = bench.data.join("latency");
    let mut topic = bench.generator(TOPIC);
    topic.args(["--events", "0"]);
    Process::start("topic", topic, &folder)?.wait()?;

    let arguments = &bench.arguments;
    let clickhouse = ClickHouse::start(&bench.binary("dabi-clickhouse"), &arguments.clickhouse, &folder)?;
    let (dabi, brokers) = (bench.binary("dabi"), bench.kafka.brokers());
    let transforms = bench.modules(&["order_items"], &folder)?;
    let setup = Setup { dabi: &dabi, transforms: &transforms, brokers, topics: TOPIC, folder: &folder };
    let pipeline = Pipeline::start(&setup, &clickhouse, &[])?;

    let mut generator = bench.generator(TOPIC);
    let lasting = u64::from(seconds) + WARM_UP.as_secs();
    generator.args(["--rate", &RATE.to_string(), "--for", &lasting.to_string()]);
    let generator = Process::start("generate", generator, &folder)?;
    let sql = format!("SELECT toUnixTimestamp64Micro(max(updated_at)) FROM {DATABASE}.f_order_items");
    let done = AtomicBool::new(false);
    thread::sleep(WARM_UP);
    let before = pipeline.metrics()?;
    let sightings = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(clickhouse.client(), &sql, &done));
        let written = generator.wait();
        thread::sleep(LAST_EVENTS);
        done.store(true, Ordering::Relaxed);
        let sightings = watcher.join().expect("a panic of a thread is one of the process");
        written.and(sightings)
    })?;
    let metrics = pipeline.metrics()?.since(&before);
    pipeline.stop()?;

    let seen = latencies_ms(&sightings, EVENT_EVERY_US);
    ensure!(!seen.is_empty(), "no event became visible");
    let conditions = format!(
        "{RATE} events/s for {seconds} s without schema, after {} s of it to warm up; {}",
        WARM_UP.as_secs(),
        bench.machine
    );
    let outside = format!(
        "a reader of the star's view, asking every 15 ms or more ({} answers); {conditions}",
        sightings.len()
    );
    let mut figures = vec![
        Figure::new("latency.p50", quantile(&seen, 0.5), "ms", &outside),
        Figure::new("latency.p99", quantile(&seen, 0.99), "ms", &outside).should(Target::AtMost(P99_MS_MAX)),
    ];
    for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
        let own = metrics.quantile("dabi_latency_seconds", share).context("dabi reported no latency")?;
        let bucket = format!("within {:.0} to {:.0} ms", own.lower * 1e3, own.upper * 1e3);
        let conditions = format!("dabi's own metric, {bucket}; {conditions}");
        figures.push(Figure::new(format!("latency.reported_{name}"), own.value * 1e3, "ms", conditions));
    }
    crate::remove(&folder)?;
    Ok(figures)
}

/// One answer: when it came, and the newest event in it (µs since 1970).
#[derive(Clone, Copy, Debug)]
struct Sighting {
    at_us: i64,
    newest_us: i64,
}

/// Asks until `done`.
fn watch(client: &Client, sql: &str, done: &AtomicBool) -> anyhow::Result<Vec<Sighting>> {
    let mut sightings = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let newest_us = client.number(sql)?;
        sightings.push(Sighting { at_us: now_us()?, newest_us });
        std::thread::sleep(POLL_EVERY);
    }
    Ok(sightings)
}

/// The latencies, in ms, of the events that `sightings` show, one every
/// `event_every_us` from the first sighting to the last.
fn latencies_ms(sightings: &[Sighting], event_every_us: i64) -> Vec<f64> {
    let mut latencies = Vec::new();
    let mut seen_us =
        sightings.iter().map(|sighting| sighting.newest_us).find(|newest| *newest > 0).unwrap_or(0);
    for sighting in sightings {
        while seen_us + event_every_us <= sighting.newest_us {
            seen_us += event_every_us;
            #[expect(clippy::cast_precision_loss, reason = "a time of some seconds")]
            latencies.push((sighting.at_us - seen_us) as f64 / 1e3);
        }
    }
    latencies.sort_by(f64::total_cmp);
    latencies
}

/// The value below which this share of the sorted `values` lies.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place in a list of at most millions"
    )]
    let place = (share * (values.len() - 1) as f64).ceil() as usize;
    values[place]
}

pub(crate) fn now_us() -> anyhow::Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_counts_from_its_own_time_to_the_answer_that_shows_it() {
        let sightings = [(50_000, 0), (100_000, 90_000), (110_000, 90_000), (200_000, 93_000)]
            .map(|(at_us, newest_us)| Sighting { at_us, newest_us });
        // Events at 91, 92 and 93 ms, all first seen at 200 ms.
        assert_eq!(latencies_ms(&sightings, 1_000), [107.0, 108.0, 109.0]);
    }

    #[test]
    fn quantiles_are_values_of_the_list() {
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 0.5), 3.0);
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 4.0], 1.0), 4.0);
    }
}
