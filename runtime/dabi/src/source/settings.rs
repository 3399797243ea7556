//! `[kafka]`: where the topics are, which ones, and how to log in.
//!
//! Owns the settings that dabi must decide itself for the promise to hold, and
//! refuses them from outside. Security is librdkafka's own vocabulary, passed
//! through under `[kafka.properties]`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use regex::Regex;
use serde::{Deserialize, Serialize};

/// The consumer group that mirrors the position, unless another is named.
pub const DEFAULT_GROUP: &str = "dabi";

/// The `[kafka]` table.
///
/// ```toml
/// [kafka]
/// brokers = "kafka-1:9092,kafka-2:9092"
/// topics = ["cdc.shop.orders", "^cdc\\.shop\\.order_.*"]
/// group = "dabi"
///
/// [kafka.properties]            # librdkafka's names: TLS, SASL, tuning
/// "security.protocol" = "SASL_SSL"
/// "sasl.mechanisms" = "SCRAM-SHA-512"
/// ```
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// Which topics are read.
    pub topics: TopicSelection,
    /// The consumer group under which positions are mirrored, for lag monitors.
    #[serde(default = "default_group")]
    pub group: String,
    /// librdkafka properties: `security.protocol`, `sasl.*`, `ssl.*`, tuning.
    /// Their values are never printed.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

fn default_group() -> String {
    DEFAULT_GROUP.to_owned()
}

impl fmt::Debug for KafkaSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaSettings")
            .field("brokers", &self.brokers)
            .field("topics", &self.topics)
            .field("group", &self.group)
            .field("properties", &self.properties.keys().collect::<Vec<_>>())
            .finish()
    }
}

/// Topic names, or regular expressions: an entry that starts with `^` is one,
/// as in librdkafka (it need not match to the end of the name; write `$` where
/// it must). One entry may stand without a list.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "OneOrMany")]
pub struct TopicSelection {
    names: Vec<String>,
    patterns: Vec<Regex>,
}

#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// How often new topics and partitions are looked for: librdkafka's property,
/// with a default of dabi's own.
const REFRESH_KEY: &str = "topic.metadata.refresh.interval.ms";
const REFRESH_MS: &str = "30000";

/// Topics that Kafka keeps for itself: no pattern means them.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__transaction_state", "__share_group_state"];

impl TopicSelection {
    /// The topics that `entries` name.
    ///
    /// # Errors
    /// If there is no entry, or one is not a regular expression.
    pub fn new(entries: &[impl AsRef<str>]) -> Result<Self, InvalidKafkaSettings> {
        if entries.is_empty() {
            return Err(InvalidKafkaSettings::NoTopics);
        }
        let (patterns, names): (Vec<&str>, Vec<&str>) =
            entries.iter().map(AsRef::as_ref).partition(|entry| entry.starts_with('^'));
        let patterns = patterns
            .into_iter()
            .map(|pattern| {
                Regex::new(pattern).map_err(|error| InvalidKafkaSettings::Pattern {
                    pattern: pattern.to_owned(),
                    error: Box::new(error),
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { names: names.into_iter().map(str::to_owned).collect(), patterns })
    }

    /// Is the topic one of these?
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        self.names.iter().any(|name| name == topic)
            || (!INTERNAL.contains(&topic) && self.patterns.iter().any(|pattern| pattern.is_match(topic)))
    }

    /// The topics that are asked for by name.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }
}

impl fmt::Display for TopicSelection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let patterns = self.patterns.iter().map(Regex::as_str);
        let entries: Vec<&str> = self.names.iter().map(String::as_str).chain(patterns).collect();
        f.write_str(&entries.join(", "))
    }
}

impl TryFrom<OneOrMany> for TopicSelection {
    type Error = InvalidKafkaSettings;

    fn try_from(entries: OneOrMany) -> Result<Self, Self::Error> {
        match entries {
            OneOrMany::One(entry) => Self::new(&[entry]),
            OneOrMany::Many(entries) => Self::new(&entries),
        }
    }
}

/// What makes a `[kafka]` table unusable.
#[derive(Debug, thiserror::Error)]
pub enum InvalidKafkaSettings {
    /// No topic is named.
    #[error("kafka.topics is empty: name at least one topic, or a pattern such as \"^cdc\\\\..*\"")]
    NoTopics,
    /// Not a regular expression.
    #[error("kafka.topics: {pattern:?} is not a regular expression: {error}")]
    Pattern {
        /// As written.
        pattern: String,
        /// Where it is wrong.
        error: Box<regex::Error>,
    },
    /// A property that dabi decides.
    #[error("kafka.properties: {key:?} is decided by dabi ({why}): remove it")]
    Owned {
        /// The property.
        key: String,
        /// Why it is not free.
        why: &'static str,
    },
    /// librdkafka refuses a property.
    #[error("kafka.properties: {key:?}: {reason}")]
    Property {
        /// The property.
        key: String,
        /// librdkafka's words, without the value.
        reason: String,
    },
}

