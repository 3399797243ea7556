//! What a transform makes of the source tables, computed from nothing but them.
//!
//! Owns the definition that the star is held against: the fold of each table,
//! joined row by row, through the transform. It shares `fold`, `reading` and
//! `star` with the engines, and none of what makes them incremental (state,
//! indexes, dependents, outputs, claims), so that a fault there shows.
//!
//! Does not own where events come from, running modules, or the comparison.
//!
//! Invariant: the result depends on the rows alone, not on the order of events.

mod join;
mod tables;
pub mod trace;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array, new_empty_array, new_null_array};
use arrow::compute::{concat, take};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use self::join::{Joined, join};
pub use self::tables::{RowPlace, TableRows};
use crate::dead_letter::Stage;
use crate::engine::rows::{LiveAndDead, insert_rows};
use crate::engine::stateful::Applied;
use crate::fold::key::shown;
use crate::reading::ReadError;
use crate::spec::{BEFORE_PREFIX, Spec, Target, TargetColumn, TargetKind};
use crate::star::{LSN, TS, TargetTable};
use crate::table::SourceTable;
use crate::version::{Epoch, Term, Version};

/// Source rows of one page: large enough that a call costs nothing.
pub const PAGE_ROWS: usize = 10_000;

/// Runs the module: source rows and their columns, as
/// [`Transforms::apply`](crate::engine::stateful::Transforms::apply) gets them.
pub type Call<'a> = dyn Fn(usize, &[ArrayRef]) -> Result<Applied, String> + 'a;

/// Why a star cannot be recomputed.
#[derive(Debug, thiserror::Error)]
pub enum RecomputeError {
    /// A declared column can never be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The transform cannot go on.
    #[error("the transform stops: {0}")]
    Stopped(String),
    /// Its columns do not fit its tables: a defect of dabi.
    #[error("build star rows: {0}")]
    Rows(#[from] ArrowError),
}

/// Why a source row has no star row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It waits for the row that the lookup of this name finds.
    Held(String),
    /// It is a dead letter.
    Letter(Fault),
}

/// What is wrong with a source row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where it failed.
    pub stage: Stage,
    /// Short and stable.
    pub code: String,
    /// What is wrong, and what to do.
    pub message: String,
}

impl Fault {
    fn new(stage: Stage, code: &str, message: String) -> Self {
        Self { stage, code: code.to_owned(), message }
    }
}

/// A source row and what it looked up.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its key, in an order that is that of the values.
    pub key: Box<[u8]>,
    /// Where it stands among the rows of its table.
    pub place: RowPlace,
    /// For each lookup the row that it found.
    pub found: Vec<Option<RowPlace>>,
    /// Why it has no star row in any target.
    pub stop: Option<Stop>,
}

impl Source {
    /// Its key for a person to read, as dead letters have it.
    #[must_use]
    pub fn shown_key(&self) -> String {
        shown(&self.key)
    }
}

/// Star rows of one target.
#[derive(Clone, Debug)]
pub struct TargetRows {
    /// For each row the position of its source row in the page.
    pub origin: Vec<u32>,
    /// The target's columns as an insert sends them, without the hidden ones.
    pub rows: RecordBatch,
}

/// Some source rows, in the order of their keys, and their star rows.
#[derive(Clone, Debug)]
pub struct Page {
    /// The source rows.
    pub sources: Vec<Source>,
    /// By target.
    pub targets: Vec<TargetRows>,
}

/// One transform over tables.
pub struct Recomputation<'a> {
    spec: &'a Spec,
    targets: Vec<TargetTable>,
    tables: &'a BTreeMap<SourceTable, TableRows>,
    call: &'a Call<'a>,
    /// The source rows in the order of their keys.
    order: Vec<(Box<[u8]>, RowPlace)>,
    /// A value that a target cannot hold stops the source row, and not only its
    /// row of that target.
    faults_stop_all: bool,
    next: usize,
}

/// Why the current rows do not say what a target is to hold; `None` if they do.
#[must_use]
pub fn needs_more_than_rows(spec: &Spec, target: usize) -> Option<&'static str> {
    let target = &spec.targets[target];
    if target.kind != TargetKind::Latest {
        return Some("it keeps history");
    }
    if !target.as_of.is_empty() {
        return Some("it refers to history");
    }
    let reads_before = spec.columns.iter().any(|column| column.name.starts_with(BEFORE_PREFIX));
    reads_before.then_some("its transform reads before-images, which a row does not have")
}

