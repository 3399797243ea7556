//! One page of source rows through a transform.
//!
//! Owns the call and the judgement of its answer, row by row. Does not own the
//! columns that go in (`join`), nor what differs from before (`emit`).
//!
//! Invariant: a source row is either without star rows for one reason, or has
//! star rows that their table can hold, each under a key of its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::{Array, ArrayRef, BinaryArray, BooleanArray, UInt32Array};
use arrow::compute::{concat, filter, take};
use arrow::error::ArrowError;
use arrow::row::Rows;
use xxhash_rust::xxh3::xxh3_64;

use super::EngineError;
use super::as_of::{References, Timelines};
use super::join::{Failure, Joined, Stop, Tables, join};
use super::outcome::Entry;
use super::plan::TransformPlan;
use super::record::{Head, Record};
use super::sources::{FoundSources, Sources};
use super::target::TargetPlan;
use super::versions::version_rows;
use crate::dead_letter::Stage;
use crate::row_json::row_json;

/// Rows of one call: large enough that the call costs nothing, small enough to
/// stay in cache.
pub(super) const PAGE_ROWS: usize = 10_000;
/// Source keys of one call where every row that they had is evaluated.
pub(super) const VERSIONED_PAGE_ROWS: usize = 1_000;

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
    /// What the rows of each key refer to.
    pub(super) reads: BTreeMap<u32, References>,
    /// Why a key has no star rows, where there is a reason.
    pub(super) stops: HashMap<u32, Stop>,
    /// The row of each key that failed, as JSON.
    pub(super) failed: HashMap<u32, String>,
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

/// Rows that a transform gave for one target.
pub(super) struct Given {
    /// For each the number of the source row that it comes from.
    pub(super) rows: Vec<u32>,
    pub(super) columns: Vec<ArrayRef>,
}

/// Source rows and keys without star rows.
pub(super) struct Stops {
    /// Of each source row.
    key_of: Vec<u32>,
    /// The first failure of each key.
    failed: HashMap<u32, Failure>,
    /// Rows that wait.
    held: BTreeSet<u32>,
}

impl Given {
    /// # Errors
    /// If Arrow cannot filter a column.
    fn retain(&mut self, keep: impl Fn(u32) -> bool) -> Result<(), ArrowError> {
        if self.rows.iter().all(|row| keep(*row)) {
            return Ok(());
        }
        let kept: BooleanArray = self.rows.iter().map(|row| Some(keep(*row))).collect();
        for column in &mut self.columns {
            *column = filter(column, &kept)?;
        }
        self.rows.retain(|row| keep(*row));
        Ok(())
    }
}

impl Stops {
    fn add(&mut self, row: u32, stop: Stop) {
        match stop {
            Stop::Held => drop(self.held.insert(row)),
            Stop::Failed(failure) => self.fail(row, failure),
        }
    }

    /// A failing row fails its key.
    pub(super) fn fail(&mut self, row: u32, failure: Failure) {
        self.fail_key(self.key_of[row as usize], failure);
    }

    fn fail_key(&mut self, key: u32, failure: Failure) {
        self.failed.entry(key).or_insert(failure);
    }

    pub(super) fn has_failed(&self, key: u32) -> bool {
        self.failed.contains_key(&key)
    }

