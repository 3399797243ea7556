//! `dabi verify`: does the star equal its transforms over the lake?
//!
//! Owns the cut at which both sides are read, and what is said of a star that
//! moves on meanwhile.
//!
//! The cut: the last epoch that `_dabi_epochs` has names a position, a version
//! and the modules. The star is read at once; then the lake, up to the position.
//! A row of a higher version is of an epoch that is not stored whole yet: its key
//! is looked at again at the next cut. So is a key that differs, because its row
//! may just have been deleted, and so is everything while work is open: only what
//! differs at two cuts, without such an epoch, or at every cut, is told.
//!
//! Memory: the source tables of one transform, with every event of a table whose
//! versions are kept; the keys of the versions that targets refer to; and about 80
//! bytes a star row.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dabi_core::calendar;
use dabi_core::position::Position;
use dabi_core::recompute::{Stop, Tables, Versions, needs_more_than_rows};
use dabi_core::star::TargetTable;
use dabi_core::version::{Epoch, Term, Version};
use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::AuditError;
use super::comparison::{KeyHash, Outcome, Side, compare};
use super::computed::{OpenLetters, dimension_modules, each_page, versions_of};
use super::tables::{EventsAt, wait_for_lake};
use crate::lake::Lake;
use crate::pipeline::{Loaded, on_cpu};
use crate::transform::Module;
use crate::warehouse::{EpochRecord, Warehouse};

/// Cuts that are tried before a key is said to move too fast.
const CUTS_MAX: u32 = 6;
/// Between two of them.
const PAUSE: Duration = Duration::from_millis(500);

/// What to verify.
pub struct Verify {
    /// Names the pipeline in `_dabi_epochs`.
    pub pipeline: String,
    /// What is true.
    pub lake: Lake,
    /// What is held against it.
    pub warehouse: Warehouse,
    /// The live modules.
    pub loaded: Vec<Loaded>,
    /// The days of `dabi.calendar`.
    pub calendar: calendar::Span,
    /// The target to verify; `None`: all of them.
    pub target: Option<String>,
    /// Differences that are shown of each target.
    pub shown_max: usize,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub struct Verified {
    /// What it says in one word.
    pub verdict: Verdict,
    /// Term of the epoch at which the star was read last.
    pub term: Term,
    /// The epoch.
    pub epoch: Epoch,
    /// Its position: everything below is in the star.
    pub position: Position,
    /// Work for which the star is not claimed to be right.
    pub open_work: Vec<String>,
    /// By target.
    pub targets: Vec<TargetReport>,
    /// Why there was nothing to compare, and what to do.
    pub nothing_compared: Option<String>,
}

/// The exit code as a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every target that can be verified equals its transform over the lake.
    Equal,
    /// Some row differs.
    Different,
    /// Some target could not be held against the lake, or none was.
    Unknown,
}

/// What is said of one target.
#[derive(Debug, Default, Serialize)]
pub struct TargetReport {
    /// The target.
    pub target: String,
    /// Its transform.
    pub transform: String,
    /// SHA-256 of the module that computed the rows.
    pub module: String,
    /// Rows in the star.
    pub rows: u64,
    /// Rows that the lake says there are.
    pub expected: u64,
    /// Keys that differ.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Difference>,
    /// Keys that changed at every cut.
    pub moving: u64,
    /// Source rows without star rows, because they are open dead letters.
    pub dead_letters: u64,
    /// Source rows without star rows, because they wait for a row that they look up.
    pub held: u64,
    /// Why it was not verified, where it can never be.
    pub exempt: Option<String>,
    /// Why it could not be verified this time.
    pub unknown: Option<String>,
}

/// A key whose rows are not the same.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// Its values, with commas between them, as `dabi explain` takes them.
    pub key: String,
    /// The row that the lake and the module give; `None`: none.
    pub expected: Option<Value>,
    /// The row in ClickHouse; `None`: none.
    pub found: Option<Value>,
}

