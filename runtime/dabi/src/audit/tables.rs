//! The source tables at a position, from the lake.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dabi_core::fold::Fold;
use dabi_core::position::Position;
use dabi_core::recompute::TableRows;
use dabi_core::spec::Spec;
use dabi_core::table::SourceTable;
use futures::TryStreamExt as _;

use super::AuditError;
use crate::lake::Lake;
use crate::pipeline::on_cpu;

/// How long the lake may take to come as far as the star. It commits every ten
/// seconds by default.
const LAKE_WITHIN: Duration = Duration::from_secs(60);
/// How often to look whether it has.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// The source table of `spec`, and those that it looks up, as they stand at
/// `position`.
pub(super) async fn tables_at(
    lake: &Lake,
    spec: &Spec,
    position: &Position,
) -> Result<BTreeMap<SourceTable, TableRows>, AuditError> {
    let mut tables = BTreeMap::new();
    for table in std::iter::once(&spec.source).chain(spec.lookups.iter().map(|lookup| &lookup.table)) {
        if !tables.contains_key(table) {
            let fold = fold_at(lake, table, position).await?;
            tables.insert(table.clone(), on_cpu(move || TableRows::of(&fold)).await);
        }
    }
    Ok(tables)
}

async fn fold_at(lake: &Lake, table: &SourceTable, position: &Position) -> Result<Fold, AuditError> {
    let mut fold = Fold::new(table.clone());
    let mut batches = std::pin::pin!(lake.read_table(table).await?);
    while let Some(batch) = batches.try_next().await? {
        let Some(batch) = batch.done_at(position) else { continue };
        let folded;
        (fold, folded) = on_cpu(move || {
            let folded = fold.apply(&batch);
            (fold, folded)
        })
        .await;
        folded.map_err(|source| AuditError::Fold { table: table.clone(), source })?;
    }
    Ok(fold)
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
