//! The source itself: partitions assigned, records handed out, positions kept.

mod take_up;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use dabi_core::position::{Offset, Position, Topic, TopicPartition};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, Offset as KafkaOffset, TopicPartitionList};

use super::discovery::{Discovery, Topics, all_topics, near_names};
use super::error::SourceError;
use super::growth::Growth;
use super::message::{Message, Origin};
use super::native::{Consumer, RawMessage, c_name};
use super::settings::{InvalidKafkaSettings, KafkaSettings};

/// How long a broker may take to answer at start.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// How often the position is mirrored to the consumer group, at most.
const MIRROR_INTERVAL: Duration = Duration::from_secs(2);
/// How long a topic must be missing to be gone.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// The records of every selected topic, from a position on.
///
/// One thread polls it; it blocks, so not a thread of an async runtime. It
/// stops reading ahead (at about 16 MB) when it is not polled. Once `poll` has
/// returned an error, the source is at its end.
pub struct Source {
    // The thread of `discovery` goes first: it uses the consumer.
    discovery: Discovery,
    consumer: Arc<Consumer>,
    config: ClientConfig,
    /// The next offset of each assigned partition that `poll` will return.
    position: Position,
    /// Where dabi stood at start: checked when a topic turns up later.
    start: Position,
    /// How many partitions of each topic are assigned or wait.
    known: Topics,
    growth: Growth,
    /// Partitions that wait for others of their topic, and are not read meanwhile.
    stopped: BTreeSet<(Topic, i32)>,
    /// Partitions of which the last poll dropped records, because they must wait.
    dropped: BTreeSet<(Topic, i32)>,
    turned: bool,
    /// Topics that the last look did not find any more, and since when.
    missing: BTreeMap<Topic, Instant>,
    origins: Vec<(usize, Arc<Origin>)>,
    batch: Vec<RawMessage>,
    mirrored: Option<Instant>,
    halted: bool,
}

impl Source {
    /// Connects, checks `start` against what the broker has, and begins to
    /// read ahead. Partitions without a position begin at their oldest record.
    ///
    /// # Errors
    /// If the settings are wrong, no broker answers, no topic matches, or the
    /// broker no longer has (or never had) a position.
    pub fn connect(settings: &KafkaSettings, start: &Position) -> Result<Self, SourceError> {
        let config = settings.consumer_config()?;
        let consumer = Arc::new(Consumer::new(&config).map_err(settings_error)?);
        let topics = wait_for_topics(&consumer, settings)?;
        for name in settings.topics.names().iter().filter(|name| !topics.contains_key(name.as_str())) {
            tracing::warn!(topic = name, "topic does not exist yet; dabi reads it as soon as it does");
        }
        for (topic, _, next) in start.iter().filter(|(topic, ..)| !topics.contains_key(*topic)) {
            tracing::warn!(%topic, position = next.0, "topic of an earlier run is no longer read");
        }
        let discovery =
            Discovery::start(Arc::clone(&consumer), settings.topics.clone(), settings.refresh_interval())
                .map_err(|error| SourceError::Client { what: "start a thread", reason: error.to_string() })?;
        let mut source = Self {
            discovery,
            consumer,
            config,
            position: Position::default(),
            start: start.clone(),
            known: Topics::new(),
            growth: Growth::default(),
            stopped: BTreeSet::new(),
            dropped: BTreeSet::new(),
            turned: false,
            missing: BTreeMap::new(),
            origins: Vec::new(),
            batch: Vec::new(),
            mirrored: None,
            halted: false,
        };
        for (topic, partitions) in topics {
            source.take_up_topic(&topic, partitions).map_err(|error| error.at_start(settings))?;
        }
        source.let_go()?;
        Ok(source)
    }

    /// The records that are there, in order within each partition: at most
    /// `max_messages`, waiting up to `max_wait` for the first.
    ///
    /// Records of a partition that was added to a topic come in a later call
    /// than those of the older partitions that must precede them: whoever
    /// merges the results of several calls keeps their order. See also
    /// [`has_turned`](Self::has_turned).
    ///
    /// # Errors
    /// If the broker no longer has what comes next (see [`SourceError`]).
    /// Never because a broker is away: then nothing comes until it is back.
    pub fn poll(&mut self, max_messages: usize, max_wait: Duration) -> Result<Vec<Message>, SourceError> {
        if self.halted {
            return Err(SourceError::Client { what: "poll", reason: "the source has halted".to_owned() });
        }
        let result = self.poll_unless_halted(max_messages, max_wait);
        self.halted = result.is_err();
        result
    }

    fn poll_unless_halted(&mut self, max: usize, max_wait: Duration) -> Result<Vec<Message>, SourceError> {
        self.consumer.serve_events();
        if let Some(found) = self.discovery.found() {
            self.take_up_found(found)?;
        }
        let mut batch = std::mem::take(&mut self.batch);
        self.consumer.consume(&mut batch, max, max_wait);
        let messages = self.hand_out(&mut batch);
        self.batch = batch;
        let messages = messages?;
        if !messages.is_empty() {
            self.consumer.status().reached();
        }
        self.let_go()?;
        Ok(messages)
    }

