//! A Debezium connector's settings, as Kafka Connect's REST interface gives them.
//!
//! Names and defaults are those of Debezium's documentation of the PostgreSQL
//! connector and of `ExtractNewRecordState`.

use std::collections::BTreeMap;

use super::Finding;

const FLATTEN: &str = "io.debezium.transforms.ExtractNewRecordState";
const JSON_CONVERTER: &str = "org.apache.kafka.connect.json.JsonConverter";

/// Judges the settings of the connector `name`. Only names and values of settings
/// that are judged appear in the findings.
#[must_use]
pub fn judge_connector(name: &str, config: &BTreeMap<String, String>) -> Vec<Finding> {
    let settings = Settings { name, config };
    let mut findings = Vec::new();
    findings.extend(settings.times());
    findings.extend(settings.decimals());
    findings.extend(settings.skipped_operations());
    findings.extend(settings.null_defaults());
    findings.extend(settings.message_keys());
    for alias in settings.list("transforms") {
        if settings.get(&format!("transforms.{alias}.type")) == Some(FLATTEN) {
            findings.extend(settings.flattening(&alias));
        }
    }
    findings
}

struct Settings<'a> {
    name: &'a str,
    config: &'a BTreeMap<String, String>,
}

impl Settings<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.config.get(key).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    fn list(&self, key: &str) -> Vec<String> {
        let values = self.get(key).unwrap_or_default().split(',').map(str::trim);
        values.filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }

    fn place(&self, key: &str) -> String {
        format!("connector {}, {key}", self.name)
    }

    fn times(&self) -> Option<Finding> {
        let key = "time.precision.mode";
        let is_lossy = self.get(key) == Some("connect");
        is_lossy.then(|| {
            Finding::refused(
                self.place(key),
                "connect sends times in milliseconds, and microseconds are lost",
                "set it to adaptive, its default, and take a new snapshot",
            )
        })
    }

    fn decimals(&self) -> Option<Finding> {
        let key = "decimal.handling.mode";
        let is_lossy = self.get(key) == Some("double");
        is_lossy.then(|| {
            Finding::refused(
                self.place(key),
                "double rounds decimals",
                "set it to precise or string, and take a new snapshot",
            )
        })
    }

    fn skipped_operations(&self) -> Option<Finding> {
        let key = "skipped.operations";
        // Its default is t.
        let skipped = self.get(key).unwrap_or("t");
        let skips = |operation: &str| skipped.split(',').any(|skipped| skipped.trim() == operation);
        let remedy = "set skipped.operations to none";
        let lost: Vec<&str> = ["c", "u", "d"].into_iter().filter(|operation| skips(operation)).collect();
        if !lost.is_empty() {
            let fault = format!("events of kind {} are not sent", lost.join(", "));
            return Some(Finding::refused(self.place(key), fault, remedy));
        }
        skips("t").then(|| {
            let fault = "TRUNCATE is not sent (the connector's default): after one, the star keeps rows that the \
                         source has no more";
            Finding::warning(self.place(key), fault, remedy)
        })
    }

    fn null_defaults(&self) -> Option<Finding> {
        let converter = self.get("value.converter")?;
        let key = "value.converter.replace.null.with.default";
        (converter == JSON_CONVERTER && self.get(key) != Some("false")).then(|| {
            Finding::warning(
                self.place(key),
                "a null in a column that has a default is sent as the default",
                "set it to false",
            )
        })
    }

    fn message_keys(&self) -> Option<Finding> {
        let key = "message.key.columns";
        self.get(key).map(|_| {
            Finding::warning(
                self.place(key),
                "the record's key is not the primary key; deletes have no key where the table is not REPLICA \
                 IDENTITY FULL",
                "give those tables REPLICA IDENTITY FULL, or leave the setting out",
            )
        })
    }

    fn flattening(&self, alias: &str) -> Vec<Finding> {
        let key = |name: &str| format!("transforms.{alias}.{name}");
        let mut findings = Vec::new();
        let rewrites = |name: &str| {
            // Newer versions also have rewrite-with-tombstone.
            self.get(&key(name)).is_some_and(|mode| mode.starts_with("rewrite"))
        };
        if !rewrites("delete.tombstone.handling.mode") && !rewrites("delete.handling.mode") {
            findings.push(Finding::refused(
                self.place(&key("delete.tombstone.handling.mode")),
                "deletes are sent without a row, and are not seen",
                "set it to rewrite (before Debezium 2.5: delete.handling.mode=rewrite)",
            ));
        }
        let added = self.list(&key("add.fields"));
        let adds = |wanted: &str| {
            let name = |field: &String| field.split(':').next().unwrap_or_default().to_owned();
            added.iter().map(name).any(|name| name == wanted || name == format!("source.{wanted}"))
        };
        let missing: Vec<&str> = ["op", "ts_ms", "lsn"].into_iter().filter(|field| !adds(field)).collect();
        if !missing.is_empty() {
            findings.push(Finding::warning(
                self.place(&key("add.fields")),
                format!(
                    "flattened rows come without {}: a truncate cannot be held against rows that were sent around it",
                    missing.join(", ")
                ),
                "set it to op,source.ts_ms,lsn, or leave the transform out: dabi reads whole envelopes",
            ));
        }
        findings
    }
}