/// A target on its way to a report.
struct Pending {
    loaded: usize,
    number: usize,
    report: TargetReport,
    /// Keys to look at, once all were.
    keys: Option<BTreeSet<KeyHash>>,
    differing: BTreeSet<KeyHash>,
    /// The first cut.
    began: Version,
    /// Did rows of a later epoch stand at the last one?
    is_moving: bool,
    is_settled: bool,
}

impl Verify {
    /// Compares.
    ///
    /// # Errors
    /// If lake or star cannot be read, or a target is asked for that there is not.
    pub async fn run(self) -> Result<Verified, AuditError> {
        let mut record = self.record().await?;
        let mut pending = self.pending(&record)?;
        for cut in 0..CUTS_MAX {
            if pending.iter().all(|target| target.is_settled) {
                break;
            }
            if cut > 0 {
                tokio::time::sleep(PAUSE).await;
                record = self.record().await?;
            }
            self.compare_at(&record, &mut pending).await?;
        }
        let targets = pending.into_iter().map(|target| target.told(&record));
        let targets: Vec<TargetReport> = targets.collect();
        let nothing_compared = nothing_compared(&targets);
        let is_unknown = nothing_compared.is_some() || targets.iter().any(|target| target.unknown.is_some());
        let verdict = if is_unknown {
            Verdict::Unknown
        } else if targets.iter().all(|target| target.differing == 0) {
            Verdict::Equal
        } else if record.open_work.is_empty() {
            Verdict::Different
        } else {
            Verdict::Unknown
        };
        let EpochRecord { term, epoch, position, open_work, .. } = record;
        Ok(Verified { verdict, term, epoch, position, open_work, targets, nothing_compared })
    }

    async fn record(&self) -> Result<EpochRecord, AuditError> {
        let record = self.warehouse.last_epoch(&self.pipeline, &CancellationToken::new()).await?;
        record.ok_or_else(|| AuditError::UnknownPipeline(self.pipeline.clone()))
    }

    /// The targets that are asked for.
    fn pending(&self, record: &EpochRecord) -> Result<Vec<Pending>, AuditError> {
        let mut pending = Vec::new();
        let mut known = Vec::new();
        for (loaded, Loaded { module, .. }) in self.loaded.iter().enumerate() {
            let spec = module.spec();
            for (number, target) in spec.targets.iter().enumerate() {
                known.push(target.table.clone());
                if self.target.as_ref().is_some_and(|asked| *asked != target.table) {
                    continue;
                }
                let exempt = needs_more_than_rows(spec, number).map(str::to_owned);
                let unknown = if exempt.is_none() { self.other_module(record, module) } else { None };
                let is_settled = exempt.is_some() || unknown.is_some();
                let report = TargetReport {
                    target: target.table.clone(),
                    transform: spec.name.clone(),
                    module: module.hash().to_string(),
                    exempt,
                    unknown,
                    ..TargetReport::default()
                };
                pending.push(Pending {
                    loaded,
                    number,
                    report,
                    keys: None,
                    differing: BTreeSet::new(),
                    began: record.version(),
                    is_moving: false,
                    is_settled,
                });
            }
        }
        match &self.target {
            Some(name) if pending.is_empty() => Err(AuditError::UnknownTarget { name: name.clone(), known }),
            _ => Ok(pending),
        }
    }

