//! `_dead_letters`: events that a transform could not use, with the reason.

use std::time::Duration;

use bytes::Bytes;
use dabi_core::star::quote;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::client::Warehouse;
use super::epochs::EPOCHS;
use super::error::WarehouseError;
use super::literal;

const DEAD_LETTERS: &str = "_dead_letters";

/// A row of `_dead_letters`.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetterRow {
    /// Name of the transform.
    pub transform: String,
    /// SHA-256 of its module.
    pub module: String,
    /// Source table.
    pub source: String,
    /// The source row's key, where its transform keeps row state.
    pub key: String,
    /// Topic of the event.
    pub topic: String,
    /// Partition of the event.
    pub partition: i32,
    /// Offset of the event.
    pub offset: i64,
    /// `read`, `transform` or `star`.
    pub stage: &'static str,
    /// Short and stable.
    pub code: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// The event's row as JSON.
    pub row: String,
}

/// What of a stored dead letter is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDeadLetter {
    /// When it was stored, ms since 1970.
    pub recorded_ms: u64,
    /// Name of the transform.
    pub transform: String,
    /// Source table.
    pub source: String,
    /// Topic of the event.
    pub topic: String,
    /// Partition of the event.
    pub partition: i32,
    /// Offset of the event.
    pub offset: i64,
    /// `read`, `transform` or `star`.
    pub stage: String,
    /// Short and stable.
    pub code: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Warehouse {
    /// The `limit` latest dead letters, the last one first.
    ///
    /// # Errors
    /// If there is no answer within `patience`.
    pub async fn latest_dead_letters(
        &self,
        limit: usize,
        patience: Duration,
    ) -> Result<Vec<StoredDeadLetter>, WarehouseError> {
        let sql = format!(
            "SELECT toUnixTimestamp64Milli(recorded_at) AS recorded_ms, transform, source, topic, partition, offset, \
             stage, code, message FROM {}.{DEAD_LETTERS} ORDER BY recorded_at DESC, offset DESC LIMIT {limit}",
            quote(&self.database)
        );
        self.glance(&sql, "show dead letters", patience).await
    }

    /// How many dead letters are stored.
    ///
    /// # Errors
    /// If there is no answer within `patience`.
    pub async fn count_dead_letters(&self, patience: Duration) -> Result<u64, WarehouseError> {
        self.count(&format!("{}.{DEAD_LETTERS} FINAL", quote(&self.database)), patience).await
    }

    /// Stores dead letters. Sent again after a doubtful answer, `token` keeps
    /// them from doubling.
    ///
    /// # Errors
    /// If ClickHouse refuses, or `stop` comes first.
    pub async fn insert_dead_letters(
        &self,
        rows: &[DeadLetterRow],
        token: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let mut body = Vec::new();
        for row in rows {
            serde_json::to_writer(&mut body, row).expect("a row of strings and numbers is JSON");
            body.push(b'\n');
        }
        let sql = format!(
            "INSERT INTO {}.{DEAD_LETTERS} (transform, module, source, key, topic, partition, offset, stage, \
             code, message, row) FORMAT JSONEachRow",
            quote(&self.database)
        );
        self.send(&sql, Bytes::from(body), token, "store dead letters", stop).await
    }

    /// The source row of `key` is repaired, or gone: it has no dead letter any more.
    ///
    /// # Errors
    /// If ClickHouse refuses, or `stop` comes first.
    pub async fn clear_dead_letter(
        &self,
        transform: &str,
        key: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let sql = format!(
            "DELETE FROM {}.{DEAD_LETTERS} WHERE transform = {} AND key = {}",
            quote(&self.database),
            literal(transform),
            literal(key)
        );
        self.execute(&sql, "clear a dead letter", stop).await
    }

    /// Creates dabi's own tables.
    pub(super) async fn create_own_tables(&self, stop: &CancellationToken) -> Result<(), WarehouseError> {
        let database = quote(&self.database);
        let epochs = format!(
            "CREATE TABLE IF NOT EXISTS {database}.{EPOCHS} (
                pipeline LowCardinality(String), term UInt32, epoch UInt64,
                position String COMMENT 'next offset by topic and partition' CODEC(ZSTD(1)),
                modules String COMMENT 'SHA-256 by transform' CODEC(ZSTD(1)),
                truncates String COMMENT 'known truncates by source table' CODEC(ZSTD(1)),
                committed_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
            ) ENGINE = MergeTree ORDER BY (pipeline, term, epoch)
            SETTINGS non_replicated_deduplication_window = 1000
            COMMENT 'epochs of dabi: everything below position is in the star'"
        );
        let dead_letters = format!(
            "CREATE TABLE IF NOT EXISTS {database}.{DEAD_LETTERS} (
                transform LowCardinality(String), module String, source LowCardinality(String), key String,
                topic LowCardinality(String), partition Int32, offset Int64,
                stage LowCardinality(String), code LowCardinality(String), message String, row String,
                recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
            ) ENGINE = ReplacingMergeTree(recorded_at) ORDER BY (transform, topic, partition, offset)
            SETTINGS non_replicated_deduplication_window = 1000
            COMMENT 'events that a transform could not use'"
        );
        self.execute(&epochs, "create the table of epochs", stop).await?;
        self.execute(&dead_letters, "create the table of dead letters", stop).await
    }
}
