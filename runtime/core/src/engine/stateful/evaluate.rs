//! One page of source rows through a transform.
//!
//! Owns the call and the judgement of its answer, row by row. Does not own the
//! columns that go in (`join`), nor what differs from before (`emit`).
//!
//! Invariant: a source row is either without star rows for one reason, or has
//! star rows that their table can hold, each under a key of its own.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, BinaryArray, UInt32Array};
use arrow::compute::{concat, take};
use arrow::error::ArrowError;
use arrow::row::Rows;
use xxhash_rust::xxh3::xxh3_64;

use super::EngineError;
use super::join::{Failure, Joined, Stop, Tables, join};
use super::outcome::Entry;
use super::plan::{TargetPlan, TransformPlan};
use super::record::Head;
use crate::dead_letter::Stage;

/// Rows of one call: large enough that the call costs nothing, small enough to
/// stay in cache.
pub(super) const PAGE_ROWS: usize = 10_000;

/// What runs the transforms.
pub trait Transforms: Sync {
    /// Applies a transform, by its position, to `rows` source rows. `columns` are
    /// those of its spec and then those of each lookup, in the form of
    /// [`DataType::arrow`](crate::data_type::DataType::arrow); where a lookup found
    /// nothing they are null.
    ///
    /// # Errors
    /// Why the transform cannot go on; it is stopped then.
    fn apply(&self, transform: usize, rows: usize, columns: &[ArrayRef]) -> Result<Applied, String>;
}

/// What a transform made of some source rows.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Rows by target; a target may stand here several times, or not at all.
    pub outputs: Vec<AppliedRows>,
    /// Source rows that it refused; they have no rows in `outputs`.
    pub errors: Vec<AppliedError>,
}

/// Rows of one target.
#[derive(Clone, Debug)]
pub struct AppliedRows {
    /// Position among the targets.
    pub target: usize,
    /// For each row the source row that it comes from.
    pub origin: Vec<u32>,
    /// All columns of the target in their order, in the form of
    /// [`DataType::arrow`](crate::data_type::DataType::arrow); those that are
    /// declared non-null hold no nulls.
    pub columns: Vec<ArrayRef>,
}

/// A source row that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppliedError {
    /// Its position among those given.
    pub row: u32,
    /// Short and stable, to count by.
    pub code: String,
    /// What is wrong.
    pub message: String,
}

/// A page of source keys and what became of them.
pub(super) struct Page {
    /// The source keys.
    pub(super) keys: BinaryArray,
    /// Where the last event of each stood; nothing for a key without a row.
    pub(super) heads: Vec<Head>,
    /// Why a key has no star rows, where there is a reason.
    pub(super) stops: HashMap<u32, Stop>,
    /// By target.
    pub(super) rows: Vec<PageRows>,
    /// For each key the end of its places in `places`.
    ends: Vec<u32>,
    /// Target and row of all star rows, by key, then in the order of target and
    /// star key.
    places: Vec<(usize, u32)>,
}

/// Star rows of one target.
pub(super) struct PageRows {
    /// For each row its source key's position.
    pub(super) origin: Vec<u32>,
    pub(super) columns: Vec<ArrayRef>,
    keys: Rows,
    beside: Option<Rows>,
    hashes: Vec<u64>,
}

impl Page {
    /// The star rows of a key.
    pub(super) fn entries(&self, key: usize) -> impl Iterator<Item = (u32, Entry<'_>)> {
        let from = if key == 0 { 0 } else { self.ends[key - 1] as usize };
        self.places[from..self.ends[key] as usize].iter().map(|(target, row)| {
            let rows = &self.rows[*target];
            let index = *row as usize;
            (*row, rows.entry(*target, index))
        })
    }
}

impl PageRows {
    fn entry(&self, target: usize, index: usize) -> Entry<'_> {
        let beside = self.beside.as_ref().map_or(&[][..], |beside| beside.row(index).data());
        Entry { target, key: self.keys.row(index).data(), beside, hash: self.hashes[index] }
    }
}

/// Why a page gave nothing.
pub(super) enum PageError {
    /// The transform cannot go on.
    Stopped(String),
    Engine(EngineError),
}

impl From<EngineError> for PageError {
    fn from(error: EngineError) -> Self {
        Self::Engine(error)
    }
}

/// Evaluates source `keys`, each given once.
///
/// # Errors
/// If the transform is to be stopped, or the store fails.
pub(super) fn evaluate(
    number: usize,
    plan: &TransformPlan,
    tables: &Tables<'_>,
    transforms: &dyn Transforms,
    keys: BinaryArray,
) -> Result<Page, PageError> {
    let found = tables.rows[plan.relation].find(tables.state, &keys).map_err(EngineError::from)?;
    let joined = join(plan, tables, &found)?;
    let mut heads = vec![Head::default(); keys.len()];
    let mut stops = HashMap::new();
    let mut called = Vec::with_capacity(joined.present.len());
    for ((place, row), (head, stop)) in
        (0_u32..).zip(&joined.present).zip(joined.heads.iter().zip(&joined.stops))
    {
        heads[*row as usize] = *head;
        match stop {
            Some(stop) => drop(stops.insert(*row, stop.clone())),
            None => called.push(place),
        }
    }
    let failed = |source| PageError::Engine(EngineError::Star { transform: plan.spec.name.clone(), source });
    let applied = call(number, plan, transforms, &joined, &called)?;
    let row_of = |called_row: u32| joined.present[called[called_row as usize] as usize];
    for error in applied.errors {
        let failure = Failure { stage: Stage::Transform, code: error.code, message: error.message };
        stops.insert(row_of(error.row), Stop::Failed(failure));
    }
    let mut rows = Vec::with_capacity(plan.targets.len());
    for (position, target) in plan.targets.iter().enumerate() {
        let outputs: Vec<&AppliedRows> = applied.outputs.iter().filter(|o| o.target == position).collect();
        rows.push(page_rows(plan, position, target, &outputs, &row_of, &mut stops).map_err(failed)?);
    }
    Ok(sorted(plan, keys, heads, stops, rows))
}

