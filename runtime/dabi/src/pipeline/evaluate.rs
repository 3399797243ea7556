//! One transform over the events of one epoch: events → star rows.
//!
//! Owns the order of the steps: read the declared columns, judge which events
//! decide, call the module, set aside what fails, build the rows. Each step's
//! rule is in `dabi_core` (`reading`, `engine`, `star`) or in `transform`.
//!
//! Invariant: every event that decides its key leaves, for every target, one
//! live row or one tombstone, and if it failed also one dead letter. (Where every
//! change is kept, each event leaves its own: `changes`.)

mod changes;
mod live_rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use arrow::error::ArrowError;
use dabi_core::change::ChangeBatch;
use dabi_core::dead_letter::Stage;
use dabi_core::engine::{EvaluatedBatch, Truncates, Verdict, Verdicts, star_rows};
use dabi_core::fold::Truncate;
use dabi_core::preflight::NO_KEY_REMEDY;
use dabi_core::reading::{self, RowFault};
use dabi_core::spec::{ColumnSource, Spec, Target, TargetColumn};
use dabi_core::star::TargetTable;
use dabi_core::table::SourceTable;
use dabi_core::version::Version;
use rayon::prelude::*;

use self::live_rows::LiveRows;
use super::open_letters::{OpenLetters, letter_keys};
use super::status::Status;
use super::swap::Coverage;
use super::transforms::{self, FIRST_GENERATION};
use crate::telemetry::{Metrics, Stage as CpuStage};
use crate::transform::{Applied, InputBatch, Module, PoisonBudget, TransformStopped, Workers};

/// Rows of one call: large enough that the call costs nothing, small enough to
/// stay in cache and to spread over the cores.
const CALL_ROWS_MAX: usize = 10_000;

/// A transform that runs.
pub(super) struct LiveTransform {
    /// The entry of the transforms' folder that it came from.
    pub(super) entry: String,
    workers: Workers,
    /// The table of each target.
    pub(super) tables: Vec<TargetTable>,
    /// Truncates of its source table.
    pub(super) truncates: Truncates,
    /// Why it was stopped, if it was.
    pub(super) stopped: Option<String>,
    /// Which rows of its tables are its own.
    pub(super) coverage: Coverage,
    /// Its next epoch holds every known truncate against its tables once more.
    pub(super) holds_truncates_again: bool,
    /// Has any event gone through it?
    pub(super) is_tried: bool,
    /// Source rows that it could not use.
    pub(super) letters: OpenLetters,
    /// Was it said that some of its changes double when they are sent again?
    warned_of_places: bool,
    metrics: Metrics,
}

/// What one transform makes of one epoch.
#[derive(Default)]
pub(super) struct Output {
    /// For each target, the rows to insert.
    pub(super) rows: Vec<Vec<RecordBatch>>,
    /// Truncates first seen in this epoch.
    pub(super) truncates: Vec<Truncate>,
    /// Events that were set aside.
    pub(super) failures: Vec<Failure>,
    /// Keys whose dead letter is no more.
    pub(super) repaired: Vec<String>,
}

/// An event that a transform could not use.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The event, as a batch of one row.
    pub(super) event: ChangeBatch,
    /// The key of its dead letter, for people to read (see `open_letters`);
    /// `None` where it cannot be told.
    pub(super) key: Option<String>,
    /// Where it failed.
    pub(super) stage: Stage,
    /// Short and stable.
    pub(super) code: String,
    /// What is wrong.
    pub(super) message: String,
}

/// Why a transform cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    /// It needs the stateful engine, and only its source's key shows it.
    #[error(
        "transform {transform} runs without row state, and cannot: {}; pass the whole primary key through as the \
         target's key", reasons.join("; ")
    )]
    Stateful {
        /// Its name.
        transform: String,
        /// Each reason.
        reasons: Vec<String>,
    },
    /// Rows of its source cannot be told apart.
    #[error(
        "transform {transform}: table {table} has no primary key, so no update or delete of it finds its row; {}",
        NO_KEY_REMEDY
    )]
    NoKey {
        /// Its name.
        transform: String,
        /// The source table.
        table: SourceTable,
    },
    /// A declared column can never be read from this source.
    #[error("transform {transform}: {source}")]
    Read {
        /// Its name.
        transform: String,
        /// Which column and why.
        source: reading::ReadError,
    },
    /// Its columns do not fit its tables: a defect of dabi.
    #[error("transform {transform}: build star rows: {source}")]
    Rows {
        /// Its name.
        transform: String,
        /// Arrow's words.
        source: ArrowError,
    },
}

