//! Versions of rows, by their definition, and finding the one that held at a time.
//!
//! Owns the star rows of an scd2 target and the values of as-of references. Does
//! not own what happened to a key (`history`), and shares with the engine only
//! how a version's key is made.
//!
//! - Neighbours that are the same in the tracked columns are one version, with the
//!   values of the last of them.
//! - A version begins at its first moment, a key's first one in 1970, and ends
//!   where the next moment's begins, or the row was gone, or waited.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, TimestampMicrosecondArray, UInt32Array, UInt64Array,
};
use arrow::compute::take;
use arrow::datatypes::{TimestampMicrosecondType, UInt64Type};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use crate::spec::{AsOf, Target};
use crate::star::version_keys;

/// What a transform made of a key at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Made {
    /// A row, by its number.
    Row(u32),
    /// Nothing yet: it waits for a row that it looks up.
    Waits,
    /// Nothing.
    Nothing,
}

/// A version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// The row with its values.
    pub(super) row: u32,
    pub(super) from_us: i64,
    /// `None`: without end.
    pub(super) to_us: Option<i64>,
}

/// The versions of a key from what was made of it at each moment, in their order;
/// `is_same` compares rows in the tracked columns.
pub(super) fn versions(made: &[(i64, Made)], is_same: impl Fn(u32, u32) -> bool) -> Vec<Version> {
    let mut runs: Vec<(i64, Made)> = Vec::new();
    for (at_us, made) in made {
        match runs.last_mut() {
            Some((_, Made::Row(last))) if matches!(made, Made::Row(row) if is_same(*last, *row)) => {
                let Made::Row(row) = made else { continue };
                *last = *row;
            }
            Some((_, last)) if last == made => {}
            _ => runs.push((*at_us, *made)),
        }
    }
    if let Some(first) = runs.iter_mut().find(|(_, made)| *made != Made::Nothing) {
        first.0 = 0;
    }
    let ends = runs.iter().skip(1).map(|(at_us, _)| Some(*at_us)).chain([None]);
    let version = |((from_us, made), to_us): (&(i64, Made), Option<i64>)| match made {
        Made::Row(row) => Some(Version { row: *row, from_us: *from_us, to_us }),
        Made::Waits | Made::Nothing => None,
    };
    runs.iter().zip(ends).filter_map(version).collect()
}

/// Comparing the rows in `columns` in the tracked columns of `target`.
pub(super) fn sameness(
    target: &Target,
    columns: &[ArrayRef],
) -> Result<impl Fn(u32, u32) -> bool, ArrowError> {
    let tracked = target.columns.iter().zip(columns).filter(|(column, _)| column.tracked);
    let tracked: Vec<ArrayRef> = tracked.map(|(_, array)| Arc::clone(array)).collect();
    let rows = if tracked.is_empty() { None } else { Some(converter(&tracked)?.convert_columns(&tracked)?) };
    Ok(move |a: u32, b: u32| rows.as_ref().is_none_or(|rows| rows.row(a as usize) == rows.row(b as usize)))
}

/// The declared columns of the rows of `found`, and then those that dabi adds.
pub(super) fn version_columns(
    target: &Target,
    columns: &[ArrayRef],
    found: &[Version],
) -> Result<Vec<ArrayRef>, ArrowError> {
    let rows: UInt32Array = found.iter().map(|version| version.row).collect();
    let mut columns: Vec<ArrayRef> =
        columns.iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?;
    let from: TimestampMicrosecondArray = found.iter().map(|version| Some(version.from_us)).collect();
    let to: TimestampMicrosecondArray = found.iter().map(|version| version.to_us).collect();
    let is_current: BooleanArray = found.iter().map(|version| Some(version.to_us.is_none())).collect();
    let keys = version_keys(&natural_key(target, &columns), &from);
    let keys = keys.map_err(|error| ArrowError::ExternalError(error.into()))?;
    columns.extend([
        Arc::new(keys) as ArrayRef,
        Arc::new(from.with_timezone("UTC")),
        Arc::new(to.with_timezone("UTC")),
        Arc::new(is_current),
    ]);
    Ok(columns)
}