    pub(super) fn is_held(&self, row: u32) -> bool {
        self.held.contains(&row)
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
    timelines: &Timelines<'_>,
    transforms: &dyn Transforms,
    keys: BinaryArray,
) -> Result<Page, PageError> {
    let found = FoundSources::find(plan, tables, &keys).map_err(EngineError::from)?;
    let emptied = &tables.rows[plan.relation].emptied;
    let sources = found.sources(keys.len(), emptied);
    let records: Vec<Record<'_>> = sources.rows.iter().map(|row| Record::parse(&row.record)).collect();
    let joined = join(plan, tables, &records)?;
    let mut heads = vec![Head::default(); keys.len()];
    for (row, record) in sources.rows.iter().zip(&records) {
        heads[row.key as usize] = record.head;
    }
    let key_of = sources.rows.iter().map(|row| row.key).collect();
    let mut stops = Stops { key_of, failed: HashMap::new(), held: BTreeSet::new() };
    let mut called = Vec::with_capacity(records.len());
    for (row, stop) in (0_u32..).zip(&joined.stops) {
        match stop {
            Some(stop) => stops.add(row, stop.clone()),
            None => called.push(row),
        }
    }
    let applied = call(number, plan, transforms, &joined, &called)?;
    for error in applied.errors {
        let failure = Failure { stage: Stage::Transform, code: error.code, message: error.message };
        stops.fail(called[error.row as usize], failure);
    }
    let failed = |source| PageError::Engine(EngineError::Star { transform: plan.spec.name.clone(), source });
    let mut all_given = given(plan, &applied.outputs, &called, &sources).map_err(failed)?;
    let reads = refer(plan, timelines, &mut all_given, &mut stops)?;
    let mut rows = Vec::with_capacity(plan.targets.len());
    for (position, (target, given)) in plan.targets.iter().zip(all_given).enumerate() {
        let given = match &target.versions {
            Some(of) => version_rows(plan, (position, of), &given, &sources, emptied, &mut stops),
            None => current_rows(given, &stops),
        };
        rows.push(given.and_then(|given| page_rows(target, given, &mut stops)).map_err(failed)?);
    }
    let mut page = sorted(plan, keys, (heads, reads), stops, rows);
    page.failed = failed_rows(plan, &joined, &sources, &page.stops);
    Ok(page)
}

/// The rows of the keys that failed, as the transform would have got them: of
/// several the current one.
fn failed_rows(
    plan: &TransformPlan,
    joined: &Joined,
    sources: &Sources<'_>,
    stops: &HashMap<u32, Stop>,
) -> HashMap<u32, String> {
    if !stops.values().any(|stop| matches!(stop, Stop::Failed(_))) {
        return HashMap::new();
    }
    let names: Vec<String> = plan.spec.inputs().map(|input| input.to_string()).collect();
    let shown = |place: usize| {
        let columns = names.iter().map(String::as_str).zip(&joined.columns);
        row_json(columns, place).to_string()
    };
    let has_failed = |key: u32| matches!(stops.get(&key), Some(Stop::Failed(_)));
    // The current one comes last.
    let failed = sources.rows.iter().enumerate().filter(|(_, row)| has_failed(row.key));
    failed
        .map(|(place, row)| (row.key, place))
        .collect::<HashMap<_, _>>()
        .into_iter()
        .map(|(key, place)| (key, shown(place)))
        .collect()
}

/// What the transform gave, by target: of the current row, or for targets that
/// keep versions of all that the key had.
fn given(
    plan: &TransformPlan,
    outputs: &[AppliedRows],
    called: &[u32],
    sources: &Sources<'_>,
) -> Result<Vec<Given>, ArrowError> {
    let of_target = |(position, target): (usize, &TargetPlan)| {
        let outputs: Vec<&AppliedRows> = outputs.iter().filter(|o| o.target == position).collect();
        let rows = outputs.iter().flat_map(|o| &o.origin).map(|row| called[*row as usize]).collect();
        let declared = &plan.spec.targets[position].columns;
        let columns: Vec<ArrayRef> = match outputs.as_slice() {
            [] => declared.iter().map(|c| arrow::array::new_empty_array(&c.data_type.arrow())).collect(),
            [only] => only.columns.clone(),
            several => (0..declared.len())
                .map(|column| {
                    let parts: Vec<&dyn Array> = several.iter().map(|o| o.columns[column].as_ref()).collect();
                    concat(&parts)
                })
                .collect::<Result<_, _>>()?,
        };
        let mut given = Given { rows, columns };
        if plan.keeps_versions() {
            let keeps_versions = target.versions.is_some();
            given.retain(|row| sources.rows[row as usize].is_history == keeps_versions)?;
        }
        Ok(given)
    };
    plan.targets.iter().enumerate().map(of_target).collect()
}

/// Fills the columns of references; gives for each key what its rows refer to.
fn refer(
    plan: &TransformPlan,
    timelines: &Timelines<'_>,
    given: &mut [Given],
    stops: &mut Stops,
) -> Result<BTreeMap<u32, References>, EngineError> {
    let mut reads: BTreeMap<u32, References> = BTreeMap::new();
    for (number, reference) in plan.references.iter().enumerate() {
        let filled = timelines.fill(&plan.spec.name, reference, &mut given[reference.target])?;
        for (row, key) in filled.reads {
            reads.entry(stops.key_of[row as usize]).or_default().push((number, key));
        }
        filled.stops.into_iter().for_each(|(row, stop)| stops.add(row, stop));
    }
    for own in reads.values_mut() {
        own.sort_unstable();
        own.dedup();
    }
    Ok(reads)
}

/// Rows by source key, without those that wait.
fn current_rows(mut given: Given, stops: &Stops) -> Result<Given, ArrowError> {
    given.retain(|row| !stops.is_held(row))?;
    given.rows.iter_mut().for_each(|row| *row = stops.key_of[*row as usize]);
    Ok(given)
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
    let columns = if called.len() == joined.stops.len() {
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
fn page_rows(target: &TargetPlan, given: Given, stops: &mut Stops) -> Result<PageRows, ArrowError> {
    let Given { rows: origin, columns } = given;
    for fault in target.table.out_of_range(&columns) {
        let failure = Failure { stage: Stage::Star, code: "out-of-range".into(), message: fault.message };
        stops.fail_key(origin[fault.row], failure);
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
    (heads, reads): (Vec<Head>, BTreeMap<u32, References>),
    mut stops: Stops,
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
                stops.fail_key(origin, plan.duplicate_key(target));
            }
        }
    }
    if !stops.failed.is_empty() {
        all.retain(|(origin, ..)| !stops.has_failed(*origin));
    }
    let mut ends = vec![0_u32; keys.len()];
    for (origin, ..) in &all {
        ends[*origin as usize] += 1;
    }
    // A key waits if nothing of it stands.
    let held = stops.held.iter().map(|row| stops.key_of[*row as usize]);
    let held = held.filter(|key| ends[*key as usize] == 0).map(|key| (key, Stop::Held));
    let failed = stops.failed.iter().map(|(key, failure)| (*key, Stop::Failed(failure.clone())));
    let stops = held.chain(failed).collect();
    let mut end = 0;
    for own in &mut ends {
        end += *own;
        *own = end;
    }
    let places = all.into_iter().map(|(_, target, row)| (target, row)).collect();
    Page { keys, heads, reads, stops, failed: HashMap::new(), rows, ends, places }
}
