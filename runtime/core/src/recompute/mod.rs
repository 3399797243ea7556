//! What a transform makes of the source tables, computed from nothing but them.
//!
//! Owns the definition that the star is held against: the fold of each table,
//! joined row by row, through the transform; where versions are kept, every row
//! that a key had, by commit time. It shares `fold`, `reading` and `star` with the
//! engines, and none of what makes them incremental (state, indexes, dependents,
//! outputs, claims, timelines), so that a fault there shows.
//!
//! Does not own where events come from, running modules, or the comparison.
//!
//! Invariant: the result depends on what the source was at each commit, not on the
//! order in which events came.

mod changes;
mod evaluated;
mod given;
mod history;
mod join;
mod stops;
mod tables;
pub mod trace;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{ArrayRef, RecordBatch};
use arrow::error::ArrowError;

pub use self::changes::{Changes, changes};
use self::evaluated::{Evaluated, SourceAt};
use self::given::Given;
pub use self::history::TableHistory;
use self::stops::Stops;
pub use self::tables::{RowPlace, TableRows};
pub use self::versions::Versions;
use crate::dead_letter::Stage;
use crate::engine::stateful::Applied;
use crate::fold::key::shown;
use crate::reading::ReadError;
use crate::spec::{BEFORE_PREFIX, Spec, TargetKind};
use crate::star::TargetTable;
use crate::table::SourceTable;

/// Source keys of one page: large enough that a call costs nothing.
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
    /// It waits for the row that the lookup of this name finds, or for a version in
    /// the dimension of this name.
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

/// What a transform is computed from.
#[derive(Debug, Default)]
pub struct Tables {
    /// The source table and those that are looked up; one that is missing has no
    /// rows.
    pub rows: BTreeMap<SourceTable, TableRows>,
    /// What happened to the source table's keys, where [`keeps_versions`] holds.
    pub history: TableHistory,
}

/// A source key, its row and what it looked up.
#[derive(Clone, Debug)]
pub struct Source {
    /// The key, by which its row is found.
    pub key: Box<[u8]>,
    /// Where its row stands in its table; `None`: it has only been there.
    pub place: Option<RowPlace>,
    /// For each lookup the row that it found; nothing without a row.
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
    /// For each row the position of its source key in the page, or of a change in the
    /// batch.
    pub origin: Vec<u32>,
    /// The target's columns as an insert sends them, without the hidden ones.
    pub rows: RecordBatch,
    /// The same as [`DataType::arrow`](crate::data_type::DataType::arrow) has them.
    columns: Vec<ArrayRef>,
}

/// Some source keys, in their order, and their star rows.
#[derive(Clone, Debug)]
pub struct Page {
    /// The source keys.
    pub sources: Vec<Source>,
    /// By target.
    pub targets: Vec<TargetRows>,
}

/// One transform over tables.
pub struct Recomputation<'a> {
    spec: &'a Spec,
    targets: Vec<TargetTable>,
    tables: &'a Tables,
    versions: &'a Versions,
    call: &'a Call<'a>,
    /// The source keys in the order of the primary key: of several that give rows
    /// under one star key, the first one's stands.
    keys: Vec<Box<[u8]>>,
    next: usize,
}

/// Why rows, history and changes do not say what the targets of `spec` are to hold;
/// `None` if they do. A change has its before-image.
#[must_use]
pub fn needs_more_than_rows(spec: &Spec) -> Option<&'static str> {
    let reads_before = spec.columns.iter().any(|column| column.name.starts_with(BEFORE_PREFIX));
    (reads_before && !spec.keeps_changes())
        .then_some("its transform reads before-images, which a row does not have")
}

/// Is every row evaluated that a source key ever had?
#[must_use]
pub fn keeps_versions(spec: &Spec) -> bool {
    spec.targets.iter().any(|target| target.kind == TargetKind::Scd2)
}

/// The dimensions that targets of `spec` refer to versions of.
pub fn dimensions(spec: &Spec) -> impl Iterator<Item = &str> {
    spec.targets.iter().flat_map(|target| &target.as_of).map(|reference| reference.dimension.as_str())
}

impl<'a> Recomputation<'a> {
    /// `versions` has those of the dimensions that `spec` refers to.
    #[must_use]
    pub fn new(spec: &'a Spec, tables: &'a Tables, versions: &'a Versions, call: &'a Call<'a>) -> Self {
        let source = tables.rows.get(&spec.source);
        let keys: BTreeSet<&[u8]> =
            source.into_iter().flat_map(TableRows::keys).chain(tables.history.keys()).collect();
        let mut keys: Vec<Box<[u8]>> = keys.into_iter().map(Box::from).collect();
        if let Some(source) = source {
            keys.sort_by_cached_key(|key| source.order().ranked(key).into_owned());
        }
        Self {
            spec,
            targets: spec.targets.iter().map(|target| TargetTable::new(spec, target, 0)).collect(),
            tables,
            versions,
            call,
            keys,
            next: 0,
        }
    }

    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// If a column cannot be read, or the transform stops.
    pub fn next_page(&mut self) -> Result<Option<Page>, RecomputeError> {
        let rest = &self.keys[self.next..];
        let keys = rest[..rest.len().min(PAGE_ROWS)].to_vec();
        self.next += keys.len();
        if keys.is_empty() {
            return Ok(None);
        }
        let mut stops = Stops::new(keys.len());
        let mut current = self.current(&keys, &mut stops)?;
        let past = self.past(&keys, &mut stops)?;
        let mut given = Vec::with_capacity(self.targets.len());
        for (number, target) in self.spec.targets.iter().enumerate() {
            given.push(match target.kind {
                // Those are not of rows: `changes`.
                TargetKind::Append => Given::nothing(target),
                _ if needs_more_than_rows(self.spec).is_some() => Given::nothing(target),
                TargetKind::Scd2 => past.given(number, target)?,
                TargetKind::Latest => {
                    let mut given = current.given(number, target)?;
                    given.refer(target, self.versions, &mut current, &mut stops)?;
                    given
                }
            });
        }
        let targets = self.finish(given, (&current, &past), &mut stops)?;
        let sources = sources(keys, current, stops, &targets);
        Ok(Some(Page { sources, targets }))
    }

