//! Decoding, measured: CPU time per event against parsing into
//! `serde_json::Value` and building the same columns from it, in one run.
//!
//! Prints one JSON object a line: name, value, unit, baseline, ratio,
//! conditions. Passes of both alternate, so that a change of the machine's pace
//! strikes both; each figure is the median.

mod baseline;
mod messages;

use dabi_core::debezium::{Record, TopicDecoder};
use dabi_core::position::Offset;
use messages::{Message, Shape};
use rustix::time::{ClockId, clock_gettime};

/// The allocator of the dabi binary: it favours the baseline, which allocates more.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const EVENTS: usize = 100_000;
const BATCH_ROWS: usize = 8192;
const PASSES: usize = 7;

fn main() {
    for shape in [Shape::Schemaless, Shape::WithSchema, Shape::Shuffled] {
        // with its schema a message is six times as large
        let events = if shape == Shape::WithSchema { EVENTS / 4 } else { EVENTS };
        let messages = messages::messages(shape, events);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..PASSES {
            ours.push(cpu_ns(|| decode(&messages)) / events as f64);
            theirs.push(cpu_ns(|| baseline::decode(&messages, shape)) / events as f64);
        }
        report(shape, &messages, median(ours), median(theirs));
    }
}

/// Decodes in batches; gives the number of rows, so that nothing is left out.
fn decode(messages: &[Message]) -> usize {
    let mut decoder = TopicDecoder::new(messages::TOPIC.into());
    let mut rows = 0;
    let mut drain = |decoder: &mut TopicDecoder| {
        let decoded = decoder.finish();
        assert!(decoded.dead_letters.is_empty(), "the messages are valid");
        rows += decoded.batches.iter().map(dabi_core::change::ChangeBatch::num_rows).sum::<usize>();
    };
    for (offset, message) in (0..).zip(messages) {
        decoder.push(&Record {
            partition: 0,
            offset: Offset(offset),
            timestamp_ms: Some(1_700_000_000_000),
            key: Some(&message.key),
            value: Some(&message.value),
            headers: &(),
        });
        if decoder.rows() == BATCH_ROWS {
            drain(&mut decoder);
        }
    }
    drain(&mut decoder);
    assert_eq!(rows, messages.len(), "every message is a row");
    rows
}

fn cpu_ns(work: impl FnOnce() -> usize) -> f64 {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
    };
    let start = now();
    std::hint::black_box(work());
    now() - start
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn report(shape: Shape, messages: &[Message], ours: f64, theirs: f64) {
    let bytes = messages.iter().map(|message| message.value.len()).sum::<usize>() / messages.len();
    let conditions = format!(
        "12 columns, {bytes} B a value, {} events, batches of {BATCH_ROWS} rows, CPU time of one thread, \
         median of {PASSES} passes; baseline: serde_json::Value, then the same columns, without the key",
        messages.len()
    );
    let name = match shape {
        Shape::Schemaless => "decode, JSON without schema",
        Shape::WithSchema => "decode, JSON with schema",
        Shape::Shuffled => "decode, JSON without schema, fields in random order (general path)",
    };
    let round = |figure: f64| (figure * 100.0).round() / 100.0;
    let line = serde_json::json!({
        "name": name, "value": ours.round(), "unit": "ns CPU per event", "baseline": theirs.round(),
        "ratio": round(theirs / ours), "conditions": conditions,
    });
    println!("{line}");
}