    async fn compare_at(&self, record: &EpochRecord, pending: &mut [Pending]) -> Result<(), AuditError> {
        let letters = self.warehouse.open_letter_keys().await?;
        // All of the star first: the lake's part is not going to change.
        let mut found = Vec::new();
        for target in pending.iter().filter(|target| !target.is_settled) {
            found.push(self.found(target).await?);
        }
        wait_for_lake(&self.lake, &record.position).await?;
        let events = EventsAt { lake: &self.lake, position: &record.position, calendar: self.calendar };
        let versions = Arc::new(self.versions(events, pending, &letters).await?);
        let mut found = found.into_iter();
        for (number, Loaded { module, .. }) in self.loaded.iter().enumerate() {
            let own: Vec<&mut Pending> =
                pending.iter_mut().filter(|target| target.loaded == number && !target.is_settled).collect();
            if own.is_empty() {
                continue;
            }
            let tables = events.tables(module.spec()).await?;
            let open = letters.get(&module.spec().name).cloned().unwrap_or_default();
            let mut expected = Vec::with_capacity(own.len());
            for target in &own {
                let table = TargetTable::new(module.spec(), &module.spec().targets[target.number], 0);
                expected.push((target.number, side(&table, self.wanted(target))?));
            }
            let (of_module, versions) = (module.clone(), Arc::clone(&versions));
            let computed = on_cpu(move || recompute(&of_module, &tables, &versions, &open, expected)).await?;
            for (target, side) in own.into_iter().zip(computed.sides) {
                let found = found.next().expect("one for each target that is not settled");
                target.report.dead_letters = computed.letters;
                target.report.held = computed.held;
                let (found, highest) = found;
                target.is_moving = highest > record.version() || !record.open_work.is_empty();
                target.take(&side, &found, record.version(), self.shown_max);
            }
        }
        Ok(())
    }

    /// The versions that targets which are not settled refer to.
    async fn versions(
        &self,
        events: EventsAt<'_>,
        pending: &[Pending],
        letters: &OpenLetters,
    ) -> Result<Versions, AuditError> {
        let asked = pending.iter().filter(|target| !target.is_settled);
        let specs = asked.map(|target| self.loaded[target.loaded].module.spec());
        versions_of(&dimension_modules(&self.loaded, specs), events, letters).await
    }

    /// Why the star is not of this module and of those that fill what it refers to.
    fn other_module(&self, record: &EpochRecord, module: &Module) -> Option<String> {
        let of_dimension = |dimension: &Module| {
            let reason = other_module(record, dimension)?;
            Some(format!("it refers to versions of {}: {reason}", dimension.spec().name))
        };
        let dimensions = dimension_modules(&self.loaded, std::iter::once(module.spec()));
        other_module(record, module).or_else(|| dimensions.into_iter().find_map(of_dimension))
    }

    /// The rows that stand, and the highest version after they were read.
    async fn found(&self, target: &Pending) -> Result<(Side, Version), AuditError> {
        let spec = self.loaded[target.loaded].module.spec();
        let declared = &spec.targets[target.number];
        let generations = self.warehouse.generations(&declared.table, &CancellationToken::new()).await?;
        let table = TargetTable::new(spec, declared, generations.shown.unwrap_or(1));
        let mut side = side(&table, self.wanted(target))?;
        let mut rows = std::pin::pin!(self.warehouse.stored_rows(&table, "1")?);
        while let Some(stored) = rows.try_next().await? {
            side.find(&stored).map_err(|source| compare_error(&table, source))?;
        }
        Ok((side, self.warehouse.highest_version(&table).await?))
    }

    /// The keys of which rows are kept for showing.
    fn wanted(&self, target: &Pending) -> BTreeSet<KeyHash> {
        target.differing.iter().copied().take(self.shown_max).collect()
    }
}

impl Pending {
    /// Takes the outcome at one more cut.
    fn take(&mut self, expected: &Side, found: &Side, cut: Version, shown_max: usize) {
        let is_first = self.keys.is_none();
        let Outcome { differing, ahead } = compare(expected, found, self.keys.as_ref(), cut);
        (self.report.rows, self.report.expected) = (found.rows(), expected.rows());
        let again = differing.union(&ahead).copied().collect::<BTreeSet<_>>();
        let is_certain = !is_first && !self.is_moving && differing == self.differing;
        self.is_settled = again.is_empty() || ahead.is_empty() && is_certain;
        self.report.differing = differing.len() as u64;
        self.report.moving = ahead.len() as u64;
        self.report.differences = differing
            .iter()
            .filter_map(|key| {
                let (expected, found) = (expected.shown.get(key), found.shown.get(key));
                let shown = expected.or(found)?;
                Some(Difference {
                    key: shown.key.clone(),
                    expected: expected.map(|shown| shown.row.clone()),
                    found: found.map(|shown| shown.row.clone()),
                })
            })
            .take(shown_max)
            .collect();
        self.report.differences.sort_by(|a, b| a.key.len().cmp(&b.key.len()).then(a.key.cmp(&b.key)));
        self.differing = differing;
        self.keys = Some(again);
    }

