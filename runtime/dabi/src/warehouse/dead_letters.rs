//! `_dead_letters`: source rows that a transform could not use, with the reason.
//!
//! Owns that a source row has at most one open letter of a transform: a later one
//! takes its place, and a repaired or deleted row has none. As with the star,
//! versions decide and not clocks, so that a resend changes nothing.
//!
//! Letters are of a generation, as rows of the star are, and who takes a transform
//! over says which one counts, and from which version on ([`LetterScope`]). Without
//! it a letter that another owner sends after all, or of tables that were never
//! shown, would stay open for ever, since nobody knows of it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use dabi_core::dead_letter::{DeadLetter, Refuser, Stage};
use dabi_core::position::Offset;
use dabi_core::star::quote;
use dabi_core::version::Version;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::client::Warehouse;
use super::epochs::EPOCHS;
use super::error::WarehouseError;
use super::literal;

/// What readers see: the open ones.
const DEAD_LETTERS: &str = "_dead_letters";
/// What writers name.
const LETTER_VERSIONS: &str = "_dead_letters__g2";
/// Which of them count.
const SCOPES: &str = "_dead_letter_scopes";

/// Which letters of a transform count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterScope {
    /// Those of the tables of this generation;
    pub generation: u32,
    /// of them, those from this version on.
    pub lowest: Version,
}

impl LetterScope {
    /// Of a transform that nobody has taken over.
    pub const FIRST: Self = Self { generation: 1, lowest: Version(0) };
}

/// A dead letter that is no more.
#[derive(Clone, Debug, Serialize)]
pub struct ClearedLetterRow {
    /// Name of the transform.
    pub transform: String,
    /// Generation of its tables.
    pub generation: u32,
    /// The source row's key.
    #[serde(rename = "id")]
    pub key: String,
}

/// A row of `_dead_letters`.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetterRow {
    /// Name of the transform.
    pub transform: String,
    /// Generation of its tables.
    pub generation: u32,
    /// SHA-256 of its module.
    pub module: String,
    /// Source table.
    pub source: String,
    /// The source row's key; empty where it cannot be told.
    pub key: String,
    /// Topic of the event.
    pub topic: String,
    /// Partition of the event.
    pub partition: i32,
    /// Offset of the event.
    pub offset: i64,
    /// `read`, `transform` or `star`.
    pub stage: Stage,
    /// Short and stable.
    pub code: String,
    /// What is wrong, and what to do.
    pub message: String,
    /// The row as JSON.
    pub row: String,
    /// LSN of the event, where a truncate could clear the letter.
    #[serde(rename = "_lsn")]
    pub lsn: Option<i64>,
    /// Commit time of the event, likewise; µs since 1970.
    #[serde(rename = "_ts_us")]
    pub ts_us: Option<i64>,
}

impl DeadLetterRow {
    /// As the lake keeps it; `now_ms` is when it was raised.
    #[must_use]
    pub fn for_lake(&self, now_ms: i64) -> DeadLetter {
        DeadLetter {
            refuser: Some(Refuser { transform: self.transform.clone(), module: self.module.clone() }),
            topic: self.topic.as_str().into(),
            partition: self.partition,
            offset: Offset(self.offset),
            timestamp_ms: Some(now_ms),
            stage: self.stage,
            code: self.code.clone(),
            message: self.message.clone(),
            key: Some(self.key.clone().into_bytes()),
            value: Some(self.row.clone().into_bytes()),
        }
    }

    /// What it is known by within its transform: the source row's key, so that
    /// another letter of that row takes its place.
    #[must_use]
    pub fn id(&self) -> String {
        if self.key.is_empty() {
            format!("{}[{}]@{}", self.topic, self.partition, self.offset)
        } else {
            self.key.clone()
        }
    }
}

/// What of an open dead letter a list shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredDeadLetter {
    /// When it was stored, ms since 1970.
    pub recorded_ms: u64,
    /// Name of the transform.
    pub transform: String,
    /// What it is known by within it: the source row's key, or where its event
    /// stands.
    pub id: String,
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

