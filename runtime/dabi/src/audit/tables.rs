//! The source tables at a position, from the lake, and the days of the calendar.

use std::time::{Duration, Instant};

use dabi_core::calendar;
use dabi_core::change::ChangeBatch;
use dabi_core::fold::Fold;
use dabi_core::position::Position;
use dabi_core::recompute::{TableHistory, TableRows, Tables, keeps_versions};
use dabi_core::spec::Spec;
use dabi_core::table::SourceTable;
use futures::stream::{self, BoxStream};
use futures::{StreamExt as _, TryStreamExt as _};

use super::AuditError;
use crate::lake::{Lake, LakeError};
use crate::pipeline::on_cpu;

/// How long the lake may take to come as far as the star. It commits every ten
/// seconds by default.
const LAKE_WITHIN: Duration = Duration::from_secs(60);
/// How often to look whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The events below a position.
#[derive(Clone, Copy)]
pub(super) struct EventsAt<'a> {
    pub(super) lake: &'a Lake,
    pub(super) position: &'a Position,
    /// The days that dabi itself has as events.
    pub(super) calendar: calendar::Span,
}

impl EventsAt<'_> {
    /// What `spec` is computed from.
    pub(super) async fn tables(&self, spec: &Spec) -> Result<Tables, AuditError> {
        let mut tables = Tables::default();
        for table in std::iter::once(&spec.source).chain(spec.lookups.iter().map(|lookup| &lookup.table)) {
            if tables.rows.contains_key(table) {
                continue;
            }
            let keeps_events = *table == spec.source && keeps_versions(spec);
            let (fold, events) = self.fold(table, keeps_events).await?;
            let of = table.clone();
            let (rows, history) =
                on_cpu(move || (TableRows::of(&fold), TableHistory::of(&of, &events, &[]))).await;
            tables.rows.insert(table.clone(), rows);
            if keeps_events {
                tables.history = history;
            }
        }
        Ok(tables)
    }

    /// The events of a table. Those of the calendar are in no lake and at no position.
    pub(super) async fn read(
        &self,
        table: &SourceTable,
    ) -> Result<BoxStream<'static, Result<ChangeBatch, LakeError>>, AuditError> {
        if *table == calendar::table() {
            let days = self.calendar.changes_from(None);
            return Ok(stream::iter(days.map(Ok)).boxed());
        }
        let position = self.position.clone();
        let batches = self.lake.read_table(table).await?;
        Ok(batches.try_filter_map(move |batch| std::future::ready(Ok(batch.done_at(&position)))).boxed())
    }

    /// The current rows of a table, and if asked for its events.
    async fn fold(
        &self,
        table: &SourceTable,
        keeps_events: bool,
    ) -> Result<(Fold, Vec<ChangeBatch>), AuditError> {
        let mut fold = Fold::new(table.clone());
        let mut events = Vec::new();
        let mut batches = std::pin::pin!(self.read(table).await?);
        while let Some(batch) = batches.try_next().await? {
            if keeps_events {
                events.push(batch.clone());
            }
            let folded;
            (fold, folded) = on_cpu(move || {
                let folded = fold.apply(&batch);
                (fold, folded)
            })
            .await;
            folded.map_err(|source| AuditError::Fold { table: table.clone(), source })?;
        }
        Ok((fold, events))
    }
}

/// Waits until the lake has every event below `position`.
pub(super) async fn wait_for_lake(lake: &Lake, position: &Position) -> Result<(), AuditError> {
    let since = Instant::now();
    while !lake.head().await?.is_some_and(|head| head.position.covers(position)) {
        if since.elapsed() > LAKE_WITHIN {
            return Err(AuditError::LakeBehind(LAKE_WITHIN.as_secs()));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(())
}