    /// True once after partitions of a topic have waited for each other: what the
    /// next calls of `poll` give must stand behind all that came before, whatever
    /// partition it is of.
    pub fn has_turned(&mut self) -> bool {
        std::mem::take(&mut self.turned)
    }

    fn hand_out(&mut self, batch: &mut Vec<RawMessage>) -> Result<Vec<Message>, SourceError> {
        let mut messages: Vec<Message> = Vec::with_capacity(batch.len());
        // Records come in runs of one partition: the position moves once a run.
        let mut run: Option<(Arc<Origin>, usize, i32, Offset)> = None;
        for raw in batch.drain(..) {
            if let Some(code) = raw.error() {
                self.on_error(code, &raw)?;
                continue;
            }
            let (id, partition, offset) = (raw.topic_id(), raw.partition(), Offset(raw.offset()));
            if self.must_wait(&raw) {
                continue;
            }
            let origin = match &mut run {
                Some((origin, run_id, run_partition, last))
                    if *run_id == id && *run_partition == partition =>
                {
                    *last = offset;
                    Arc::clone(origin)
                }
                _ => {
                    if let Some((origin, _, partition, last)) = run.take() {
                        self.reached(&origin.topic, partition, last.next());
                    }
                    let origin = self.origin(&raw);
                    run = Some((Arc::clone(&origin), id, partition, offset));
                    origin
                }
            };
            messages.push(Message::new(raw, origin));
        }
        if let Some((origin, _, partition, last)) = run {
            self.reached(&origin.topic, partition, last.next());
        }
        Ok(messages)
    }

    /// Is a record behind where its partition has to stop for now? Then it is read
    /// again later.
    fn must_wait(&mut self, raw: &RawMessage) -> bool {
        if self.growth.is_idle() {
            return false;
        }
        let (topic, partition): (Topic, _) = (raw.topic_name().into(), raw.partition());
        let limit = self.growth.limit(&topic, partition);
        let Some(limit) = limit.filter(|limit| raw.offset() >= limit.0) else { return false };
        // Everything before it has been handed out.
        self.reached(&topic, partition, limit);
        self.dropped.insert((topic, partition));
        true
    }

    /// Everything below `position` was handed out, or holds no record.
    fn reached(&mut self, topic: &Topic, partition: i32, position: Offset) {
        if self.position.get(topic, partition).is_some_and(|have| have < position) {
            self.position.set(topic, partition, position);
        }
    }

    fn origin(&mut self, raw: &RawMessage) -> Arc<Origin> {
        let id = raw.topic_id();
        // An id stays with its topic while any partition of it is read (see `unassign`).
        if let Some((_, origin)) = self.origins.iter().find(|(have, _)| *have == id) {
            return Arc::clone(origin);
        }
        let name = raw.topic_name();
        let topic =
            self.known.get_key_value(name.as_str()).map_or_else(|| name.into(), |(k, _)| Arc::clone(k));
        let origin = Arc::new(Origin { topic, _consumer: Some(Arc::clone(&self.consumer)) });
        self.origins.push((id, Arc::clone(&origin)));
        origin
    }

    /// What an error in the queue means.
    fn on_error(&mut self, code: RDKafkaErrorCode, raw: &RawMessage) -> Result<(), SourceError> {
        let partition = TopicPartition::new(raw.topic_name(), raw.partition());
        let position = Offset(raw.offset());
        match code {
            RDKafkaErrorCode::PartitionEOF => {
                // The end may lie behind records that are never handed out:
                // transaction markers, aborted records.
                let (topic, partition) = (&partition.topic, partition.partition);
                // Nor may it lie behind records that wait.
                if self.growth.limit(topic, partition).is_none_or(|limit| position <= limit) {
                    self.reached(topic, partition, position);
                }
                self.consumer.status().reached();
                Ok(())
            }
            RDKafkaErrorCode::AutoOffsetReset | RDKafkaErrorCode::OffsetOutOfRange => {
                Err(SourceError::OffsetOutOfRange { partition, position, reason: raw.error_text() })
            }
            RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::UnknownTopicId => {
                // Brokers say this for a moment while they restart, too.
                tracing::warn!(%partition, reason = raw.error_text(), "the broker does not know the partition; looking again");
                self.consumer.status().doubt();
                Ok(())
            }
            RDKafkaErrorCode::BadMessage
            | RDKafkaErrorCode::BadCompression
            | RDKafkaErrorCode::NotImplemented
            | RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::Fatal => {
                Err(SourceError::Partition { partition, position, reason: raw.error_text() })
            }
            transient => {
                self.consumer.status().error(transient, &raw.error_text());
                Ok(())
            }
        }
    }