/// Everything of an open dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WholeDeadLetter {
    /// What a list shows.
    #[serde(flatten)]
    pub letter: StoredDeadLetter,
    /// The source row's key; empty where it cannot be told.
    pub key: String,
    /// SHA-256 of the module.
    pub module: String,
    /// The row as JSON.
    pub row: String,
}

/// What [`StoredDeadLetter`] has.
const LISTED: &str = "toUnixTimestamp64Milli(recorded_at) AS recorded_ms, transform, id, source, topic, partition, \
                      offset, stage, code, message";

/// Which dead letters are asked for.
#[derive(Clone, Debug, Default)]
pub struct LetterFilter {
    /// Of one transform.
    pub transform: Option<String>,
    /// Of one stage.
    pub stage: Option<String>,
    /// Of one code.
    pub code: Option<String>,
    /// Of one source row.
    pub id: Option<String>,
}

impl LetterFilter {
    fn sql(&self) -> String {
        let columns =
            [("transform", &self.transform), ("stage", &self.stage), ("code", &self.code), ("id", &self.id)];
        let asked = columns.into_iter().filter_map(|(column, value)| {
            value.as_ref().map(|value| format!("{column} = {}", literal(value)))
        });
        let asked: Vec<String> = asked.collect();
        if asked.is_empty() { "1".to_owned() } else { asked.join(" AND ") }
    }
}

/// A source row with an open letter, as a transform without row state must know it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct OpenLetter {
    /// The source row's key.
    pub key: String,
    /// Topic of the event.
    pub topic: String,
    /// Partition of the event.
    pub partition: i32,
    /// Offset of the event.
    pub offset: i64,
    /// Its LSN.
    #[serde(rename = "_lsn")]
    pub lsn: Option<i64>,
    /// Its commit time, µs since 1970.
    #[serde(rename = "_ts_us")]
    pub ts_us: Option<i64>,
}

#[derive(Deserialize)]
struct KeyRow {
    transform: String,
    key: String,
}

/// A version of a letter: it is raised, or cleared.
#[derive(Serialize)]
struct LetterVersion<'a, Letter: Serialize> {
    #[serde(flatten)]
    letter: &'a Letter,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    _version: u64,
    _deleted: u8,
}

impl Warehouse {
    /// The `limit` latest open dead letters that `filter` lets through, the last
    /// one first.
    ///
    /// # Errors
    /// If there is no answer within `patience`.
    pub async fn latest_dead_letters(
        &self,
        filter: &LetterFilter,
        limit: usize,
        patience: Duration,
    ) -> Result<Vec<StoredDeadLetter>, WarehouseError> {
        self.select_letters(LISTED, filter, limit, patience).await
    }

    /// As [`latest_dead_letters`](Self::latest_dead_letters), with everything.
    ///
    /// # Errors
    /// As there.
    pub async fn whole_dead_letters(
        &self,
        filter: &LetterFilter,
        limit: usize,
        patience: Duration,
    ) -> Result<Vec<WholeDeadLetter>, WarehouseError> {
        self.select_letters(&format!("{LISTED}, key, module, row"), filter, limit, patience).await
    }

    async fn select_letters<T: DeserializeOwned>(
        &self,
        columns: &str,
        filter: &LetterFilter,
        limit: usize,
        patience: Duration,
    ) -> Result<Vec<T>, WarehouseError> {
        let sql = format!(
            "SELECT {columns} FROM {}.{DEAD_LETTERS} WHERE {} ORDER BY recorded_at DESC, offset DESC LIMIT {limit}",
            quote(&self.database),
            filter.sql()
        );
        self.glance(&sql, "show dead letters", patience).await
    }

    /// How many dead letters are open.
    ///
    /// # Errors
    /// If there is no answer within `patience`.
    pub async fn count_dead_letters(&self, patience: Duration) -> Result<u64, WarehouseError> {
        self.count(&format!("{}.{DEAD_LETTERS}", quote(&self.database)), patience).await
    }

