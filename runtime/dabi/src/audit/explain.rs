//! `dabi explain`: where a star row comes from.
//!
//! Owns finding the source rows of a star key, and the row's history: what decides
//! it, events and snapshots that were taken again, in the order in which it was
//! committed, and the row after each. Does not own the definition of a row
//! (`dabi_core::recompute`), nor changes that are kept (`explain_changes`).
//!
//! Everything but the row that stands in ClickHouse comes from the lake and the
//! module, so it can be asked while dabi runs and while it does not.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray as _};
use arrow::compute::cast;
use arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
use dabi_core::calendar;
use dabi_core::change::ChangeBatch;
use dabi_core::fold::Fold;
use dabi_core::position::Position;
use dabi_core::recompute::trace::{Keys, keys_with, passed_key};
use dabi_core::recompute::{
    Fault, Page, RecomputeError, RowPlace, Source, Stop, TableHistory, TableRows, Tables, Versions,
    keeps_versions,
};
use dabi_core::row_json::row_json;
use dabi_core::spec::{Spec, TargetKind};
use dabi_core::star::TargetTable;
use dabi_core::table::SourceTable;
use dabi_core::version::Version;
use futures::TryStreamExt as _;
use serde::Serialize;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::AuditError;
use super::computed::{dimension_modules, each_page, versions_of};
use super::events::{Events, all_events};
use super::explain_changes::{Asked, ChangeRow};
use super::key::StarKey;
use super::steps::{Step, place, steps};
use super::tables::{EventsAt, wait_for_lake};
use crate::lake::Lake;
use crate::pipeline::Loaded;
use crate::transform::Module;
use crate::warehouse::Warehouse;

/// Events after which the row is computed: the latest. Those before count, too,
/// but are not shown.
const EVENTS_MAX: usize = 2_000;

/// What to explain.
pub struct Explain {
    /// Names the pipeline in `_dabi_epochs`.
    pub pipeline: String,
    /// Where events are.
    pub lake: Lake,
    /// Where the row is.
    pub warehouse: Warehouse,
    /// The live modules.
    pub loaded: Vec<Loaded>,
    /// The days of `dabi.calendar`.
    pub calendar: calendar::Span,
    /// The target.
    pub target: String,
    /// The values of its key, with commas between them. Of a target that keeps
    /// versions the last value, when the version begins, may be left out.
    pub key: String,
}

/// A row, and how it came to be.
#[derive(Debug, Serialize)]
pub struct Explained {
    /// The target.
    pub target: String,
    /// Its key.
    pub key: String,
    /// Its transform.
    pub transform: String,
    /// The transform's version, as it declares it.
    pub version: String,
    /// The SDK, and so the language, that the module was made with, if it says so.
    pub sdk: Option<String>,
    /// SHA-256 of the module.
    pub module: String,
    /// Is the star of another module?
    pub star_is_of: Option<String>,
    /// Everything below is told of.
    pub position: Position,
    /// What stands in ClickHouse; of several versions the last.
    pub star: Option<StarRow>,
    /// The versions before that one, oldest first.
    pub older_versions: Vec<StarRow>,
    /// The source rows that give it, or would; the first one's row stands.
    pub sources: Vec<SourceRow>,
    /// Events that are not shown, because there are too many after them.
    pub older_events: u64,
    /// The row after each event that changed it, oldest first; of several versions
    /// the last.
    pub history: Vec<Moment>,
    /// Of a target that keeps changes those of the key, in the order of the log; then
    /// `star`, `sources` and `history` tell nothing.
    pub changes: Option<Vec<ChangeRow>>,
}

/// A row in ClickHouse.
#[derive(Debug, Serialize)]
pub struct StarRow {
    /// `_version`, and what it is made of.
    pub version: u64,
    /// The term.
    pub term: u32,
    /// The epoch.
    pub epoch: u64,
    /// The row.
    pub row: Value,
}

/// Where an event stands, and when it was.
#[derive(Clone, Debug, Serialize)]
pub struct EventPlace {
    /// The source table.
    pub table: String,
    /// Debezium's letter.
    pub op: &'static str,
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Commit time, µs since 1970.
    pub committed_us: Option<i64>,
    /// The same, for people to read.
    pub committed: Option<String>,
    /// Log sequence number.
    pub lsn: Option<i64>,
}