/// Properties that carry the promise, each with the reason.
const OWNED: [(&str, &str); 18] = [
    ("bootstrap.servers", "set kafka.brokers"),
    ("metadata.broker.list", "set kafka.brokers"),
    ("group.id", "set kafka.group"),
    ("group.instance.id", "dabi assigns partitions itself"),
    ("group.protocol", "dabi assigns partitions itself"),
    ("partition.assignment.strategy", "dabi assigns partitions itself"),
    ("session.timeout.ms", "dabi assigns partitions itself"),
    ("heartbeat.interval.ms", "dabi assigns partitions itself"),
    ("enable.auto.commit", "a position advances only when it is durable"),
    ("auto.commit.enable", "a position advances only when it is durable"),
    ("enable.auto.offset.store", "a position advances only when it is durable"),
    ("auto.offset.reset", "a lost position halts instead of being skipped"),
    ("enable.partition.eof", "dabi follows the ends of partitions by it"),
    ("isolation.level", "aborted transactions are no change events"),
    ("check.crcs", "damaged records are not let in"),
    ("client.id", "it names dabi in the broker's logs"),
    ("allow.auto.create.topics", "reading creates no topics"),
    ("log.queue", "logs go through dabi"),
];

impl KafkaSettings {
    /// Settings for a broker that dabi itself runs.
    #[must_use]
    pub fn embedded(brokers: impl Into<String>, topics: TopicSelection) -> Self {
        Self { brokers: brokers.into(), topics, group: default_group(), properties: BTreeMap::new() }
            .for_embedded_broker()
    }

    /// The same, where the brokers are one that dabi itself runs.
    #[must_use]
    pub fn for_embedded_broker(mut self) -> Self {
        // It answers an empty fetch only when its wait is over, even if a record
        // arrives meanwhile: the wait is the latency.
        self.properties.insert("fetch.wait.max.ms".to_owned(), "10".to_owned());
        self
    }

    /// A client of these brokers, with the user's properties and nothing else.
    ///
    /// # Errors
    /// If a property belongs to dabi.
    pub fn client_config(&self) -> Result<ClientConfig, InvalidKafkaSettings> {
        for key in self.properties.keys() {
            if let Some((_, why)) = OWNED.iter().find(|(owned, _)| owned == key) {
                return Err(InvalidKafkaSettings::Owned { key: key.clone(), why });
            }
        }
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        config.set("client.id", "dabi").set("bootstrap.servers", &self.brokers);
        config.set("log.connection.close", "false");
        config.extend(self.properties.iter().map(|(key, value)| (key.clone(), value.clone())));
        Ok(config)
    }

    /// How often new topics and partitions are looked for.
    pub(super) fn refresh_interval(&self) -> Duration {
        let ms = self.properties.get(REFRESH_KEY).map_or(REFRESH_MS, String::as_str);
        // librdkafka has refused what is no number; a negative one means never.
        Duration::from_millis(ms.parse().unwrap_or(u64::MAX))
    }

    /// The consumer that [`Source`](super::Source) runs.
    pub(super) fn consumer_config(&self) -> Result<ClientConfig, InvalidKafkaSettings> {
        let user = self.client_config()?;
        let mut config = ClientConfig::new();
        config.set_log_level(RDKafkaLogLevel::Info);
        // Free to be tuned by the user.
        config
            // When the queue is full librdkafka sleeps this long, by default a
            // whole second, during which nothing is fetched.
            .set("fetch.queue.backoff.ms", "5")
            .set("queued.min.messages", "100000")
            .set("queued.max.messages.kbytes", "16384")
            // One response may overshoot the queue's limit by this much.
            .set("fetch.max.bytes", "8388608")
            // Brokers answer as soon as there is one byte; this bounds how long
            // a partition that joins the next fetch waits for the current one.
            .set("fetch.wait.max.ms", "100")
            .set("reconnect.backoff.max.ms", "2000")
            .set(REFRESH_KEY, REFRESH_MS);
        config.extend(user.config_map().into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())));
        config
            .set("group.id", &self.group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true")
            // There is no session; this is how long a group offset that cannot
            // be sent keeps the client from ending.
            .set("session.timeout.ms", "2000")
            .set("heartbeat.interval.ms", "500")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "true")
            .set("allow.auto.create.topics", "false");
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<KafkaSettings, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn topics_are_names_or_patterns() {
        let settings = parse("brokers = 'b:1'\ntopics = ['a.b', '^shop\\..*_x$']").expect("valid");
        for (topic, expected) in
            [("a.b", true), ("axb", false), ("shop.t_x", true), ("shop.t_xy", false), ("b", false)]
        {
            assert_eq!(settings.topics.matches(topic), expected, "{topic}");
        }
        let all = parse("brokers = 'b:1'\ntopics = '^.*'").expect("valid").topics;
        assert!(all.matches("__debezium-heartbeat.cdc") && !all.matches("__consumer_offsets"));
    }

    #[test]
    fn what_dabi_decides_and_what_is_unknown_is_refused() {
        let error = |text: &str| match parse(text).map(|s| s.consumer_config()) {
            Err(error) => error,
            Ok(config) => config.expect_err("refused").to_string(),
        };
        assert!(error("brokers = 'b:1'\ntopics = []").contains("name at least one topic"));
        assert!(error("brokers = 'b:1'\ntopics = '^('").contains("not a regular expression"));
        assert!(error("brokers = 'b:1'\ntopics = 'a'\nbroker = 'x'").contains("unknown field"));
        let owned = error("brokers = 'b:1'\ntopics = 'a'\n[properties]\n'auto.offset.reset' = 'latest'");
        assert!(owned.contains("auto.offset.reset") && owned.contains("remove it"), "{owned}");
    }

    #[test]
    fn secrets_do_not_print() {
        let settings =
            parse("brokers = 'b:1'\ntopics = 'a'\n[properties]\n'sasl.password' = 'hunter2'").expect("valid");
        let printed = format!("{settings:?}");
        assert!(printed.contains("sasl.password") && !printed.contains("hunter2"), "{printed}");
    }
}
