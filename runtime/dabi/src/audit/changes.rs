//! Changes that are kept, over the lake's events as they come.
//!
//! Owns which changes count: one with an open dead letter has no star row, unless
//! it is known what of it has none. Does not own the rows of a change
//! (`dabi_core::recompute`).

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::ArrayRef;
use dabi_core::change::ChangeBatch;
use dabi_core::recompute::{Changes, PAGE_ROWS, RecomputeError, changes};
use futures::TryStreamExt as _;

use super::AuditError;
use super::comparison::Comparison;
use super::computed::Computed;
use super::tables::EventsAt;
use crate::pipeline::{call_module, letter_keys, on_cpu};
use crate::transform::{Module, Workers};

/// Tells the comparison of each target, given by its number, which rows must stand.
/// `open` has the keys of open dead letters.
pub(super) async fn expect_changes(
    module: &Module,
    at: EventsAt<'_>,
    open: BTreeSet<String>,
    mut comparisons: Vec<(usize, Comparison)>,
) -> Result<Computed, AuditError> {
    let (workers, open) = (Arc::new(Workers::new(module.clone())), Arc::new(open));
    let mut letters = BTreeSet::new();
    let mut batches = std::pin::pin!(at.read(&module.spec().source).await?);
    while let Some(batch) = batches.try_next().await? {
        let (workers, open) = (Arc::clone(&workers), Arc::clone(&open));
        (comparisons, letters) = on_cpu(move || {
            for part in parts(&batch) {
                expect(&workers, &part, (&open, &mut letters), &mut comparisons)?;
            }
            Ok::<_, AuditError>((comparisons, letters))
        })
        .await?;
    }
    let comparisons = comparisons.into_iter().map(|(_, comparison)| comparison).collect();
    Ok(Computed { comparisons, letters: letters.len() as u64, held: 0 })
}

fn expect(
    workers: &Workers,
    batch: &ChangeBatch,
    (open, letters): (&BTreeSet<String>, &mut BTreeSet<String>),
    comparisons: &mut [(usize, Comparison)],
) -> Result<(), AuditError> {
    let spec = workers.module().spec();
    let Changes { targets, faults } = changes_of(workers, batch)?;
    let mut left_out = BTreeSet::new();
    if !open.is_empty() {
        for (row, key) in (0_u32..).zip(letter_keys(spec, batch)) {
            let Some(key) = key.filter(|key| open.contains(key)) else { continue };
            letters.insert(key);
            if !faults.contains_key(&row) {
                left_out.insert(row);
            }
        }
    }
    for (number, comparison) in comparisons {
        let target = &targets[*number];
        let counts = |row: usize| !left_out.contains(&target.origin[row]);
        let compared = comparison.expect(&target.rows, counts);
        compared.map_err(|source| AuditError::Recompute {
            transform: spec.name.clone(),
            source: RecomputeError::Rows(source),
        })?;
    }
    Ok(())
}

/// What the module makes of some events.
pub(super) fn changes_of(workers: &Workers, batch: &ChangeBatch) -> Result<Changes, AuditError> {
    let spec = workers.module().spec();
    let call = |rows: usize, columns: &[ArrayRef]| call_module(workers, rows, columns);
    let failed = |source| AuditError::Recompute { transform: spec.name.clone(), source };
    changes(spec, batch, &call).map_err(failed)
}

fn parts(batch: &ChangeBatch) -> impl Iterator<Item = ChangeBatch> + '_ {
    let rows = batch.num_rows();
    (0..rows).step_by(PAGE_ROWS).map(move |from| batch.slice(from, PAGE_ROWS.min(rows - from)))
}