/// A source row.
#[derive(Debug, Serialize)]
pub struct SourceRow {
    /// Its key.
    pub key: String,
    /// Its last event.
    pub event: EventPlace,
    /// The row.
    pub row: Value,
    /// What it looked up.
    pub lookups: Vec<LookedUp>,
    /// Why it gives no star row.
    pub stopped: Option<String>,
}

/// What a lookup found.
#[derive(Debug, Serialize)]
pub struct LookedUp {
    /// The lookup.
    pub name: String,
    /// The table looked up.
    pub table: String,
    /// The row's last event; `None`: there is no such row.
    pub event: Option<EventPlace>,
    /// The row.
    pub row: Option<Value>,
}

/// A snapshot that was taken again.
#[derive(Clone, Debug, Serialize)]
pub struct SnapshotPlace {
    /// The source table.
    pub table: String,
    /// When it was taken, µs since 1970.
    pub taken_us: i64,
    /// The same, for people to read.
    pub taken: Option<String>,
    /// Log sequence number.
    pub lsn: i64,
}

/// What changed a row.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// An event, truncates among them.
    Event(EventPlace),
    /// A snapshot that did not read it, or what it looked up.
    Snapshot(SnapshotPlace),
}

/// The row after something has changed it.
#[derive(Debug, Serialize)]
pub struct Moment {
    /// What it was.
    #[serde(flatten)]
    pub cause: Cause,
    /// The row; `None`: there was none.
    pub row: Option<Value>,
    /// Why there was none, where a source row is there.
    pub stopped: Option<String>,
}

impl Explain {
    /// Explains.
    ///
    /// # Errors
    /// If there is no such target, the key is none of its, or lake or warehouse
    /// cannot be read.
    pub async fn run(self) -> Result<Explained, AuditError> {
        let (module, number) = self.target()?;
        let spec = module.spec();
        let declared = &spec.targets[number];
        let record = self.warehouse.last_epoch(&self.pipeline, &CancellationToken::new()).await?;
        let record = record.ok_or_else(|| AuditError::UnknownPipeline(self.pipeline.clone()))?;
        let generations = self.warehouse.generations(&declared.table, &CancellationToken::new()).await?;
        let table = TargetTable::new(spec, declared, generations.shown.unwrap_or(1));
        let key = StarKey::read(&table, declared.kind, &self.key)?;
        let stored = self.star_rows(&table, &key).await?;
        wait_for_lake(&self.lake, &record.position).await?;
        let at = EventsAt { lake: &self.lake, position: &record.position, calendar: self.calendar };
        let own = module.hash().to_string();
        let star_is_of = record.modules.get(&spec.name).filter(|stored| **stored != own).cloned();
        let mut explained = Explained {
            target: declared.table.clone(),
            key: key.texts.join(","),
            transform: spec.name.clone(),
            version: spec.version.clone(),
            sdk: spec.options.get("sdk").cloned(),
            module: own,
            star_is_of,
            position: record.position.clone(),
            star: None,
            older_versions: Vec::new(),
            sources: Vec::new(),
            older_events: 0,
            history: Vec::new(),
            changes: None,
        };
        if spec.keeps_changes() {
            let star = stored.into_iter().collect();
            let asked = Asked { module: &module, number, key: &key };
            explained.changes = Some(asked.changes(at, star).await?);
            return Ok(explained);
        }
        let mut versions: Vec<StarRow> = stored.into_iter().map(|(_, row)| row).collect();
        explained.star = versions.pop();
        explained.older_versions = versions;
        let letters = self.warehouse.open_letter_keys().await?;
        let dimensions = dimension_modules(&self.loaded, std::iter::once(spec));
        let versions = versions_of(&dimensions, at, &letters).await?;
        let traced = Traced { module: &module, number, table: &table, key: &key, versions: &versions };
        let keys = source_keys(&traced, at).await?;
        let events = all_events(spec, keys, at).await?;
        traced.history(events, &mut explained)?;
        Ok(explained)
    }

    fn target(&self) -> Result<(Module, usize), AuditError> {
        let mut known = Vec::new();
        for Loaded { module, .. } in &self.loaded {
            for (number, target) in module.spec().targets.iter().enumerate() {
                if target.table == self.target {
                    return Ok((module.clone(), number));
                }
                known.push(target.table.clone());
            }
        }
        Err(AuditError::UnknownTarget { name: self.target.clone(), known })
    }