impl EvaluateError {
    /// Is dabi to blame, and not the transform?
    pub(super) fn is_defect(&self) -> bool {
        matches!(self, Self::Rows { .. })
    }
}

/// The declared columns of one batch.
struct Inputs {
    columns: Vec<ArrayRef>,
    faults: Vec<RowFault>,
}

/// Of one batch: rows per target, and failures.
struct Part {
    rows: Vec<Option<RecordBatch>>,
    failures: Vec<Failure>,
}

/// Why a call gave nothing.
enum CallError {
    Stopped(TransformStopped),
    Rows(ArrowError),
}

impl From<TransformStopped> for CallError {
    fn from(stopped: TransformStopped) -> Self {
        Self::Stopped(stopped)
    }
}

impl From<ArrowError> for CallError {
    fn from(error: ArrowError) -> Self {
        Self::Rows(error)
    }
}

impl Output {
    fn add(&mut self, part: Part) {
        for (rows, part) in self.rows.iter_mut().zip(part.rows) {
            rows.extend(part);
        }
        self.failures.extend(part.failures);
    }
}

impl LiveTransform {
    /// A transform of `entry` over its tables, all of whose rows are its own.
    pub(super) fn new(entry: String, module: Module, metrics: Metrics) -> Self {
        let tables = transforms::tables(module.spec(), FIRST_GENERATION);
        Self {
            entry,
            workers: Workers::new(module),
            tables,
            truncates: Truncates::default(),
            stopped: None,
            coverage: Coverage::Whole,
            holds_truncates_again: false,
            is_tried: false,
            letters: OpenLetters::default(),
            warned_of_places: false,
            metrics,
        }
    }

    /// The loaded module.
    pub(super) fn module(&self) -> &Module {
        self.workers.module()
    }

    /// What it declares.
    pub(super) fn spec(&self) -> &Spec {
        self.module().spec()
    }

    /// Tells everybody that it is stopped.
    pub(super) fn tell_stopped(&self, reason: &str, status: &Status) {
        let name = &self.spec().name;
        tracing::error!(transform = name, reason, "transform stopped; the others go on");
        status.transform(&self.entry, |report| report.stopped(reason.to_owned()));
        self.metrics.stopped(name);
    }

    /// Takes in truncates of its source table. Where changes are kept they change
    /// nothing, and are not remembered.
    pub(super) fn learn_truncates(&mut self, truncates: &Truncates) {
        if !self.spec().keeps_changes() {
            self.truncates.merge(truncates);
        }
    }

    /// Evaluates `batches`, all of its source table and in the order of reading.
    /// Blocks: call it from a CPU thread.
    ///
    /// # Errors
    /// If the transform can never run on this source. A module that fails too
    /// often is no error: it is marked as stopped.
    pub(super) fn evaluate(
        &mut self,
        batches: &[ChangeBatch],
        version: Version,
    ) -> Result<Output, EvaluateError> {
        self.check_key(batches)?;
        let mut output = Output { rows: vec![Vec::new(); self.tables.len()], ..Output::default() };
        let keeps_changes = self.spec().keeps_changes();
        if keeps_changes {
            self.warn_of_places(batches);
        } else {
            output.truncates = self.truncates.learn(batches);
        }
        let calls: Vec<ChangeBatch> = batches.iter().flat_map(split).collect();
        let inputs = calls.par_iter().map(|batch| self.read(batch)).collect::<Result<Vec<_>, _>>()?;
        let verdicts = match keeps_changes {
            true => Verdicts::of_changes(&calls, self.spec()),
            false => self.judge(&calls, &inputs).map_err(|source| self.rows_error(source))?,
        };
        let budget = PoisonBudget::new(self.module());
        let parts = (0..calls.len()).into_par_iter().map(|index| {
            let (batch, inputs) = (&calls[index], &inputs[index]);
            let tombstones = verdicts.rows(index, Verdict::Tombstone);
            let asked = verdicts.rows(index, Verdict::Evaluate);
            self.metrics.timed(CpuStage::Transform, || match keeps_changes {
                true => self.evaluate_changes(batch, inputs, asked, version, &budget),
                false => self.evaluate_call(batch, inputs, asked, tombstones, version, &budget),
            })
        });
        let parts: Result<Vec<Part>, CallError> = parts.collect();
        match parts {
            Ok(parts) => {
                parts.into_iter().for_each(|part| output.add(part));
                let spec = self.workers.module().spec();
                output.repaired =
                    self.letters.learn(spec, &calls, &verdicts, &output.failures, &output.truncates);
            }
            Err(CallError::Stopped(stopped)) => self.stopped = Some(stopped.reason),
            Err(CallError::Rows(source)) => return Err(self.rows_error(source)),
        }
        Ok(output)
    }

