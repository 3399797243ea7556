//! Which topics are there: at start, and again from time to time.
//!
//! Owns the thread that asks, so that a broker that is slow to answer never
//! holds up the reading. Does not decide what a change means: `reader` does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dabi_core::position::Topic;
use rdkafka::error::KafkaError;

use super::native::Consumer;
use super::settings::TopicSelection;

/// How often topics are looked for while something looks wrong.
const INTERVAL_IN_DOUBT: Duration = Duration::from_secs(5);
/// How often the thread sees to librdkafka's events, polled or not.
const TICK: Duration = Duration::from_millis(500);
/// How long a broker may take to answer; also what a stop may have to wait.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// The topics selected, each with its number of partitions.
pub(super) type Topics = BTreeMap<Topic, i32>;

/// All topics of the cluster, each with its number of partitions.
pub(super) fn all_topics(consumer: &Consumer, timeout: Duration) -> Result<Topics, KafkaError> {
    let metadata = consumer.client().fetch_metadata(None, timeout)?;
    let topics = metadata.topics().iter().filter(|topic| topic.error().is_none());
    Ok(topics
        .map(|topic| (topic.name().into(), i32::try_from(topic.partitions().len()).unwrap_or(i32::MAX)))
        .filter(|(_, partitions)| *partitions > 0)
        .collect())
}

/// Up to five of `topics` whose names resemble what was asked for.
pub(super) fn near_names(wanted: &str, topics: &Topics) -> String {
    let wanted: Vec<&str> = wanted.split(", ").map(|entry| entry.trim_start_matches('^')).collect();
    let likeness =
        |topic: &str| wanted.iter().map(|entry| strsim::jaro_winkler(entry, topic)).fold(0.0, f64::max);
    let mut near: Vec<(&str, f64)> = topics
        .keys()
        .filter(|topic| !topic.starts_with("__"))
        .map(|topic| (&**topic, likeness(topic)))
        .collect();
    near.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(b.0)));
    match near.as_slice() {
        [] => "the broker has no topics yet: start the connector first".to_owned(),
        near => {
            let names: Vec<&str> = near.iter().take(5).map(|(name, _)| *name).collect();
            format!("there are {} topics, the nearest: {}", near.len(), names.join(", "))
        }
    }
}

/// The thread that looks for topics.
pub(super) struct Discovery {
    // Dropped to stop the thread.
    stop: Option<Sender<()>>,
    found: Receiver<Topics>,
    thread: Option<JoinHandle<()>>,
}

impl Discovery {
    pub(super) fn start(
        consumer: Arc<Consumer>,
        selection: TopicSelection,
        interval: Duration,
    ) -> std::io::Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let (finding, found) = mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name("kafka-discovery".to_owned())
            .spawn(move || look(&consumer, &selection, interval, &stopped, &finding))?;
        Ok(Self { stop: Some(stop), found, thread: Some(thread) })
    }

    /// What was found since the last call.
    pub(super) fn found(&self) -> Option<Topics> {
        self.found.try_iter().last()
    }
}

impl Drop for Discovery {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has no state of ours; a panic in it has been reported.
            let _ = thread.join();
        }
    }
}

fn look(
    consumer: &Consumer,
    selection: &TopicSelection,
    interval: Duration,
    stopped: &Receiver<()>,
    finding: &SyncSender<Topics>,
) {
    let status = consumer.status();
    let mut looked = Instant::now();
    let mut in_doubt = false;
    while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(TICK) {
        // The reader may be held up for long; an outage is noticed all the same.
        consumer.serve_events();
        let newly_in_doubt = status.is_in_doubt() && !in_doubt;
        in_doubt = status.is_in_doubt();
        let due = if in_doubt { interval.min(INTERVAL_IN_DOUBT) } else { interval };
        if !newly_in_doubt && looked.elapsed() < due {
            continue;
        }
        looked = Instant::now();
        match all_topics(consumer, ANSWER_WITHIN) {
            Ok(mut topics) => {
                status.reached();
                topics.retain(|topic, _| selection.matches(topic));
                // Full: the reader has yet to take the last one, and the next will do.
                let _ = finding.try_send(topics);
            }
            Err(error) => {
                consumer.serve_events();
                status.unreachable(&error.to_string());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_resemble_are_named_first() {
        let topics: Topics = ["cdc.shop.orders", "cdc.shop.users", "zzz", "__consumer_offsets"]
            .map(|name| (name.into(), 1))
            .into();
        let near = near_names("^cdc.shop.order$, other", &topics);
        assert!(near.starts_with("there are 3 topics, the nearest: cdc.shop.orders, "), "{near}");
        assert!(near_names("a", &Topics::new()).contains("no topics yet"));
    }
}