    /// Adds the versions on a page to `versions`, but for those of source keys of
    /// which `counts` does not hold.
    ///
    /// # Errors
    /// If Arrow cannot compare their keys.
    pub fn add_versions(
        &self,
        page: &Page,
        counts: impl Fn(&Source) -> bool,
        versions: &mut Versions,
    ) -> Result<(), RecomputeError> {
        for (target, rows) in self.spec.targets.iter().zip(&page.targets) {
            if target.kind == TargetKind::Scd2 {
                let counts = |row: usize| counts(&page.sources[rows.origin[row] as usize]);
                versions.add(target, &rows.columns, counts)?;
            }
        }
        Ok(())
    }

    /// The rows that keys have now.
    fn current(&self, keys: &[Box<[u8]>], stops: &mut Stops) -> Result<Evaluated, RecomputeError> {
        let Some(rows) = self.tables.rows.get(&self.spec.source) else { return Ok(Evaluated::default()) };
        let at = |(source, key): (u32, &[u8])| Some(SourceAt { source, at_us: 0, place: rows.find(key)? });
        let of = (0..).zip(keys.iter().map(AsRef::as_ref)).filter_map(at).collect();
        if self.spec.targets.iter().all(|target| target.kind == TargetKind::Scd2) {
            // What it looks up is told, and nothing made of it.
            return Evaluated::looked_up(self.spec, &self.tables.rows, rows, of);
        }
        Evaluated::of(self.spec, &self.tables.rows, rows, of, self.call, stops)
    }

    /// The rows that keys had at any time, where versions are kept.
    fn past(&self, keys: &[Box<[u8]>], stops: &mut Stops) -> Result<Evaluated, RecomputeError> {
        if !keeps_versions(self.spec) {
            return Ok(Evaluated::default());
        }
        let history = &self.tables.history;
        let moments = |(source, key): (u32, &[u8])| {
            history.moments(key).iter().map(move |moment| (source, *moment)).collect::<Vec<_>>()
        };
        let moments: Vec<_> = (0..).zip(keys.iter().map(AsRef::as_ref)).flat_map(moments).collect();
        let at = |(source, moment): &(u32, history::Moment)| {
            Some(SourceAt { source: *source, at_us: moment.at_us, place: moment.row? })
        };
        let of = moments.iter().filter_map(at).collect();
        let mut past = Evaluated::of(self.spec, &self.tables.rows, history.rows(), of, self.call, stops)?;
        let gone = moments.iter().filter(|(_, moment)| moment.row.is_none());
        past.gone = gone.map(|(source, moment)| (*source, moment.at_us)).collect();
        Ok(past)
    }

    /// The star rows that stand, of all targets.
    fn finish(
        &self,
        given: Vec<Given>,
        (current, past): (&Evaluated, &Evaluated),
        stops: &mut Stops,
    ) -> Result<Vec<TargetRows>, ArrowError> {
        let mut judged = Vec::with_capacity(given.len());
        for ((given, target), table) in given.into_iter().zip(&self.spec.targets).zip(&self.targets) {
            let rows = match target.kind {
                TargetKind::Scd2 => given.versions(target, past, stops)?,
                TargetKind::Latest | TargetKind::Append => given.by_source(current)?,
            };
            rows.judge(target, table, stops)?;
            judged.push(rows);
        }
        // A source key that failed has no row in any target.
        judged.into_iter().zip(&self.targets).map(|(rows, table)| rows.finish(table, stops)).collect()
    }
}

/// What is told of the source keys of a page.
fn sources(
    keys: Vec<Box<[u8]>>,
    mut current: Evaluated,
    stops: Stops,
    targets: &[TargetRows],
) -> Vec<Source> {
    let stands: BTreeSet<u32> = targets.iter().flat_map(|target| &target.origin).copied().collect();
    let reasons = stops.into_reasons(|source| stands.contains(&source));
    let source = |(key, stop)| Source { key, place: None, found: Vec::new(), stop };
    let mut sources: Vec<Source> = keys.into_iter().zip(reasons).map(source).collect();
    for (at, found) in current.of.iter().zip(std::mem::take(&mut current.found)) {
        let source = &mut sources[at.source as usize];
        (source.place, source.found) = (Some(at.place), found);
    }
    sources
}