    /// The rows that stand under the key, each with what dabi tells rows of one
    /// declared key apart by, in that order: when a version begins, or the key of a
    /// change.
    async fn star_rows(&self, table: &TargetTable, key: &StarKey) -> Result<Vec<(u64, StarRow)>, AuditError> {
        let mut rows = std::pin::pin!(self.warehouse.stored_row(table, &key.texts)?);
        let mut all = Vec::new();
        while let Some(stored) = rows.try_next().await? {
            let added = table.key().last().and_then(|name| stored.rows.column_by_name(name));
            let begins = added.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
            let changes = added.and_then(|column| column.as_primitive_opt::<UInt64Type>());
            for row in 0..stored.rows.num_rows() {
                let version = Version(stored.versions.value(row));
                let names = stored.rows.schema_ref().fields().iter().map(|field| field.name().as_str());
                let shown = row_json(names.zip(stored.rows.columns()), row);
                let (term, epoch) = (version.term().0, version.epoch().0);
                let star = StarRow { version: version.0, term, epoch, row: shown };
                let begins = begins.map(|begins| begins.value(row).cast_unsigned());
                all.push((begins.or(changes.map(|changes| changes.value(row))).unwrap_or_default(), star));
            }
        }
        all.sort_by_key(|(added, _)| *added);
        Ok(all)
    }
}

/// The source rows that give the key. One that is gone is found by the columns
/// that the key passes through; where there are none, only rows that are there
/// are found.
async fn source_keys(traced: &Traced<'_>, at: EventsAt<'_>) -> Result<Keys, AuditError> {
    let spec = traced.module.spec();
    let passed = passed_key(spec, traced.number);
    if passed.is_empty() {
        let tables = at.tables(spec).await?;
        let mut keys = Keys::new();
        for page in traced.pages(&tables)? {
            let origins = traced.origins(&page)?;
            keys.extend(origins.into_iter().map(|origin| page.sources[origin].key.clone()));
        }
        return Ok(keys);
    }
    let value = |(place, input): &(usize, usize)| -> Result<(usize, ArrayRef), AuditError> {
        let declared = spec.columns[*input].data_type.arrow();
        let value = cast(&traced.key.values[*place], &declared).map_err(|e| traced.failed(e.into()))?;
        Ok((*input, value))
    };
    let values = passed.iter().map(value).collect::<Result<Vec<_>, _>>()?;
    let mut keys = Keys::new();
    let mut batches = std::pin::pin!(at.read(&spec.source).await?);
    while let Some(batch) = batches.try_next().await? {
        keys.extend(keys_with(&batch, spec, &values).map_err(|error| traced.failed(error))?);
    }
    Ok(keys)
}

/// A star key under a module.
struct Traced<'a> {
    module: &'a Module,
    number: usize,
    table: &'a TargetTable,
    key: &'a StarKey,
    versions: &'a Versions,
}

