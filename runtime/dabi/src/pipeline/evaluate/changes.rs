//! A transform that keeps every change: each event gives rows of its own.
//!
//! Owns which rows an event leaves where the change is part of their key. Does
//! not own that key (`dabi_core::star`).
//!
//! Invariant: every event that a target keeps leaves there what the module gave
//! for it, or one tombstone in the place of its first row. So a module that gives
//! nothing for an event takes the row away that another gave for it; no other
//! event ever does, nor does a truncate.

use std::sync::Arc;

use arrow::array::UInt32Array;
use dabi_core::change::{ChangeBatch, Op};
use dabi_core::dead_letter::Stage;
use dabi_core::engine::{EvaluatedBatch, star_rows};
use dabi_core::star::{change_keys, has_changes_known_by_place};
use dabi_core::version::Version;

use super::{
    CallError, Failure, Inputs, LiveRows, LiveTransform, Part, PoisonBudget, missing, row_number,
    worst_faults,
};

impl LiveTransform {
    /// As `evaluate_call`, where no event decides for another.
    pub(super) fn evaluate_changes(
        &self,
        batch: &ChangeBatch,
        inputs: &Inputs,
        kept: Vec<u32>,
        version: Version,
        budget: &PoisonBudget,
    ) -> Result<Part, CallError> {
        let key_inputs = self.key_inputs();
        let faults = worst_faults(&inputs.faults, &key_inputs);
        let is_keyless = |row: &u32| faults.get(row).is_some_and(|fault| key_inputs.contains(&fault.column));
        let asked: Vec<u32> = kept.iter().copied().filter(|row| !faults.contains_key(row)).collect();
        let keyed: Vec<u32> = kept.into_iter().filter(|row| !is_keyless(row)).collect();
        let failed = faults.iter();
        let mut failures: Vec<Failure> = failed
            .map(|(row, fault)| self.failure(batch, *row, Stage::Read, fault.code, fault.message.clone()))
            .collect();
        let applied = self.apply(batch, inputs, &asked, budget, &mut failures)?;
        let ops: Vec<Op> = batch.ops().collect();
        let first_keys = change_keys(batch, &(0..row_number(ops.len())).collect::<Vec<_>>());
        let mut lives = Vec::with_capacity(self.tables.len());
        for (number, target) in self.spec().targets.iter().enumerate() {
            let mut live = self.given_rows(number, &asked, &applied)?;
            live.columns.push(Arc::new(change_keys(batch, &live.origins)));
            live.retain(|row| target.keeps(ops[row as usize]))?;
            lives.push(live);
        }
        self.set_unfit_aside(batch, &mut lives, &mut failures)?;
        let mut rows = Vec::with_capacity(self.tables.len());
        let targets = self.spec().targets.iter().zip(&self.tables).zip(lives);
        for (number, ((target, table), live)) in targets.enumerate() {
            let LiveRows { origins, columns } = live;
            let mut dead = missing(&keyed, &origins);
            dead.retain(|row| target.keeps(ops[*row as usize]));
            if origins.is_empty() && dead.is_empty() {
                rows.push(None);
                continue;
            }
            let mut keys = self.key_columns(number, inputs);
            keys.push(Some(Arc::new(first_keys.clone())));
            let evaluated = EvaluatedBatch {
                batch,
                origins: &UInt32Array::from(origins),
                columns: &columns,
                tombstones: &UInt32Array::from(dead),
                keys: &keys,
            };
            rows.push(Some(star_rows(&evaluated, &table.insert_schema(), version)?));
        }
        Ok(Part { rows, failures })
    }

    /// Says once that changes are known by where they stand, if some are.
    pub(super) fn warn_of_places(&mut self, batches: &[ChangeBatch]) {
        if self.warned_of_places || !batches.iter().any(has_changes_known_by_place) {
            return;
        }
        self.warned_of_places = true;
        let spec = self.spec();
        tracing::warn!(
            transform = spec.name,
            "changes of {} have no LSN or no key and are known by where they stand, so what is sent again stands \
             twice in an append target; give the table a primary key, and where events are flattened, set the \
             connector's add.fields to op,source.ts_ms,lsn",
            spec.source
        );
    }
}
