//! The connection, and the ways to use it: a statement, a question, a glance.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clickhouse::error::Error;
use clickhouse::{Client, Compression};
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::embedded::EmbeddedClickHouse;
use super::error::WarehouseError;
use super::parts::Pressure;
use super::retry::until_done;
use super::settings::WarehouseSettings;
use crate::pipeline::Status;

/// A ClickHouse database; cheap to clone.
#[derive(Clone)]
pub struct Warehouse {
    pub(super) client: Client,
    pub(super) database: String,
    pub(super) status: Status,
    pub(super) pressure: Arc<Pressure>,
    engine: Arc<Mutex<Option<EmbeddedClickHouse>>>,
}

impl Warehouse {
    /// Connects, starting the embedded engine where the settings say so, and
    /// creates the database and dabi's own tables. Waits for a server that is away.
    ///
    /// # Errors
    /// If the engine cannot be started or the server refuses.
    pub async fn connect(
        settings: &WarehouseSettings,
        status: Status,
        stop: &CancellationToken,
    ) -> Result<Self, WarehouseError> {
        let client = Client::default()
            .with_product_info("dabi", env!("CARGO_PKG_VERSION"))
            // Arrow streams are compressed by themselves, and answers are small.
            .with_compression(Compression::None);
        let (client, engine) = if settings.is_embedded() {
            let engine = EmbeddedClickHouse::start(&settings.embedded_path).await?;
            let client =
                client.with_url(engine.url()).with_user(engine.user()).with_password(engine.password());
            (client, Some(engine))
        } else {
            let client =
                client.with_url(&settings.url).with_user(&settings.user).with_password(&settings.password);
            (client, None)
        };
        let this = Self {
            client,
            database: settings.database.clone(),
            status,
            pressure: Arc::default(),
            engine: Arc::new(Mutex::new(engine)),
        };
        let create = format!("CREATE DATABASE IF NOT EXISTS {}", dabi_core::star::quote(&this.database));
        this.execute(&create, "create the database", stop).await?;
        this.create_own_tables(stop).await?;
        Ok(this)
    }

    /// Connects for reading: nothing is created, and nothing is waited for.
    ///
    /// # Errors
    /// If the settings name the embedded engine, which belongs to the process
    /// that runs it.
    pub fn open(settings: &WarehouseSettings) -> Result<Self, WarehouseError> {
        if settings.is_embedded() {
            return Err(WarehouseError::EmbeddedElsewhere);
        }
        let client = Client::default()
            .with_product_info("dabi", env!("CARGO_PKG_VERSION"))
            .with_compression(Compression::None)
            .with_url(&settings.url)
            .with_user(&settings.user)
            .with_password(&settings.password);
        Ok(Self {
            client,
            database: settings.database.clone(),
            status: Status::default(),
            pressure: Arc::default(),
            engine: Arc::default(),
        })
    }

    /// Stops the embedded engine, if there is one.
    pub async fn close(&self) {
        if let Some(engine) = self.engine.lock().await.take() {
            engine.stop().await;
        }
    }

    /// The database that holds the star.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Runs a statement that may be run again. `doing` completes "refuses to …".
    ///
    /// # Errors
    /// If ClickHouse refuses it, or `stop` comes first.
    pub async fn execute(
        &self,
        sql: &str,
        doing: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        until_done(&self.status, doing, stop, || self.client.query_raw(sql).execute()).await
    }

    /// The answer to a question as ClickHouse would show it in a terminal.
    ///
    /// # Errors
    /// If ClickHouse refuses it, or `stop` comes first.
    pub async fn shown(
        &self,
        sql: &str,
        doing: &str,
        stop: &CancellationToken,
    ) -> Result<String, WarehouseError> {
        let answer = until_done(&self.status, doing, stop, || {
            let query = self.client.query_raw(sql);
            async move { query.fetch_bytes("Vertical")?.collect().await }
        })
        .await?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// The rows of a question, each as JSON read into `T`. 64-bit integers come
    /// as numbers.
    ///
    /// # Errors
    /// If ClickHouse refuses it, an answer is not a `T`, or `stop` comes first.
    pub async fn rows<T: DeserializeOwned>(
        &self,
        sql: &str,
        doing: &str,
        stop: &CancellationToken,
    ) -> Result<Vec<T>, WarehouseError> {
        let answer = until_done(&self.status, doing, stop, || self.as_json(sql)).await?;
        read(&answer, doing)
    }

    /// As [`rows`](Self::rows), but asked once and given up after `patience`:
    /// for what is only looked at, so that nothing waits for it and no outage
    /// is declared by it.
    ///
    /// # Errors
    /// If there is no answer in time, or none that is a `T`.
    pub async fn glance<T: DeserializeOwned>(
        &self,
        sql: &str,
        doing: &str,
        patience: Duration,
    ) -> Result<Vec<T>, WarehouseError> {
        let answer = timeout(patience, self.as_json(sql)).await.unwrap_or(Err(Error::TimedOut));
        read(&answer.map_err(|error| WarehouseError::refused(doing, &error))?, doing)
    }

    /// 64-bit integers come as numbers.
    async fn as_json(&self, sql: &str) -> Result<Bytes, Error> {
        let query = self.client.query_raw(sql).with_setting("output_format_json_quote_64bit_integers", "0");
        query.fetch_bytes("JSONEachRow")?.collect().await
    }
}

fn read<T: DeserializeOwned>(answer: &[u8], doing: &str) -> Result<Vec<T>, WarehouseError> {
    let rows = serde_json::Deserializer::from_slice(answer).into_iter();
    rows.collect::<Result<_, _>>()
        .map_err(|source| WarehouseError::Answer { doing: doing.to_owned(), source })
}