/// The columns of the key, in its order.
fn natural_key(target: &Target, columns: &[ArrayRef]) -> Vec<ArrayRef> {
    named(target, columns, &target.key)
}

fn named(target: &Target, columns: &[ArrayRef], names: &[String]) -> Vec<ArrayRef> {
    let position = |name: &String| target.columns.iter().position(|column| column.name == *name);
    names.iter().filter_map(position).map(|column| Arc::clone(&columns[column])).collect()
}

fn converter(columns: &[ArrayRef]) -> Result<RowConverter, ArrowError> {
    RowConverter::new(columns.iter().map(|column| SortField::new(column.data_type().clone())).collect())
}

/// When a version holds, and its key.
struct Span {
    from_us: i64,
    to_us: Option<i64>,
    version_key: u64,
}

/// The versions of some dimensions.
#[derive(Default)]
pub struct Versions {
    dimensions: BTreeMap<String, HashMap<Box<[u8]>, Vec<Span>>>,
}

impl Versions {
    /// Adds star rows of an scd2 target, of those for which `counts` holds.
    pub(super) fn add(
        &mut self,
        target: &Target,
        columns: &[ArrayRef],
        counts: impl Fn(usize) -> bool,
    ) -> Result<(), ArrowError> {
        let spans = self.dimensions.entry(target.table.clone()).or_default();
        let [.., keys, from, to, _] = columns else { return Ok(()) };
        let key = natural_key(target, columns);
        let natural = converter(&key)?.convert_columns(&key)?;
        let keys = keys.as_primitive::<UInt64Type>();
        let (from, to) =
            (from.as_primitive::<TimestampMicrosecondType>(), to.as_primitive::<TimestampMicrosecondType>());
        for row in (0..keys.len()).filter(|row| counts(*row)) {
            let to_us = to.is_valid(row).then(|| to.value(row));
            let span = Span { from_us: from.value(row), to_us, version_key: keys.value(row) };
            spans.entry(natural.row(row).data().into()).or_default().push(span);
        }
        Ok(())
    }

    /// For each row of `target` in `columns` the version that `reference` refers to.
    pub(super) fn refer(
        &self,
        target: &Target,
        reference: &AsOf,
        columns: &[ArrayRef],
    ) -> Result<UInt64Array, ArrowError> {
        let key = named(target, columns, &reference.key);
        let times = named(target, columns, std::slice::from_ref(&reference.at));
        let (Some(times), Some(spans)) = (times.first(), self.dimensions.get(&reference.dimension)) else {
            return Ok(UInt64Array::new_null(columns.first().map_or(0, Array::len)));
        };
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let natural = converter(&key)?.convert_columns(&key)?;
        let found = |(row, at_us): (usize, Option<i64>)| {
            let at_us = at_us.filter(|_| key.iter().all(|column| column.is_valid(row)))?;
            let holds = |span: &&Span| span.from_us <= at_us && span.to_us.is_none_or(|to_us| at_us < to_us);
            let version = spans.get(natural.row(row).data())?.iter().find(holds)?;
            Some(version.version_key)
        };
        Ok(times.iter().enumerate().map(found).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows are the same if they have the same tens.
    fn check(made: &[(i64, Made)], expected: &[(u32, i64, Option<i64>)]) {
        let found = versions(made, |a, b| a / 10 == b / 10);
        let found: Vec<_> =
            found.iter().map(|version| (version.row, version.from_us, version.to_us)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn versions_are_those_of_the_definition() {
        use Made::{Nothing, Row, Waits};
        check(&[], &[]);
        check(&[(5, Nothing)], &[]);
        check(&[(5, Row(1)), (7, Row(2))], &[(2, 0, None)]);
        check(&[(5, Row(1)), (7, Row(12)), (8, Row(11))], &[(1, 0, Some(7)), (11, 7, None)]);
        check(
            &[(3, Nothing), (5, Row(1)), (7, Nothing), (8, Nothing), (9, Row(1))],
            &[(1, 0, Some(7)), (1, 9, None)],
        );
        // Who waits first has the beginning, too.
        check(&[(5, Waits), (7, Row(1)), (9, Waits)], &[(1, 7, Some(9))]);
    }
}