    /// Keys of the source rows with an open dead letter, by transform.
    ///
    /// # Errors
    /// If ClickHouse refuses.
    pub async fn open_letter_keys(&self) -> Result<BTreeMap<String, BTreeSet<String>>, WarehouseError> {
        let sql = format!("SELECT transform, key FROM {}.{DEAD_LETTERS}", quote(&self.database));
        let rows: Vec<KeyRow> = self.rows(&sql, "list open dead letters", &CancellationToken::new()).await?;
        let mut keys: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for KeyRow { transform, key } in rows {
            keys.entry(transform).or_default().insert(key);
        }
        Ok(keys)
    }

    /// The open letters of a transform whose source row is known.
    ///
    /// # Errors
    /// If ClickHouse refuses, or `stop` comes first.
    pub async fn open_letters(
        &self,
        transform: &str,
        stop: &CancellationToken,
    ) -> Result<Vec<OpenLetter>, WarehouseError> {
        let sql = format!(
            "SELECT key, topic, partition, offset, _lsn, _ts_us FROM ({}) WHERE transform = {} AND key != ''",
            open_letters_sql(&self.database),
            literal(transform)
        );
        self.rows(&sql, "list open dead letters", stop).await
    }

    /// Stores what an epoch of `version` has raised, and that source rows are
    /// repaired or gone. Sent again after a doubtful answer, `token` keeps them
    /// from doubling.
    ///
    /// # Errors
    /// If ClickHouse refuses, or `stop` comes first.
    pub async fn insert_dead_letters(
        &self,
        raised: &[DeadLetterRow],
        cleared: &[ClearedLetterRow],
        version: Version,
        token: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let mut body = Vec::new();
        for letter in raised {
            let row = LetterVersion { letter, id: Some(letter.id()), _version: version.0, _deleted: 0 };
            push_line(&mut body, &row);
        }
        for letter in cleared {
            let row = LetterVersion { letter, id: None, _version: version.0, _deleted: 1 };
            push_line(&mut body, &row);
        }
        let sql = format!(
            "INSERT INTO {}.{LETTER_VERSIONS} (transform, generation, id, module, source, key, topic, partition, offset, stage, \
             code, message, row, _lsn, _ts_us, _version, _deleted) FORMAT JSONEachRow",
            quote(&self.database)
        );
        self.send(&sql, Bytes::from(body), token, "store dead letters", stop).await
    }

    /// Raises every open letter of `transforms` again, as it is, under `version` and
    /// in the first generation. Done again once that is their scope, it finds nothing.
    ///
    /// # Errors
    /// If ClickHouse refuses, or `stop` comes first.
    pub async fn carry_letters(
        &self,
        transforms: &[&str],
        version: Version,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let kept = "transform, id, module, source, key, topic, partition, offset, stage, code, message, row, \
                    recorded_at, _lsn, _ts_us";
        let sql = format!(
            "INSERT INTO {}.{LETTER_VERSIONS} (generation, {kept}, _version, _deleted) \
             SELECT {}, {kept}, {version}, 0 FROM ({}) WHERE transform IN ({}) AND _version < {version}",
            quote(&self.database),
            LetterScope::FIRST.generation,
            open_letters_sql(&self.database),
            literals(transforms),
            version = version.0,
        );
        self.execute(&sql, "carry dead letters over", stop).await
    }

