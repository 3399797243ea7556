//! A transform without row state over the events of an epoch.
//!
//! Mirrors `pipeline::evaluate`: the steps are the core's (`reading`, `engine`);
//! here they only follow each other.

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use dabi_core::change::ChangeBatch;
use dabi_core::engine::{EvaluatedBatch, Truncates, Verdict, Verdicts, star_rows};
use dabi_core::fold::Truncate;
use dabi_core::reading::read_columns;
use dabi_core::star::TargetTable;
use dabi_core::version::Version;

use crate::transforms::{Module, Transform, apply};

/// A transform that runs.
pub(crate) struct Stateless {
    pub(crate) transform: Transform,
    pub(crate) module: Module,
    pub(crate) table: TargetTable,
    pub(crate) truncates: Truncates,
}

impl Stateless {
    /// `transform` over the first generation of its only target.
    pub(crate) fn new(transform: Transform, module: Module) -> Self {
        let table = transform.tables(1).remove(0);
        Self { transform, module, table, truncates: Truncates::default() }
    }

    /// Rows to insert, and the truncates that were not known before.
    pub(crate) fn evaluate(
        &mut self,
        batches: &[ChangeBatch],
        version: Version,
    ) -> (Vec<RecordBatch>, Vec<Truncate>) {
        let fresh = self.truncates.learn(batches);
        let spec = &self.transform.spec;
        let read = |batch| read_columns(batch, spec).expect("columns that every batch has");
        let inputs: Vec<_> = batches.iter().map(read).collect();
        let key_len = spec.targets[0].key.len();
        let keys: Vec<Vec<ArrayRef>> =
            inputs.iter().map(|(columns, _)| columns[..key_len].to_vec()).collect();
        let verdicts = Verdicts::judge(batches, &keys, &self.truncates).expect("keys that can be compared");
        let mut rows = Vec::new();
        for (index, (batch, (columns, faults))) in batches.iter().zip(&inputs).enumerate() {
            let mut dead = verdicts.rows(index, Verdict::Tombstone);
            let mut asked = verdicts.rows(index, Verdict::Evaluate);
            // The key is never at fault here: it is always sent.
            let at_fault = |row: &u32| faults.iter().any(|fault| fault.row == *row as usize);
            dead.extend(asked.iter().copied().filter(at_fault));
            asked.retain(|row| !at_fault(row));
            let taken = UInt32Array::from(asked.clone());
            let taken: Vec<ArrayRef> =
                columns.iter().map(|column| take(column, &taken, None).expect("in range")).collect();
            let applied = apply(&self.transform, self.module, asked.len(), &taken).outputs.remove(0);
            let origins: Vec<u32> = applied.origin.iter().map(|row| asked[*row as usize]).collect();
            dead.extend(asked.iter().copied().filter(|row| !origins.contains(row)));
            if origins.is_empty() && dead.is_empty() {
                continue;
            }
            let mut keys: Vec<Option<ArrayRef>> = columns[..key_len].iter().cloned().map(Some).collect();
            keys.resize(spec.targets[0].columns.len(), None);
            let evaluated = EvaluatedBatch {
                batch,
                origins: &UInt32Array::from(origins),
                columns: &applied.columns,
                tombstones: &UInt32Array::from(dead),
                keys: &keys,
            };
            rows.push(star_rows(&evaluated, &self.table.insert_schema(), version).expect("columns that fit"));
        }
        (rows, fresh)
    }
}