    /// Lets go on whoever waits no more, and stops who must wait from now on.
    fn let_go(&mut self) -> Result<(), SourceError> {
        if self.growth.is_idle() {
            return Ok(());
        }
        let released = self.growth.release(&self.position);
        self.turned |= released.is_turn;
        let stopped = self.growth.stopped(&self.position);
        // Whose records were dropped must be read again from there, even if it may go on.
        let dropped = std::mem::take(&mut self.dropped);
        let stops: BTreeSet<_> =
            stopped.union(&dropped).filter(|p| !self.stopped.contains(*p)).cloned().collect();
        self.unassign(&stops)?;
        let was_stopped = std::mem::replace(&mut self.stopped, stopped);
        let freed = was_stopped.union(&stops).filter(|partition| !self.stopped.contains(*partition));
        let freed = freed.map(|(topic, partition)| {
            let position = self.position.get(topic, *partition).unwrap_or_default();
            (Topic::clone(topic), *partition, position)
        });
        let begin: Vec<_> = freed.chain(released.new).collect();
        self.assign(&begin)
    }

    fn assign(&mut self, partitions: &[(Topic, i32, Offset)]) -> Result<(), SourceError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition, from) in partitions {
            list.add_partition_offset(topic, *partition, KafkaOffset::Offset(from.0))
                .map_err(|error| SourceError::Client { what: "assign", reason: error.to_string() })?;
            self.position.set(topic, *partition, *from);
        }
        self.consumer.assign_more(&list).map_err(|reason| SourceError::Client { what: "assign", reason })
    }

    fn unassign(&mut self, partitions: &BTreeSet<(Topic, i32)>) -> Result<(), SourceError> {
        if partitions.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            list.add_partition(topic, *partition);
            self.origins.retain(|(_, origin)| origin.topic != *topic);
        }
        self.consumer.assign_less(&list).map_err(|reason| SourceError::Client { what: "unassign", reason })
    }

    /// The next offset of each partition that `poll` will return: everything
    /// below was handed out, or holds no record (transaction markers).
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Asks the broker where every partition ends now, those that wait for
    /// older ones included.
    ///
    /// # Errors
    /// If it does not answer within 10 s.
    pub fn end_offsets(&self) -> Result<Position, SourceError> {
        let mut ends = Position::default();
        for (topic, partitions) in &self.known {
            for partition in 0..*partitions {
                let (_, high) =
                    self.consumer.client().fetch_watermarks(topic, partition, CONNECT_WITHIN).map_err(
                        |error| SourceError::Client {
                            what: "tell where a partition ends",
                            reason: format!("{topic}[{partition}]: {error}"),
                        },
                    )?;
                ends.set(topic, partition, Offset(high));
            }
        }
        Ok(ends)
    }

    /// Where the partitions ended when they were last fetched; asks nobody.
    #[must_use]
    pub fn cached_end_offsets(&self) -> Position {
        let mut ends = Position::default();
        for (topic, partitions) in &self.known {
            let Some(name) = c_name(topic) else { continue };
            for partition in 0..*partitions {
                if let Some((_, high)) = self.consumer.cached_watermarks(&name, partition) {
                    ends.set(topic, partition, Offset(high));
                }
            }
        }
        ends
    }

    /// False while no broker answers.
    #[must_use]
    pub fn is_reachable(&self) -> bool {
        self.consumer.status().is_reachable()
    }

    /// Mirrors a durable position to the consumer group, for lag monitors and
    /// for whoever paces itself by dabi. Returns at once; does nothing within
    /// 2 s of the last time; failures are logged, and nothing depends on it.
    pub fn commit_mirror(&mut self, durable: &Position) {
        if durable.is_empty() || self.mirrored.is_some_and(|at| at.elapsed() < MIRROR_INTERVAL) {
            return;
        }
        self.mirrored = Some(Instant::now());
        let mut list = TopicPartitionList::new();
        for (topic, partition, next) in durable.iter().filter(|(topic, ..)| self.known.contains_key(*topic)) {
            // Fails for negative offsets only.
            let _ = list.add_partition_offset(topic, partition, KafkaOffset::Offset(next.0));
        }
        if let Err(error) = self.consumer.commit(&list) {
            self.consumer.status().committed(Err(error));
        }
    }
}

fn wait_for_topics(consumer: &Consumer, settings: &KafkaSettings) -> Result<Topics, SourceError> {
    let all = all_topics(consumer, CONNECT_WITHIN).map_err(|error| {
        consumer.serve_events();
        SourceError::Connect {
            brokers: settings.brokers.clone(),
            waited: CONNECT_WITHIN,
            reason: consumer.status().last_error().unwrap_or_else(|| error.to_string()),
        }
    })?;
    let (found, others): (Topics, Topics) =
        all.into_iter().partition(|(topic, _)| settings.topics.matches(topic));
    if found.is_empty() {
        return Err(SourceError::NoTopics {
            brokers: settings.brokers.clone(),
            topics: settings.topics.clone(),
            near: near_names(&settings.topics.to_string(), &others),
        });
    }
    Ok(found)
}

/// librdkafka's refusal of the settings, without the value of a secret.
fn settings_error(error: KafkaError) -> SourceError {
    match error {
        KafkaError::ClientConfig(_, description, key, value) => {
            let reason = if value.is_empty() { description } else { description.replace(&value, "…") };
            SourceError::Settings(InvalidKafkaSettings::Property { key, reason })
        }
        other => SourceError::Client { what: "make a client", reason: other.to_string() },
    }
}
