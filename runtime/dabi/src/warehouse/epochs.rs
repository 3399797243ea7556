//! `_dabi_epochs`: how far the star is, in the star itself.
//!
//! Invariant: a row for an epoch is written after every row of that epoch.

use bytes::Bytes;
use dabi_core::resume::EpochRecord;
use dabi_core::star::quote;
use dabi_core::version::{Epoch, Term};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::client::Warehouse;
use super::error::WarehouseError;

/// dabi's own table of epochs.
pub(super) const EPOCHS: &str = "_dabi_epochs";
/// Epochs that are kept for readers that cut on them: a quarter of an hour at
/// the highest rate.
const EPOCHS_KEPT: u64 = 10_000;

#[derive(Deserialize)]
struct EpochRow {
    term: u32,
    epoch: u64,
    position: String,
    modules: String,
    truncates: String,
    open_work: Vec<String>,
}

impl Warehouse {
    /// Records that an epoch is stored.
    ///
    /// # Errors
    /// If ClickHouse refuses, or `stop` comes first.
    pub async fn record_epoch(
        &self,
        record: &EpochRecord,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let json = |part: Result<String, serde_json::Error>| part.expect("maps with string keys are JSON");
        let row = serde_json::json!({
            "pipeline": record.pipeline,
            "term": record.term,
            "epoch": record.epoch,
            "position": json(serde_json::to_string(&record.position)),
            "modules": json(serde_json::to_string(&record.modules)),
            "truncates": json(serde_json::to_string(&record.truncates)),
            "open_work": record.open_work,
        });
        let sql = format!(
            "INSERT INTO {}.{EPOCHS} (pipeline, term, epoch, position, modules, truncates, open_work) \
             FORMAT JSONEachRow",
            quote(&self.database)
        );
        let token = format!("{}-{}", record.pipeline, record.version().0);
        self.send(&sql, Bytes::from(row.to_string()), &token, "record an epoch", stop).await?;
        if record.epoch > Epoch(0) && record.epoch.0.is_multiple_of(EPOCHS_KEPT) {
            self.forget_epochs(record, stop).await?;
        }
        Ok(())
    }

    /// The last epoch that `pipeline` recorded.
    ///
    /// # Errors
    /// If ClickHouse refuses, or what it has is not a record.
    pub async fn last_epoch(
        &self,
        pipeline: &str,
        stop: &CancellationToken,
    ) -> Result<Option<EpochRecord>, WarehouseError> {
        let doing = "tell the last epoch";
        let sql = format!(
            "SELECT term, epoch, position, modules, truncates, open_work FROM {}.{EPOCHS} WHERE pipeline = {} \
             ORDER BY term DESC, epoch DESC LIMIT 1",
            quote(&self.database),
            super::literal(pipeline)
        );
        let rows: Vec<EpochRow> = self.rows(&sql, doing, stop).await?;
        let Some(row) = rows.into_iter().next() else { return Ok(None) };
        let unreadable = |source| WarehouseError::Answer { doing: doing.to_owned(), source };
        Ok(Some(EpochRecord {
            pipeline: pipeline.to_owned(),
            term: Term(row.term),
            epoch: Epoch(row.epoch),
            position: serde_json::from_str(&row.position).map_err(unreadable)?,
            modules: serde_json::from_str(&row.modules).map_err(unreadable)?,
            truncates: serde_json::from_str(&row.truncates).map_err(unreadable)?,
            open_work: row.open_work,
        }))
    }

    async fn forget_epochs(
        &self,
        last: &EpochRecord,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let sql = format!(
            "DELETE FROM {}.{EPOCHS} WHERE pipeline = {} AND (term, epoch) < ({}, {})",
            quote(&self.database),
            super::literal(&last.pipeline),
            last.term,
            last.epoch.0.saturating_sub(EPOCHS_KEPT)
        );
        self.execute(&sql, "forget old epochs", stop).await
    }
}
