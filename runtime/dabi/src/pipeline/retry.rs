//! Retrying dead letters of a running pipeline, because somebody asks for it.
//!
//! Owns the way of each kind: a transform with row state evaluates the rows again
//! that it keeps; for one without, the events come back from the lake. Does not
//! own when a letter is cleared (the engine, `open_letters`).
//!
//! Invariant: only the current row of a key is evaluated. An event from the lake
//! counts only while it is the last one of its key, which the star's lane judges
//! at the moment it takes it in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use dabi_core::change::ChangeBatch;
use dabi_core::table::SourceTable;
use futures::TryStreamExt as _;
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::PipelineError;
use super::neighbours::StarWarehouse;
use super::swap::Change;
use crate::lake::Lake;
use crate::warehouse::OpenLetter;

/// How a transform takes up its letters.
pub(super) enum Taken {
    /// So many are evaluated again.
    Retrying(u64),
    /// It needs their events, of this table.
    NeedsEvents(SourceTable),
    /// There is no such transform, or it is stopped.
    NotRunning,
}

/// Asks a running pipeline; cheap to clone.
#[derive(Clone)]
pub struct Retrier {
    pub(super) lake: Lake,
    pub(super) warehouse: Arc<dyn StarWarehouse>,
    pub(super) changes: mpsc::Sender<Change>,
}

/// What becomes of the letters of one transform.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retried {
    /// Source rows that are evaluated again.
    pub retrying: u64,
    /// Events that the lake does not have yet; it commits every few seconds.
    pub not_in_lake: u64,
    /// The transform does not run: the letters stay.
    pub not_running: bool,
}

impl Retrier {
    /// Has the letters of `transform`, or of all, evaluated again; says what was
    /// begun, by transform.
    ///
    /// # Errors
    /// If warehouse or lake cannot be read.
    pub async fn retry(&self, transform: Option<&str>) -> Result<BTreeMap<String, Retried>, PipelineError> {
        let names = match transform {
            Some(name) => vec![name.to_owned()],
            None => self.warehouse.refused_transforms().await?,
        };
        let mut all = BTreeMap::new();
        for name in names {
            let retried = match self.take_up(&name, Vec::new()).await {
                Taken::Retrying(retrying) => Retried { retrying, ..Retried::default() },
                Taken::NotRunning => Retried { not_running: true, ..Retried::default() },
                Taken::NeedsEvents(source) => self.retry_events(&name, &source).await?,
            };
            all.insert(name, retried);
        }
        Ok(all)
    }

    async fn retry_events(&self, name: &str, source: &SourceTable) -> Result<Retried, PipelineError> {
        let letters = self.warehouse.open_letters(name, &CancellationToken::new()).await?;
        let events = self.events_of(source, &letters).await?;
        let found: usize = events.iter().map(ChangeBatch::num_rows).sum();
        let not_in_lake = letters.len().saturating_sub(found) as u64;
        Ok(match self.take_up(name, events).await {
            Taken::Retrying(retrying) => Retried { retrying, not_in_lake, not_running: false },
            Taken::NeedsEvents(_) => Retried { not_in_lake, ..Retried::default() },
            Taken::NotRunning => Retried { not_running: true, ..Retried::default() },
        })
    }

    /// Hands `events` to the star's lane, between two epochs.
    async fn take_up(&self, transform: &str, events: Vec<ChangeBatch>) -> Taken {
        let (taken, answer) = oneshot::channel();
        let change = Change::RetryLetters { transform: transform.to_owned(), events, taken };
        if self.changes.send(change).await.is_err() {
            return Taken::NotRunning;
        }
        answer.await.unwrap_or(Taken::NotRunning)
    }

    /// The events of `table` at which `letters` stand.
    async fn events_of(
        &self,
        table: &SourceTable,
        letters: &[OpenLetter],
    ) -> Result<Vec<ChangeBatch>, PipelineError> {
        if letters.is_empty() {
            return Ok(Vec::new());
        }
        let wanted: BTreeSet<(&str, i32, i64)> =
            letters.iter().map(|letter| (letter.topic.as_str(), letter.partition, letter.offset)).collect();
        let mut events = Vec::new();
        let mut batches = std::pin::pin!(self.lake.read_table(table).await?);
        while let Some(batch) = batches.try_next().await? {
            let (topic, partition) = (batch.topic(), batch.partition());
            let is_wanted = |offset: &i64| wanted.contains(&(&**topic, partition, *offset));
            let picked: BooleanArray =
                batch.offsets().values().iter().map(|offset| Some(is_wanted(offset))).collect();
            if picked.true_count() > 0 {
                let rows =
                    filter_record_batch(batch.record_batch(), &picked).expect("as many as there are rows");
                events.push(ChangeBatch::try_new(rows).expect("some rows of a change batch are one"));
            }
        }
        Ok(events)
    }
}