fn call(
    number: usize,
    plan: &TransformPlan,
    transforms: &dyn Transforms,
    joined: &Joined,
    called: &[u32],
) -> Result<Applied, PageError> {
    if called.is_empty() {
        return Ok(Applied::default());
    }
    let taken;
    let columns = if called.len() == joined.present.len() {
        &joined.columns
    } else {
        let called = UInt32Array::from(called.to_vec());
        let columns = joined.columns.iter().map(|column| take(column, &called, None));
        taken = columns
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| EngineError::Star { transform: plan.spec.name.clone(), source })?;
        &taken
    };
    transforms.apply(number, called.len(), columns).map_err(PageError::Stopped)
}

/// The rows of one target, with their keys and hashes; rows that the table cannot
/// hold stop their source row.
fn page_rows(
    plan: &TransformPlan,
    position: usize,
    target: &TargetPlan,
    outputs: &[&AppliedRows],
    row_of: &impl Fn(u32) -> u32,
    stops: &mut HashMap<u32, Stop>,
) -> Result<PageRows, ArrowError> {
    let declared = &plan.spec.targets[position].columns;
    let origin: Vec<u32> = outputs.iter().flat_map(|o| &o.origin).map(|row| row_of(*row)).collect();
    let columns: Vec<ArrayRef> = match outputs {
        [] => declared.iter().map(|c| arrow::array::new_empty_array(&c.data_type.arrow())).collect(),
        [only] => only.columns.clone(),
        several => (0..declared.len())
            .map(|column| {
                let parts: Vec<&dyn Array> = several.iter().map(|o| o.columns[column].as_ref()).collect();
                concat(&parts)
            })
            .collect::<Result<_, _>>()?,
    };
    for fault in target.table.out_of_range(&columns) {
        let failure = Failure { stage: Stage::Star, code: "out-of-range".into(), message: fault.message };
        stops.entry(origin[fault.row]).or_insert(Stop::Failed(failure));
    }
    let of = |positions: &[usize]| -> Vec<ArrayRef> {
        positions.iter().map(|position| ArrayRef::clone(&columns[*position])).collect()
    };
    let keys = target.key_rows.convert_columns(&of(&target.key))?;
    let beside = target.beside_rows.as_ref().map(|rows| rows.convert_columns(&of(&target.beside)));
    let beside = beside.transpose()?;
    let all = target.all_rows.convert_columns(&columns)?;
    let hashes = all.iter().map(|row| xxh3_64(row.data())).collect();
    Ok(PageRows { origin, columns, keys, beside, hashes })
}

/// Brings star rows into the order of their source keys; a source row that gives
/// two rows of one key is stopped, because only one of them could stand.
fn sorted(
    plan: &TransformPlan,
    keys: BinaryArray,
    heads: Vec<Head>,
    mut stops: HashMap<u32, Stop>,
    rows: Vec<PageRows>,
) -> Page {
    let mut all: Vec<(u32, usize, u32)> = Vec::with_capacity(rows.iter().map(|rows| rows.origin.len()).sum());
    for (target, rows) in rows.iter().enumerate() {
        all.extend((0_u32..).zip(&rows.origin).map(|(row, origin)| (*origin, target, row)));
    }
    let is_sorted = all.windows(2).all(|pair| pair[0].0 < pair[1].0);
    if !is_sorted {
        let key = |target: usize, row: u32| rows[target].keys.row(row as usize);
        all.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)).then_with(|| key(a.1, a.2).cmp(&key(b.1, b.2))));
        for pair in all.windows(2) {
            let ((origin, target, row), (next_origin, next_target, next_row)) = (pair[0], pair[1]);
            if (origin, target) == (next_origin, next_target) && key(target, row) == key(target, next_row) {
                let failure = Failure {
                    stage: Stage::Transform,
                    code: "duplicate-key".into(),
                    message: format!(
                        "it gave two rows of {} with the same key for one source row; a key column must tell \
                         them apart",
                        plan.spec.targets[target].table
                    ),
                };
                stops.entry(origin).or_insert(Stop::Failed(failure));
            }
        }
    }
    if !stops.is_empty() {
        all.retain(|(origin, ..)| !stops.contains_key(origin));
    }
    let mut ends = vec![0_u32; keys.len()];
    for (origin, ..) in &all {
        ends[*origin as usize] += 1;
    }
    let mut end = 0;
    for own in &mut ends {
        end += *own;
        *own = end;
    }
    let places = all.into_iter().map(|(_, target, row)| (target, row)).collect();
    Page { keys, heads, stops, rows, ends, places }
}
