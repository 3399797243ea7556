//! The events of a table from the lake, page by page.

use std::pin::Pin;

use dabi_core::change::ChangeBatch;
use dabi_core::table::SourceTable;
use futures::{Stream, TryStreamExt};

use crate::lake::{Lake, LakeError};

/// What is left to replay of one table.
pub(super) struct Pages {
    batches: Pin<Box<dyn Stream<Item = Result<ChangeBatch, LakeError>> + Send>>,
    rows_max: usize,
}

impl Pages {
    /// The events of `table` that are in `lake` now, in pages of about `rows_max`.
    ///
    /// # Errors
    /// If the lake cannot be read.
    pub(super) async fn of(lake: &Lake, table: &SourceTable, rows_max: usize) -> Result<Self, LakeError> {
        let batches = lake.read_table(table).await?;
        Ok(Self { batches: Box::pin(batches), rows_max })
    }

    /// The next page; `None` once everything was given.
    ///
    /// # Errors
    /// If the lake cannot be read.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<ChangeBatch>>, LakeError> {
        let (mut page, mut rows) = (Vec::new(), 0);
        while rows < self.rows_max
            && let Some(batch) = self.batches.try_next().await?
        {
            rows += batch.num_rows();
            page.push(batch);
        }
        Ok((!page.is_empty()).then_some(page))
    }
}