impl Traced<'_> {
    fn failed(&self, source: RecomputeError) -> AuditError {
        AuditError::Recompute { transform: self.module.spec().name.clone(), source }
    }

    fn pages(&self, tables: &Tables) -> Result<Vec<Page>, AuditError> {
        let mut pages = Vec::new();
        each_page(self.module, tables, self.versions, |_, page| {
            pages.push(page);
            Ok(())
        })?;
        Ok(pages)
    }

    /// The source rows of `page` that give the key.
    fn origins(&self, page: &Page) -> Result<Vec<usize>, AuditError> {
        let target = &page.targets[self.number];
        let rows = self.key.rows_of(&target.rows).map_err(|error| self.failed(error.into()))?;
        Ok(rows.into_iter().map(|row| target.origin[row] as usize).collect())
    }

    /// The star row that stands, and else why there is none.
    fn outcome(&self, pages: &[Page]) -> Result<(Option<Value>, Option<String>), AuditError> {
        for page in pages {
            let target = &page.targets[self.number];
            let rows = self.key.rows_of(&target.rows).map_err(|error| self.failed(error.into()))?;
            let is_versioned = self.module.spec().targets[self.number].kind == TargetKind::Scd2;
            // Versions of a key ascend.
            let row = if is_versioned { rows.last() } else { rows.first() };
            if let Some(row) = row {
                let columns = self.table.column_names().zip(target.rows.columns());
                return Ok((Some(row_json(columns, *row)), None));
            }
        }
        let stopped = pages.iter().flat_map(|page| &page.sources).find_map(|source| source.stop.as_ref());
        Ok((None, stopped.map(|stop| told(stop, self.module.spec()))))
    }

    /// Goes through all that happened, step by step.
    fn history(&self, events: Events, explained: &mut Explained) -> Result<(), AuditError> {
        let Events { found, truncates } = events;
        let mut folds: BTreeMap<SourceTable, Fold> =
            found.keys().map(|table| (table.clone(), Fold::new(table.clone()))).collect();
        let steps = steps(found, &truncates);
        let older = steps.len().saturating_sub(EVENTS_MAX);
        let mut before = (None, None);
        for (number, step) in steps.iter().enumerate() {
            step.apply(&mut folds)?;
            if number < older {
                continue;
            }
            let after = self.outcome(&self.pages(&self.tables(&folds, &steps[..=number]))?)?;
            if after != before {
                let (row, stopped) = after.clone();
                explained.history.push(Moment { cause: step.cause(), row, stopped });
                before = after;
            }
        }
        let tables = self.tables(&folds, &steps);
        for page in self.pages(&tables)? {
            let origins = self.origins(&page)?;
            let concerns =
                |(place, source): &(usize, &Source)| origins.contains(place) || source.stop.is_some();
            let own = page.sources.iter().enumerate().filter(concerns);
            explained.sources.extend(own.filter_map(|(_, source)| self.source(source, &tables.rows)));
        }
        explained.older_events = older as u64;
        Ok(())
    }

    /// What the steps so far, which `folds` have taken, come to.
    fn tables(&self, folds: &BTreeMap<SourceTable, Fold>, steps: &[Step]) -> Tables {
        let spec = self.module.spec();
        let rows = folds.iter().map(|(table, fold)| (table.clone(), TableRows::of(fold))).collect();
        let mut tables = Tables { rows, history: TableHistory::default() };
        if keeps_versions(spec) {
            let (mut events, mut snapshots) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::Event(event) if *event.table() == spec.source => events.push(event.clone()),
                    Step::Snapshot(table, snapshot) if *table == spec.source => snapshots.push(*snapshot),
                    Step::Event(_) | Step::Snapshot(..) => {}
                }
            }
            tables.history = TableHistory::of(&spec.source, &events, &snapshots);
        }
        tables
    }

    /// Nothing for a row that is gone, of which versions may be left.
    fn source(&self, source: &Source, tables: &BTreeMap<SourceTable, TableRows>) -> Option<SourceRow> {
        let spec = self.module.spec();
        let row = tables[&spec.source].row(source.place?);
        let looked_up = spec.lookups.iter().zip(&source.found).map(|(lookup, found)| {
            let row = |place: &RowPlace| tables.get(&lookup.table).map(|table| table.row(*place));
            let found = found.as_ref().and_then(row);
            LookedUp {
                name: lookup.name.clone(),
                table: lookup.table.to_string(),
                event: found.as_ref().map(place),
                row: found.as_ref().map(columns_of),
            }
        });
        Some(SourceRow {
            key: source.shown_key(),
            event: place(&row),
            row: columns_of(&row),
            lookups: looked_up.collect(),
            stopped: source.stop.as_ref().map(|stop| told(stop, spec)),
        })
    }
}

fn told(stop: &Stop, spec: &Spec) -> String {
    match stop {
        Stop::Held(lookup) => {
            let table = spec.lookups.iter().find(|known| known.name == *lookup).map(|known| &known.table);
            format!(
                "held: it waits for {}",
                table.map_or_else(|| format!("a version in {lookup}"), |table| format!("the row of {table}"))
            )
        }
        Stop::Letter(fault) => told_fault(fault),
    }
}

pub(super) fn told_fault(fault: &Fault) -> String {
    format!("dead letter ({}, {}): {}", fault.stage.as_str(), fault.code, fault.message)
}

/// The columns of a batch of one row.
fn columns_of(row: &ChangeBatch) -> Value {
    let names = row.row_fields().iter().map(|field| field.name().as_str());
    row_json(names.zip(row.row_columns()), 0)
}