impl<'a> Recomputation<'a> {
    /// `tables` has the source table of `spec` and those that it looks up; one
    /// that is missing has no rows.
    #[must_use]
    pub fn new(spec: &'a Spec, tables: &'a BTreeMap<SourceTable, TableRows>, call: &'a Call<'a>) -> Self {
        let source = tables.get(&spec.source);
        let key = source.map(|source| source.key().iter().map(String::as_str).collect::<Vec<_>>());
        Self {
            spec,
            targets: spec.targets.iter().map(|target| TargetTable::new(spec, target, 0)).collect(),
            tables,
            call,
            order: source.map(TableRows::in_order).unwrap_or_default(),
            faults_stop_all: !spec.stateful_reasons(key.as_deref()).is_empty(),
            next: 0,
        }
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// If a column cannot be read, or the transform stops.
    pub fn next_page(&mut self) -> Result<Option<Page>, RecomputeError> {
        let rest = &self.order[self.next..];
        let own = rest[..rest.len().min(PAGE_ROWS)].to_vec();
        self.next += own.len();
        let Some(source) = self.tables.get(&self.spec.source).filter(|_| !own.is_empty()) else {
            return Ok(None);
        };
        let places: Vec<RowPlace> = own.iter().map(|(_, place)| *place).collect();
        let mut joined = join(self.spec, self.tables, source, &places)?;
        let called: Vec<u32> =
            (0_u32..).zip(&joined.stops).filter(|(_, stop)| stop.is_none()).map(|(row, _)| row).collect();
        let applied = self.apply(&joined, &called)?;
        for error in &applied.errors {
            let fault = Fault::new(Stage::Transform, &error.code, error.message.clone());
            joined.stop(called[error.row as usize] as usize, || Stop::Letter(fault));
        }
        let mut targets = Vec::with_capacity(self.targets.len());
        for number in 0..self.targets.len() {
            targets.push(self.target(number, &applied, &called, &mut joined)?);
        }
        let sources = own.into_iter().zip(joined.found).zip(joined.stops);
        let sources: Vec<Source> =
            sources.map(|(((key, place), found), stop)| Source { key, place, found, stop }).collect();
        // A source row that is stopped has no row in any target.
        let targets =
            targets.into_iter().zip(&self.targets).map(|(rows, table)| rows.finish(table, &sources));
        Ok(Some(Page { targets: targets.collect::<Result<_, _>>()?, sources }))
    }

    fn apply(&self, joined: &Joined, called: &[u32]) -> Result<Applied, RecomputeError> {
        if called.is_empty() {
            return Ok(Applied::default());
        }
        let rows = UInt32Array::from(called.to_vec());
        let columns: Vec<ArrayRef> =
            joined.columns.iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?;
        (self.call)(called.len(), &columns).map_err(RecomputeError::Stopped)
    }

    /// What the transform gave for a target, but for what its table cannot hold;
    /// source rows that cannot stand are stopped.
    fn target(
        &self,
        number: usize,
        applied: &Applied,
        called: &[u32],
        joined: &mut Joined,
    ) -> Result<Given, ArrowError> {
        let declared = &self.spec.targets[number];
        let outputs: Vec<_> = match needs_more_than_rows(self.spec, number) {
            None => applied.outputs.iter().filter(|output| output.target == number).collect(),
            Some(_) => Vec::new(),
        };
        let origin: Vec<u32> =
            outputs.iter().flat_map(|output| &output.origin).map(|row| called[*row as usize]).collect();
        let columns: Vec<ArrayRef> = match outputs.as_slice() {
            [] => declared.all_columns().map(|c| new_empty_array(&c.data_type.arrow())).collect(),
            several => (0..declared.columns.len())
                .map(|column| concat(&several.iter().map(|o| o.columns[column].as_ref()).collect::<Vec<_>>()))
                .collect::<Result<_, _>>()?,
        };
        let mut unfit = HashSet::new();
        for found in self.targets[number].out_of_range(&columns) {
            unfit.insert(found.row);
            if self.faults_stop_all {
                let fault = Fault::new(Stage::Star, "out-of-range", found.message);
                joined.stop(origin[found.row] as usize, || Stop::Letter(fault));
            }
        }
        for row in doubled(declared, &origin, &columns)? {
            joined.stop(row as usize, || {
                let message = format!("it gave two rows of {} with the same key", declared.table);
                Stop::Letter(Fault::new(Stage::Transform, "duplicate-key", message))
            });
        }
        Ok(Given { origin, columns, unfit })
    }
}

/// What the transform gave for one target.
struct Given {
    origin: Vec<u32>,
    columns: Vec<ArrayRef>,
    /// Rows that the table cannot hold.
    unfit: HashSet<usize>,
}

impl Given {
    /// Those rows that stand, as an insert sends them.
    fn finish(self, table: &TargetTable, sources: &[Source]) -> Result<TargetRows, ArrowError> {
        let stands = |(row, origin): &(u32, &u32)| {
            !self.unfit.contains(&(*row as usize)) && sources[**origin as usize].stop.is_none()
        };
        let (kept, origin): (Vec<u32>, Vec<u32>) =
            (0_u32..).zip(&self.origin).filter(stands).map(|(row, origin)| (row, *origin)).unzip();
        let rows = kept.len();
        let kept = UInt32Array::from(kept);
        let live: Vec<ArrayRef> =
            self.columns.iter().map(|column| take(column, &kept, None)).collect::<Result<_, _>>()?;
        let schema = table.insert_schema();
        let hidden = |name: &str| -> Result<ArrayRef, ArrowError> {
            Ok(new_null_array(schema.field_with_name(name)?.data_type(), rows))
        };
        let live_and_dead = LiveAndDead {
            dead: &vec![None; live.len()],
            live: &live,
            live_rows: rows,
            dead_rows: 0,
            lsns: hidden(LSN)?,
            times: hidden(TS)?,
        };
        let inserted = insert_rows(&live_and_dead, &schema, Version::new(Term(0), Epoch(0)))?;
        let shown: Vec<usize> = (0..live.len()).collect();
        Ok(TargetRows { origin, rows: inserted.project(&shown)? })
    }
}

/// Source rows that gave two rows with one key.
fn doubled(target: &Target, origin: &[u32], columns: &[ArrayRef]) -> Result<HashSet<u32>, ArrowError> {
    let is_key = |(column, _): &(&TargetColumn, &ArrayRef)| target.key.contains(&column.name);
    let key: Vec<ArrayRef> =
        target.columns.iter().zip(columns).filter(is_key).map(|(_, array)| Arc::clone(array)).collect();
    let fields = key.iter().map(|array| SortField::new(array.data_type().clone())).collect();
    let keys = RowConverter::new(fields)?.convert_columns(&key)?;
    let mut seen = HashSet::with_capacity(origin.len());
    let twice = origin.iter().zip(&keys).filter(|(row, key)| !seen.insert((**row, key.owned())));
    Ok(twice.map(|(row, _)| *row).collect())
}