    fn judge(&self, calls: &[ChangeBatch], inputs: &[Inputs]) -> Result<Verdicts, ArrowError> {
        let key = self.key_inputs();
        let keys: Vec<Vec<ArrayRef>> = inputs
            .iter()
            .map(|read| key.iter().map(|input| Arc::clone(&read.columns[*input])).collect())
            .collect();
        Verdicts::judge(calls, &keys, &self.truncates)
    }

    /// The narrow rule needs the source's key, which only events tell.
    fn check_key(&self, batches: &[ChangeBatch]) -> Result<(), EvaluateError> {
        for batch in batches.iter().filter(|batch| batch.tells_key()) {
            let fields = batch.row_fields();
            let key: Vec<&str> = batch.key().iter().map(|column| fields[*column].name().as_str()).collect();
            if key.is_empty() && !self.spec().keeps_changes() {
                let (transform, table) = (self.spec().name.clone(), batch.table().clone());
                return Err(EvaluateError::NoKey { transform, table });
            }
            let reasons = self.spec().stateful_reasons(Some(&key));
            if !reasons.is_empty() {
                return Err(EvaluateError::Stateful { transform: self.spec().name.clone(), reasons });
            }
        }
        Ok(())
    }

    fn read(&self, batch: &ChangeBatch) -> Result<Inputs, EvaluateError> {
        self.metrics.timed(CpuStage::Transform, || {
            let (columns, faults) = reading::read_columns(batch, self.spec())
                .map_err(|source| EvaluateError::Read { transform: self.spec().name.clone(), source })?;
            Ok(Inputs { columns, faults })
        })
    }

    fn evaluate_call(
        &self,
        batch: &ChangeBatch,
        inputs: &Inputs,
        mut asked: Vec<u32>,
        mut tombstones: Vec<u32>,
        version: Version,
        budget: &PoisonBudget,
    ) -> Result<Part, CallError> {
        let mut failures = Vec::new();
        for (row, fault) in worst_faults(&inputs.faults, &self.key_inputs()) {
            let keyless = self.key_inputs().contains(&fault.column);
            let was_asked = asked.binary_search(&row).map(|index| asked.remove(index)).is_ok();
            let was_dead = !was_asked && tombstones.binary_search(&row).is_ok();
            if keyless {
                tombstones.retain(|dead| *dead != row);
            } else if was_asked {
                let place = tombstones.partition_point(|dead| *dead < row);
                tombstones.insert(place, row);
            }
            // A column that a tombstone does not need cannot fail it.
            if was_asked || keyless && was_dead {
                failures.push(self.failure(batch, row, Stage::Read, fault.code, fault.message.clone()));
            }
        }
        let applied = self.apply(batch, inputs, &asked, budget, &mut failures)?;
        let mut lives = Vec::with_capacity(self.tables.len());
        for (target, table) in self.tables.iter().enumerate() {
            let live = self.given_rows(target, &asked, &applied)?;
            self.check_one_row_each(&live.origins, table)?;
            lives.push(live);
        }
        self.set_unfit_aside(batch, &mut lives, &mut failures)?;
        let mut rows = Vec::with_capacity(self.tables.len());
        for (target, (table, live)) in self.tables.iter().zip(lives).enumerate() {
            let LiveRows { origins, columns } = live;
            let mut dead = tombstones.clone();
            dead.extend(missing(&asked, &origins));
            if origins.is_empty() && dead.is_empty() {
                rows.push(None);
                continue;
            }
            let evaluated = EvaluatedBatch {
                batch,
                origins: &UInt32Array::from(origins),
                columns: &columns,
                tombstones: &UInt32Array::from(dead),
                keys: &self.key_columns(target, inputs),
            };
            rows.push(Some(star_rows(&evaluated, &table.insert_schema(), version)?));
        }
        Ok(Part { rows, failures })
    }