    /// From now on only the letters in `scope` count of `transforms`, unless the
    /// scope of a higher `version` says otherwise.
    ///
    /// # Errors
    /// If ClickHouse refuses, or `stop` comes first.
    pub async fn scope_letters(
        &self,
        transforms: &[&str],
        scope: LetterScope,
        version: Version,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let LetterScope { generation, lowest } = scope;
        let row = |name: &&str| format!("({}, {}, {generation}, {})", literal(name), version.0, lowest.0);
        let rows: Vec<String> = transforms.iter().map(row).collect();
        let sql = format!(
            "INSERT INTO {}.{SCOPES} (transform, version, generation, lowest) VALUES {}",
            quote(&self.database),
            rows.join(", ")
        );
        self.execute(&sql, "say which dead letters count", stop).await
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
                open_work Array(String) COMMENT 'work that is not done: equality is not claimed for it',
                committed_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC')
            ) ENGINE = MergeTree ORDER BY (pipeline, term, epoch)
            SETTINGS non_replicated_deduplication_window = 1000
            COMMENT 'epochs of dabi: everything below position is in the star'"
        );
        let dead_letters = format!(
            "CREATE TABLE IF NOT EXISTS {database}.{LETTER_VERSIONS} (
                transform LowCardinality(String), generation UInt32 COMMENT 'of its tables',
                id String COMMENT 'the key, or where the event stands',
                module String, source LowCardinality(String), key String,
                topic LowCardinality(String), partition Int32, offset Int64,
                stage LowCardinality(String), code LowCardinality(String), message String, row String,
                recorded_at DateTime64(3, 'UTC') DEFAULT now64(3, 'UTC'),
                _lsn Nullable(Int64), _ts_us Nullable(Int64), _version UInt64, _deleted UInt8
            ) ENGINE = ReplacingMergeTree(_version, _deleted) ORDER BY (transform, generation, id)
            SETTINGS non_replicated_deduplication_window = 1000
            COMMENT 'source rows that a transform could not use: raised, and cleared'"
        );
        let scopes = format!(
            "CREATE TABLE IF NOT EXISTS {database}.{SCOPES} (
                transform LowCardinality(String), version UInt64, generation UInt32, lowest UInt64
            ) ENGINE = ReplacingMergeTree(version) ORDER BY transform
            COMMENT 'which dead letters count: those of a generation, from a version on'"
        );
        let open_letters = format!(
            "CREATE OR REPLACE VIEW {database}.{DEAD_LETTERS} AS
             SELECT transform, id, module, source, key, topic, partition, offset, stage, code, message, row, recorded_at
             FROM ({})",
            open_letters_sql(&self.database)
        );
        self.execute(&epochs, "create the table of epochs", stop).await?;
        let extend = format!(
            "ALTER TABLE {database}.{EPOCHS} ADD COLUMN IF NOT EXISTS open_work Array(String) \
             COMMENT 'work that is not done: equality is not claimed for it' AFTER truncates"
        );
        self.execute(&extend, "extend the table of epochs", stop).await?;
        self.execute(&dead_letters, "create the table of dead letters", stop).await?;
        self.execute(&scopes, "create the table of dead letters' scopes", stop).await?;
        self.check_view_is_free(DEAD_LETTERS, stop).await?;
        self.execute(&open_letters, "create the view of open dead letters", stop).await
    }
}

/// The letters that are open, with all their columns. FINAL must see what was
/// cleared before the filter takes it away.
fn open_letters_sql(database: &str) -> String {
    let database = quote(database);
    let LetterScope { generation, lowest } = LetterScope::FIRST;
    format!(
        "SELECT letters.* FROM {database}.{LETTER_VERSIONS} AS letters FINAL LEFT JOIN \
         (SELECT transform, argMax((generation, lowest), version) AS scope, 1 AS is_known \
         FROM {database}.{SCOPES} GROUP BY transform) AS scopes ON letters.transform = scopes.transform \
         WHERE letters._deleted = 0 \
         AND letters.generation = if(scopes.is_known = 1, scopes.scope.1, {generation}) \
         AND letters._version >= if(scopes.is_known = 1, scopes.scope.2, {}) \
         SETTINGS optimize_move_to_prewhere_if_final = 0, join_use_nulls = 0",
        lowest.0
    )
}

fn literals(texts: &[&str]) -> String {
    texts.iter().map(|text| literal(text)).collect::<Vec<_>>().join(", ")
}

fn push_line(body: &mut Vec<u8>, row: &impl Serialize) {
    serde_json::to_writer(&mut *body, row).expect("a row of strings and numbers is JSON");
    body.push(b'\n');
}