    /// `last` is the last cut.
    fn told(self, last: &EpochRecord) -> TargetReport {
        let mut report = self.report;
        if self.is_settled {
            return report;
        }
        if report.differing == 0 {
            let keys = report.moving;
            report.unknown = Some(format!(
                "{keys} keys changed whenever they were compared; try again when there is less traffic"
            ));
        } else if self.is_moving && self.began == last.version() && last.open_work.is_empty() {
            report.unknown = Some(
                "an epoch is stored in part and does not come to its end: is dabi waiting for ClickHouse?"
                    .to_owned(),
            );
        }
        report
    }
}

/// Why the star is not of this module.
fn other_module(record: &EpochRecord, module: &Module) -> Option<String> {
    let own = module.hash().to_string();
    let short = |hash: &str| hash.chars().take(7).collect::<String>();
    match record.modules.get(&module.spec().name) {
        Some(stored) if *stored == own => None,
        Some(stored) => Some(format!(
            "its rows are of module {}, and what is in the transforms' folder is {}; start dabi to take it up",
            short(stored),
            short(&own)
        )),
        None => Some(
            "not all of its rows are of one module: it is new, stopped, or was changed while dabi ran; /readyz says \
             which, and the next start brings it up"
                .to_owned(),
        ),
    }
}

/// Why a comparison of nothing says nothing.
fn nothing_compared(targets: &[TargetReport]) -> Option<String> {
    if targets.iter().any(|target| target.exempt.is_none()) {
        return None;
    }
    let remedy = if targets.is_empty() {
        "there is no transform; check [transforms] dir"
    } else {
        "every target that was asked for is left out, for the reason that it has; ask for others"
    };
    Some(format!("nothing was compared: {remedy}"))
}

fn side(table: &TargetTable, wanted: BTreeSet<KeyHash>) -> Result<Side, AuditError> {
    Side::new(table, wanted).map_err(|source| compare_error(table, source))
}

fn compare_error(table: &TargetTable, source: arrow::error::ArrowError) -> AuditError {
    AuditError::Compare { table: table.view_name().to_owned(), source }
}

/// What a module makes of its tables.
struct Computed {
    sides: Vec<Side>,
    letters: u64,
    held: u64,
}

/// Fills the side of each target, given by its number. Source rows with an open
/// dead letter have no star rows.
fn recompute(
    module: &Module,
    tables: &Tables,
    versions: &Versions,
    open: &BTreeSet<String>,
    mut sides: Vec<(usize, Side)>,
) -> Result<Computed, AuditError> {
    let (mut letters, mut held) = (0, 0);
    each_page(module, tables, versions, |_, page| {
        let is_open: Vec<bool> = page
            .sources
            .iter()
            .map(|source| !open.is_empty() && open.contains(&source.shown_key()))
            .collect();
        letters += is_open.iter().filter(|is_open| **is_open).count() as u64;
        held +=
            page.sources.iter().filter(|source| matches!(source.stop, Some(Stop::Held(_)))).count() as u64;
        for (number, side) in &mut sides {
            let target = &page.targets[*number];
            side.expect(&target.rows, |row| !is_open[target.origin[row] as usize])?;
        }
        Ok(())
    })?;
    Ok(Computed { sides: sides.into_iter().map(|(_, side)| side).collect(), letters, held })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_of_nothing_is_told() {
        let exempt = || TargetReport { exempt: Some("it keeps changes".into()), ..TargetReport::default() };
        let check = |targets: &[TargetReport], expected: Option<&str>| {
            let told = nothing_compared(targets);
            assert_eq!(told.is_some(), expected.is_some(), "{told:?}");
            assert!(told.unwrap_or_default().contains(expected.unwrap_or_default()));
        };
        check(&[], Some("there is no transform"));
        check(&[exempt()], Some("ask for others"));
        check(&[exempt(), TargetReport::default()], None);
    }
}
