//! Modules over the lake's tables, page by page.
//!
//! Owns which source rows count: one with an open dead letter has no star rows,
//! and so no versions for others to refer to.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::ArrayRef;
use dabi_core::recompute::{Page, Recomputation, RecomputeError, Stop, Tables, Versions};
use dabi_core::spec::Spec;

use super::AuditError;
use super::comparison::Comparison;
use super::tables::EventsAt;
use crate::pipeline::{Loaded, call_module, on_cpu};
use crate::transform::{Module, Workers};

/// Keys of open dead letters, by transform.
pub(super) type OpenLetters = BTreeMap<String, BTreeSet<String>>;

/// Gives `each` what `module` makes of its tables.
pub(super) fn each_page(
    module: &Module,
    tables: &Tables,
    versions: &Versions,
    mut each: impl FnMut(&Recomputation<'_>, Page) -> Result<(), RecomputeError>,
) -> Result<(), AuditError> {
    let spec = module.spec();
    let failed = |source: RecomputeError| AuditError::Recompute { transform: spec.name.clone(), source };
    let workers = Workers::new(module.clone());
    let call = |rows: usize, columns: &[ArrayRef]| call_module(&workers, rows, columns);
    let mut recomputation = Recomputation::new(spec, tables, versions, &call);
    while let Some(page) = recomputation.next_page().map_err(failed)? {
        each(&recomputation, page).map_err(failed)?;
    }
    Ok(())
}

/// The modules that fill the dimensions of which targets of `specs` refer to
/// versions, each once.
pub(super) fn dimension_modules<'a>(
    loaded: &'a [Loaded],
    specs: impl Iterator<Item = &'a Spec>,
) -> Vec<&'a Module> {
    let names: BTreeSet<&str> = specs.flat_map(dabi_core::recompute::dimensions).collect();
    let fills =
        |module: &&Module| module.spec().targets.iter().any(|target| names.contains(target.table.as_str()));
    loaded.iter().map(|loaded| &loaded.module).filter(fills).collect()
}

/// The versions that `modules` make.
pub(super) async fn versions_of(
    modules: &[&Module],
    events: EventsAt<'_>,
    letters: &OpenLetters,
) -> Result<Versions, AuditError> {
    let mut all = Versions::default();
    for module in modules {
        let tables = events.tables(module.spec()).await?;
        let open = letters.get(&module.spec().name).cloned().unwrap_or_default();
        let module = (*module).clone();
        all = on_cpu(move || {
            // A dimension's versions do not hang on what its facts refer to.
            each_page(&module, &tables, &Versions::default(), |recomputation, page| {
                let counts = |source: &dabi_core::recompute::Source| !open.contains(&source.shown_key());
                recomputation.add_versions(&page, counts, &mut all)
            })?;
            Ok::<_, AuditError>(all)
        })
        .await?;
    }
    Ok(all)
}

/// What modules make of the lake, held against the star.
pub(super) struct Computed {
    pub(super) comparisons: Vec<Comparison>,
    /// Source rows, or changes, with an open dead letter.
    pub(super) letters: u64,
    /// Source rows that wait.
    pub(super) held: u64,
}

/// Tells the comparison of each target, given by its number, which rows must stand.
/// Source rows with an open dead letter have no star rows.
pub(super) fn expect_rows(
    module: &Module,
    tables: &Tables,
    versions: &Versions,
    open: &BTreeSet<String>,
    mut comparisons: Vec<(usize, Comparison)>,
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
        for (number, comparison) in &mut comparisons {
            let target = &page.targets[*number];
            comparison.expect(&target.rows, |row| !is_open[target.origin[row] as usize])?;
        }
        Ok(())
    })?;
    let comparisons = comparisons.into_iter().map(|(_, comparison)| comparison).collect();
    Ok(Computed { comparisons, letters, held })
}
