//! `dabi explain` of a target that keeps changes: the changes of a key, in the
//! order of the log, each with its row and where its event stands.
//!
//! Owns finding them. One that Kafka brought again is one change that stands at
//! several places, of which the last is what the star has.

use std::collections::BTreeMap;

use arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::UInt64Type;
use arrow::error::ArrowError;
use dabi_core::change::{ChangeBatch, Op};
use dabi_core::recompute::trace::{passed_key, rows_with};
use dabi_core::recompute::{Changes, RecomputeError};
use dabi_core::row_json::row_json;
use dabi_core::star::change_keys;
use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::Value;

use super::AuditError;
use super::changes::changes_of;
use super::explain::{EventPlace, StarRow, told_fault};
use super::key::StarKey;
use super::steps::place;
use super::tables::EventsAt;
use crate::transform::{Module, Workers};

/// The column of a change's key.
const CHANGE_KEY: &str = "change_key";

/// A change of the key, or one row of it where it has several.
#[derive(Debug, Serialize)]
pub struct ChangeRow {
    /// What tells it from other changes of the same key.
    pub change_key: u64,
    /// Where its event stands; several times if it was sent again. Nowhere, if the
    /// star has a row that no event gives.
    pub events: Vec<EventPlace>,
    /// The row that the module makes of it.
    pub row: Option<Value>,
    /// Why there is none, if something is wrong with the event.
    pub stopped: Option<String>,
    /// What stands in ClickHouse.
    pub star: Option<StarRow>,
}

/// A key of a target that keeps changes.
pub(super) struct Asked<'a> {
    pub(super) module: &'a Module,
    pub(super) number: usize,
    pub(super) key: &'a StarKey,
}

impl Asked<'_> {
    /// The changes of the key, with what stands in `star` by change key.
    pub(super) async fn changes(
        &self,
        at: EventsAt<'_>,
        star: BTreeMap<u64, StarRow>,
    ) -> Result<Vec<ChangeRow>, AuditError> {
        let spec = self.module.spec();
        let values = passed_key(spec, self.number).into_iter().map(|(place, input)| {
            let value = cast(&self.key.values[place], &spec.columns[input].data_type.arrow());
            Ok((input, value.map_err(|error| self.failed(error.into()))?))
        });
        let values = values.collect::<Result<Vec<_>, AuditError>>()?;
        let workers = Workers::new(self.module.clone());
        let mut found = Found::default();
        let mut batches = std::pin::pin!(at.read(&spec.source).await?);
        while let Some(batch) = batches.try_next().await? {
            let rows = rows_with(&batch, spec, &values).map_err(|error| self.failed(error))?;
            if let Some(own) = only(&batch, &rows) {
                let changes = changes_of(&workers, &own)?;
                self.add(&own, &changes, &mut found).map_err(|error| self.failed(error.into()))?;
            }
        }
        Ok(found.with(star))
    }

    fn failed(&self, source: RecomputeError) -> AuditError {
        AuditError::Recompute { transform: self.module.spec().name.clone(), source }
    }

    fn add(&self, batch: &ChangeBatch, changes: &Changes, found: &mut Found) -> Result<(), ArrowError> {
        let target = &changes.targets[self.number];
        let keys = target.rows.column_by_name(CHANGE_KEY);
        let keys = keys.and_then(|column| column.as_primitive_opt::<UInt64Type>());
        let mut all: Vec<(u32, u64, Result<Value, String>)> = Vec::new();
        for row in self.key.rows_of(&target.rows)? {
            let shown = row_json(names(&target.rows).zip(target.rows.columns()), row);
            all.extend(keys.map(|keys| (target.origin[row], keys.value(row), Ok(shown))));
        }
        let ops: Vec<Op> = batch.ops().collect();
        let is_kept = |row: &u32| self.module.spec().targets[self.number].keeps(ops[*row as usize]);
        // What has no row is known by the key that its first one would have.
        for (row, fault) in changes.faults.iter().filter(|(row, _)| is_kept(row)) {
            let change_key = change_keys(batch, &[*row]).value(0);
            if !target.origin.contains(row) && self.is_asked(change_key) {
                all.push((*row, change_key, Err(told_fault(fault))));
            }
        }
        all.sort_by_key(|(row, ..)| *row);
        for (row, change_key, given) in all {
            found.put(change_key, &batch.slice(row as usize, 1), given);
        }
        Ok(())
    }

    /// The key may name one change, or leave out which.
    fn is_asked(&self, change_key: u64) -> bool {
        let asked = self.key.values.get(self.module.spec().targets[self.number].key.len());
        let asked = asked.and_then(|value| value.as_primitive_opt::<UInt64Type>());
        asked.is_none_or(|asked| asked.value(0) == change_key)
    }
}

/// The changes found so far.
#[derive(Default)]
struct Found {
    /// Change keys, as they came first.
    order: Vec<u64>,
    rows: BTreeMap<u64, ChangeRow>,
}

impl Found {
    fn put(&mut self, change_key: u64, event: &ChangeBatch, row: Result<Value, String>) {
        let known = self.rows.entry(change_key).or_insert_with(|| {
            self.order.push(change_key);
            ChangeRow { change_key, events: Vec::new(), row: None, stopped: None, star: None }
        });
        known.events.push(place(event));
        (known.row, known.stopped) = match row {
            Ok(row) => (Some(row), None),
            Err(reason) => (None, Some(reason)),
        };
    }

    /// All of them, and rows of the star that are of no change.
    fn with(mut self, mut star: BTreeMap<u64, StarRow>) -> Vec<ChangeRow> {
        let rows = self.order.iter().filter_map(|change_key| self.rows.remove(change_key));
        let mut all: Vec<ChangeRow> =
            rows.map(|row| ChangeRow { star: star.remove(&row.change_key), ..row }).collect();
        all.extend(star.into_iter().map(|(change_key, row)| ChangeRow {
            change_key,
            events: Vec::new(),
            row: None,
            stopped: None,
            star: Some(row),
        }));
        all
    }
}

fn names(rows: &RecordBatch) -> impl Iterator<Item = &str> {
    rows.schema_ref().fields().iter().map(|field| field.name().as_str())
}

/// The given rows of a batch.
fn only(batch: &ChangeBatch, rows: &[usize]) -> Option<ChangeBatch> {
    if rows.is_empty() {
        return None;
    }
    let mut wanted = vec![false; batch.num_rows()];
    rows.iter().for_each(|row| wanted[*row] = true);
    let rows = filter_record_batch(batch.record_batch(), &BooleanArray::from(wanted));
    Some(
        ChangeBatch::try_new(rows.expect("as many as there are rows"))
            .expect("some rows of a change batch are one"),
    )
}