    /// Calls the module for the rows `asked`; those it refuses become failures.
    fn apply(
        &self,
        batch: &ChangeBatch,
        inputs: &Inputs,
        asked: &[u32],
        budget: &PoisonBudget,
        failures: &mut Vec<Failure>,
    ) -> Result<Applied, CallError> {
        if asked.is_empty() {
            return Ok(Applied::default());
        }
        let columns = if asked.len() == batch.num_rows() {
            inputs.columns.clone()
        } else {
            let rows = UInt32Array::from(asked.to_vec());
            inputs.columns.iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?
        };
        let input = InputBatch { rows: asked.len(), columns };
        let applied = self.workers.apply_isolating(&input, budget)?;
        for error in &applied.errors {
            let row = asked[error.row as usize];
            failures.push(self.failure(batch, row, Stage::Transform, &error.code, error.message.clone()));
        }
        Ok(applied)
    }

    /// The half of the narrow rule that only answers can tell.
    fn check_one_row_each(&self, origins: &[u32], table: &TargetTable) -> Result<(), TransformStopped> {
        let mut seen = HashSet::with_capacity(origins.len());
        let ascending = origins.is_sorted_by(|a, b| a < b);
        if ascending || origins.iter().all(|origin| seen.insert(*origin)) {
            return Ok(());
        }
        Err(TransformStopped {
            transform: self.spec().name.clone(),
            reason: format!(
                "it gave several rows of {} for one source row, which needs row state, and this version of dabi \
                 keeps none",
                table.view_name()
            ),
        })
    }

    /// Input columns that the targets' keys are passed through from.
    fn key_inputs(&self) -> Vec<usize> {
        let targets = self.spec().targets.iter();
        let inputs =
            targets.flat_map(|target| target.key.iter().filter_map(|name| self.input_of(target, name)));
        inputs.collect::<BTreeSet<usize>>().into_iter().collect()
    }

    fn input_of(&self, target: &Target, column: &str) -> Option<usize> {
        match target.columns.iter().find(|c| c.name == column)?.source {
            ColumnSource::Input(input) => Some(input),
            ColumnSource::Computed | ColumnSource::AsOf(_) => None,
        }
    }

    fn key_columns(&self, target: usize, inputs: &Inputs) -> Vec<Option<ArrayRef>> {
        let target = &self.spec().targets[target];
        let column = |column: &TargetColumn| {
            let is_key = target.key.contains(&column.name);
            is_key
                .then(|| self.input_of(target, &column.name))
                .flatten()
                .map(|input| Arc::clone(&inputs.columns[input]))
        };
        target.columns.iter().map(column).collect()
    }

    fn failure(&self, batch: &ChangeBatch, row: u32, stage: Stage, code: &str, message: String) -> Failure {
        let event = batch.slice(row as usize, 1);
        let key = letter_keys(self.spec(), &event).pop().flatten();
        Failure { event, key, stage, code: code.to_owned(), message }
    }

    fn rows_error(&self, source: ArrowError) -> EvaluateError {
        EvaluateError::Rows { transform: self.spec().name.clone(), source }
    }
}

fn split(batch: &ChangeBatch) -> impl Iterator<Item = ChangeBatch> + '_ {
    (0..batch.num_rows())
        .step_by(CALL_ROWS_MAX)
        .map(|from| batch.slice(from, CALL_ROWS_MAX.min(batch.num_rows() - from)))
}

/// A call has at most [`CALL_ROWS_MAX`] rows.
fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a row of one call")
}

/// One fault per row: one of a key column where there is one, else the first.
fn worst_faults<'a>(faults: &'a [RowFault], key: &[usize]) -> BTreeMap<u32, &'a RowFault> {
    let mut worst: BTreeMap<u32, &RowFault> = BTreeMap::new();
    for fault in faults {
        let known = worst.entry(row_number(fault.row)).or_insert(fault);
        if key.contains(&fault.column) && !key.contains(&known.column) {
            *known = fault;
        }
    }
    worst
}

/// Those of the ascending `asked` that are not among `origins`.
fn missing(asked: &[u32], origins: &[u32]) -> Vec<u32> {
    if asked == origins {
        return Vec::new();
    }
    let have: HashSet<u32> = origins.iter().copied().collect();
    asked.iter().copied().filter(|row| !have.contains(row)).collect()
}
