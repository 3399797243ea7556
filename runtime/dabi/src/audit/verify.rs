//! `dabi verify`: does the star equal its transforms over the lake?
//!
//! Owns the cut at which both sides are read, and what is said of a star that
//! moves on meanwhile.
//!
//! The cut, of each transform its own: the last epoch that `_dabi_epochs` has names
//! a position, a version and the modules. The star is read at once; then the lake, up
//! to the position. A row of a higher version is of an epoch that is not stored whole
//! yet: its key is looked at again at the next cut. So is a key that differs, because
//! its row may just have been deleted, and so is everything while work is open: only
//! what differs at two cuts, without such an epoch, or at every cut, is told.
//!
//! Memory, of one transform after the other: its source tables, with every event of
//! one whose versions are kept (of one whose changes are kept nothing); the keys of
//! the versions that its targets refer to; and of its star rows a hash each
//! (`comparison`).

use std::collections::BTreeSet;
use std::time::Duration;

use dabi_core::calendar;
use dabi_core::position::Position;
use dabi_core::recompute::needs_more_than_rows;
use dabi_core::star::TargetTable;
use dabi_core::version::{Epoch, Term, Version};
use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::AuditError;
use super::changes::expect_changes;
use super::comparison::{Comparison, KeyHash, Outcome, Shown, Stands};
use super::computed::{dimension_modules, expect_rows, versions_of};
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
            }
            for (number, Loaded { module, .. }) in self.loaded.iter().enumerate() {
                let is_own = |target: &&mut Pending| target.loaded == number && !target.is_settled;
                let own: Vec<&mut Pending> = pending.iter_mut().filter(is_own).collect();
                if !own.is_empty() {
                    record = self.record().await?;
                    self.compare(module, &record, own).await?;
                }
            }
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
                let exempt = needs_more_than_rows(spec).map(str::to_owned);
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

    /// Holds the targets `own` of one module against the star at `record`.
    async fn compare(
        &self,
        module: &Module,
        record: &EpochRecord,
        own: Vec<&mut Pending>,
    ) -> Result<(), AuditError> {
        let spec = module.spec();
        let letters = self.warehouse.open_letter_keys().await?;
        // The star first: the lake's part is not going to change.
        let mut comparisons = Vec::with_capacity(own.len());
        let mut highest = Vec::with_capacity(own.len());
        for target in &own {
            let (comparison, version) = self.found(module, target, record.version()).await?;
            comparisons.push((target.number, comparison));
            highest.push(version);
        }
        wait_for_lake(&self.lake, &record.position).await?;
        let events = EventsAt { lake: &self.lake, position: &record.position, calendar: self.calendar };
        let open = letters.get(&spec.name).cloned().unwrap_or_default();
        let computed = if spec.keeps_changes() {
            expect_changes(module, events, open, comparisons).await?
        } else {
            let dimensions = dimension_modules(&self.loaded, std::iter::once(spec));
            let versions = versions_of(&dimensions, events, &letters).await?;
            let (module, tables) = (module.clone(), events.tables(spec).await?);
            on_cpu(move || expect_rows(&module, &tables, &versions, &open, comparisons)).await?
        };
        for ((target, comparison), highest) in own.into_iter().zip(&computed.comparisons).zip(highest) {
            target.report.dead_letters = computed.letters;
            target.report.held = computed.held;
            target.is_moving = highest > record.version() || !record.open_work.is_empty();
            target.take(comparison, self.shown_max);
        }
        Ok(())
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
    async fn found(
        &self,
        module: &Module,
        target: &Pending,
        cut: Version,
    ) -> Result<(Comparison, Version), AuditError> {
        let spec = module.spec();
        let declared = &spec.targets[target.number];
        let generations = self.warehouse.generations(&declared.table, &CancellationToken::new()).await?;
        let table = TargetTable::new(spec, declared, generations.shown.unwrap_or(1));
        let stands = if spec.keeps_changes() { Stands::Last } else { Stands::First };
        let failed = |source| compare_error(&table, source);
        let mut comparison = Comparison::new(&table, cut, stands, self.wanted(target)).map_err(failed)?;
        let mut rows = std::pin::pin!(self.warehouse.stored_rows(&table, "1")?);
        while let Some(stored) = rows.try_next().await? {
            comparison.find(&stored).map_err(failed)?;
        }
        Ok((comparison, self.warehouse.highest_version(&table, &CancellationToken::new()).await?))
    }

    /// The keys of which rows are kept for showing.
    fn wanted(&self, target: &Pending) -> BTreeSet<KeyHash> {
        target.differing.iter().copied().take(self.shown_max).collect()
    }
}

impl Pending {
    /// Takes the outcome at one more cut.
    fn take(&mut self, comparison: &Comparison, shown_max: usize) {
        let is_first = self.keys.is_none();
        let Outcome { differing, ahead } = comparison.outcome(self.keys.as_ref());
        (self.report.rows, self.report.expected) = comparison.rows();
        let again = differing.union(&ahead).copied().collect::<BTreeSet<_>>();
        let is_certain = !is_first && !self.is_moving && differing == self.differing;
        self.is_settled = again.is_empty() || ahead.is_empty() && is_certain;
        self.report.differing = differing.len() as u64;
        self.report.moving = ahead.len() as u64;
        let shown = differing.iter().filter_map(|key| comparison.shown.get(key)).take(shown_max);
        let difference = |shown: &Shown| {
            let Shown { key, expected, found } = shown.clone();
            Difference { key, expected, found }
        };
        self.report.differences = shown.map(difference).collect();
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

fn compare_error(table: &TargetTable, source: arrow::error::ArrowError) -> AuditError {
    AuditError::Compare { table: table.view_name().to_owned(), source }
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
