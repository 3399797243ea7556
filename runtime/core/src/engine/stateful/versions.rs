//! The star rows of an scd2 target: one for each version of a source row.
//!
//! Owns the columns that dabi adds to them. Does not own what a version is
//! (`timeline`).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, TimestampMicrosecondArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
use arrow::error::ArrowError;

use super::as_of::{ChangedTimelines, DimensionPlan, Span, push_span};
use super::evaluate::{Given, PageRows, Stops};
use super::plan::TransformPlan;
use super::sources::{Happened, Sources};
use super::target::{TargetPlan, VersionPlan};
use super::timeline::{Commit, Emptied, Version, What, versions};
use crate::star::version_keys;

/// The versions that the rows in `given` come to, by source key; those of keys
/// that were stopped are left out.
///
/// # Errors
/// If Arrow cannot compare or hash the columns.
pub(super) fn version_rows(
    plan: &TransformPlan,
    (position, of): (usize, &VersionPlan),
    given: &Given,
    sources: &Sources<'_>,
    emptied: &Emptied,
    stops: &mut Stops,
) -> Result<Given, ArrowError> {
    let mut place_of: HashMap<u32, u32> = HashMap::with_capacity(given.rows.len());
    for (place, row) in (0_u32..).zip(&given.rows) {
        if place_of.insert(*row, place).is_some() {
            stops.fail(*row, plan.duplicate_key(position));
        }
    }
    let tracked: Vec<ArrayRef> = of.tracked.iter().map(|column| given.columns[*column].clone()).collect();
    let tracked = of.tracked_rows.as_ref().map(|rows| rows.convert_columns(&tracked)).transpose()?;
    let is_same =
        |a: u32, b: u32| tracked.as_ref().is_none_or(|rows| rows.row(a as usize) == rows.row(b as usize));
    let mut found: Vec<(u32, Version)> = Vec::with_capacity(given.rows.len());
    for happened in sources.happened.chunk_by(|a, b| a.key == b.key) {
        let Some(key) = happened.first().map(|first| first.key) else { continue };
        if stops.has_failed(key) {
            continue;
        }
        let commits: Vec<Commit> = happened.iter().map(|entry| commit(entry, &place_of, stops)).collect();
        found.extend(versions(&commits, emptied, is_same).into_iter().map(|version| (key, version)));
    }
    Ok(Given { rows: found.iter().map(|(key, _)| *key).collect(), columns: columns(of, given, &found)? })
}

/// What an entry comes to: where a row of it stands among the given ones.
fn commit(entry: &Happened, place_of: &HashMap<u32, u32>, stops: &Stops) -> Commit {
    let what = match entry.row {
        None => What::Absent,
        Some(row) if stops.is_held(row) => What::Held,
        Some(row) => place_of.get(&row).map_or(What::Absent, |place| What::Row(*place)),
    };
    Commit { ts_us: entry.head.ts_us, lsn: entry.head.lsn, what }
}

/// The declared columns, and then those of `TargetKind::automatic_columns`.
fn columns(of: &VersionPlan, given: &Given, found: &[(u32, Version)]) -> Result<Vec<ArrayRef>, ArrowError> {
    let places: UInt32Array = found.iter().map(|(_, version)| version.row).collect();
    let mut columns: Vec<ArrayRef> =
        given.columns.iter().map(|column| take(column, &places, None)).collect::<Result<_, _>>()?;
    let from: TimestampMicrosecondArray = found.iter().map(|(_, version)| Some(version.from_us)).collect();
    let to: TimestampMicrosecondArray = found.iter().map(|(_, version)| version.to_us).collect();
    let is_current: BooleanArray = to.iter().map(|to| Some(to.is_none())).collect();
    let key: Vec<ArrayRef> = of.natural.iter().map(|column| columns[*column].clone()).collect();
    let keys = version_keys(&key, &from).map_err(|error| ArrowError::ExternalError(error.into()))?;
    columns.extend([
        Arc::new(keys) as ArrayRef,
        Arc::new(from.with_timezone("UTC")),
        Arc::new(to.with_timezone("UTC")),
        Arc::new(is_current),
    ]);
    Ok(columns)
}

/// Adds the timelines of a dimension's rows. `old` are star keys of rows that were
/// there before, `new` numbers of `rows` in the order of their star keys; both of
/// source keys of which something differs.
///
/// # Errors
/// If Arrow cannot compare the key.
pub(super) fn add_timelines(
    target: &TargetPlan,
    dimension: &DimensionPlan,
    old: &[&[u8]],
    (rows, new): (&PageRows, &[u32]),
    timelines: &mut ChangedTimelines,
) -> Result<(), ArrowError> {
    let Some(of) = &target.versions else { return Ok(()) };
    let parser = target.key_rows.parser();
    let mut stood = target.key_rows.convert_rows(old.iter().map(|key| parser.parse(key)))?;
    // Behind the declared key stands when the version begins.
    stood.truncate(of.natural.len());
    for key in &dimension.natural_rows.convert_columns(&stood)? {
        timelines.entry(key.data().to_vec()).or_default();
    }
    let natural: Vec<ArrayRef> = of.natural.iter().map(|column| rows.columns[*column].clone()).collect();
    let natural = dimension.natural_rows.convert_columns(&natural)?;
    let [.., keys, from, to, _] = rows.columns.as_slice() else { return Ok(()) };
    let keys = keys.as_primitive::<UInt64Type>();
    let (from, to) =
        (from.as_primitive::<TimestampMicrosecondType>(), to.as_primitive::<TimestampMicrosecondType>());
    for row in new.iter().map(|row| *row as usize) {
        let to_us = to.is_valid(row).then(|| to.value(row));
        let span = Span { from_us: from.value(row), to_us, version_key: keys.value(row) };
        push_span(timelines.entry(natural.row(row).data().to_vec()).or_default(), span);
    }
    Ok(())
}
