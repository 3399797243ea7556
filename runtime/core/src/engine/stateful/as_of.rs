//! References from rows to the version of a dimension that was valid at a time.
//!
//! Owns a dimension's timelines by its natural key, what fills the columns of a
//! reference, and the index of who refers to what. Does not own versions
//! (`timeline`), nor who is evaluated again when one changes (`fan_out`).
//!
//! Invariant: a source row stands in the index under every natural key that a row
//! of it refers to, whether a version was found or not; so whoever may be wrong
//! after a timeline changed is found there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanBuilder, UInt64Array};
use arrow::datatypes::TimestampMicrosecondType;
use arrow::row::RowConverter;

use super::EngineError;
use super::bytes::{push_bytes, push_varint, take_bytes, take_varint};
use super::changes::KeySet;
use super::evaluate::Given;
use super::join::{Failure, Stop};
use super::plan::{Spaces, StatefulTransform};
use super::target::rows;
use crate::dead_letter::Stage;
use crate::engine::state::{Puts, Regroupings, Space, State, StateError};
use crate::spec::{AnyColumn, AsOf, ColumnSource, MissingPolicy, Spec, Target, TargetKind};

/// An scd2 target that others refer to.
#[derive(Debug)]
pub(super) struct DimensionPlan {
    pub(super) name: String,
    /// Of the columns of its key, in its order.
    pub(super) natural_rows: RowConverter,
    /// Natural key → its [`Span`]s.
    pub(super) timelines: Space,
    /// Who refers to it: transform and reference.
    pub(super) readers: Vec<(usize, usize)>,
}

/// One reference of one target.
#[derive(Debug)]
pub(super) struct ReferencePlan {
    pub(super) target: usize,
    /// The column that it fills.
    name: String,
    /// Its position.
    column: usize,
    /// Positions of the columns that hold the natural key, in its order.
    key: Vec<usize>,
    /// The column that holds the time.
    at_name: String,
    /// Its position.
    at: usize,
    missing: MissingPolicy,
    pub(super) dimension: usize,
    /// Natural key → source keys of rows that refer to it.
    pub(super) readers: Space,
}

/// One version of a timeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) from_us: i64,
    /// `None`: without end.
    pub(super) to_us: Option<i64>,
    pub(super) version_key: u64,
}

/// What the rows of a source key refer to: references and natural keys, ascending.
pub(super) type References = Vec<(usize, Vec<u8>)>;

/// Changed timelines by natural key; empty: there are no versions any more.
pub(super) type ChangedTimelines = BTreeMap<Vec<u8>, Vec<u8>>;

/// Timelines as an epoch leaves them, as far as it has come.
pub(super) struct Timelines<'a> {
    pub(super) dimensions: &'a [DimensionPlan],
    pub(super) state: &'a dyn State,
    /// By dimension.
    changed: Vec<ChangedTimelines>,
}

impl<'a> Timelines<'a> {
    /// None has changed yet.
    pub(super) fn new(dimensions: &'a [DimensionPlan], state: &'a dyn State) -> Self {
        let changed = dimensions.iter().map(|_| ChangedTimelines::new()).collect();
        Self { dimensions, state, changed }
    }
}

/// The dimensions that `transforms` refer to, without who does.
///
/// # Errors
/// The transform, and which of its references names nothing.
pub(super) fn dimensions(
    transforms: &[StatefulTransform],
    spaces: &mut Spaces,
) -> Result<Vec<DimensionPlan>, (String, String)> {
    let specs: Vec<&Spec> = transforms.iter().map(|transform| &transform.spec).collect();
    let mut dimensions: Vec<DimensionPlan> = Vec::new();
    for spec in &specs {
        let invalid = |fault: String| (spec.name.clone(), fault);
        spec.validate_references(&specs).map_err(|error| invalid(error.faults.join("; ")))?;
        for reference in spec.targets.iter().flat_map(|target| &target.as_of) {
            let name = &reference.dimension;
            let mut targets = specs.iter().flat_map(|spec| &spec.targets);
            let Some(target) = targets.find(|target| target.table == *name) else { continue };
            if dimensions.iter().any(|known| known.name == *name) {
                continue;
            }
            let columns: Vec<AnyColumn<'_>> = target.all_columns().collect();
            let key: Option<Vec<usize>> = target.key.iter().map(|key| position(target, key)).collect();
            let key = key.ok_or_else(|| invalid(format!("{name} has a key column that is no column")))?;
            let natural_rows = rows(&columns, &key).map_err(|error| invalid(format!("{name}: {error}")))?;
            let timelines = spaces.add(format!("versions of {name}"));
            dimensions.push(DimensionPlan {
                name: name.clone(),
                natural_rows,
                timelines,
                readers: Vec::new(),
            });
        }
    }
    Ok(dimensions)
}

/// The references of transform `number`, which are noted in `dimensions`.
///
/// # Errors
/// If one names something that is not there.
pub(super) fn references(
    number: usize,
    spec: &Spec,
    dimensions: &mut [DimensionPlan],
    spaces: &mut Spaces,
) -> Result<Vec<ReferencePlan>, String> {
    let mut references = Vec::new();
    let keeps_versions = spec.targets.iter().find(|target| target.kind == TargetKind::Scd2);
    for (place, target) in spec.targets.iter().enumerate() {
        for (of_target, declared) in target.as_of.iter().enumerate() {
            let plan =
                reference(place, target, of_target, declared, dimensions, spaces).ok_or_else(|| {
                    format!("target {}: its reference to {} names nothing", target.table, declared.dimension)
                })?;
            if let (Some(versions), MissingPolicy::Reject) = (keeps_versions, declared.missing) {
                return Err(format!(
                    "target {} rejects rows without a version of {}, which would take back the versions that {} keeps \
                     of them; let such rows wait (hold), or fill {} from another source",
                    target.table, declared.dimension, versions.table, target.table
                ));
            }
            dimensions[plan.dimension].readers.push((number, references.len()));
            references.push(plan);
        }
    }
    Ok(references)
}

fn reference(
    place: usize,
    target: &Target,
    of_target: usize,
    declared: &AsOf,
    dimensions: &[DimensionPlan],
    spaces: &mut Spaces,
) -> Option<ReferencePlan> {
    let filled = |column: &crate::spec::TargetColumn| column.source == ColumnSource::AsOf(of_target);
    let column = target.columns.iter().position(filled)?;
    let key = declared.key.iter().map(|name| position(target, name)).collect::<Option<_>>()?;
    let at = position(target, &declared.at)?;
    let dimension = dimensions.iter().position(|known| known.name == declared.dimension)?;
    let name = target.columns[column].name.clone();
    let holds =
        format!("rows of {} by the key of {} that {name} refers to", target.table, declared.dimension);
    Some(ReferencePlan {
        target: place,
        name,
        column,
        key,
        at_name: declared.at.clone(),
        at,
        missing: declared.missing,
        dimension,
        readers: spaces.add(holds),
    })
}

fn position(target: &Target, name: &str) -> Option<usize> {
    target.columns.iter().position(|column| column.name == name)
}

/// Adds the next version of a timeline.
pub(super) fn push_span(buffer: &mut Vec<u8>, span: Span) {
    buffer.extend(span.from_us.to_be_bytes());
    buffer.extend(span.to_us.unwrap_or(i64::MAX).to_be_bytes());
    buffer.extend(span.version_key.to_be_bytes());
}

/// The key of the version that is valid at a time.
pub(super) fn version_at(timeline: &[u8], at_us: i64) -> Option<u64> {
    let (spans, _) = timeline.as_chunks::<24>();
    let from = |span: &[u8; 24]| i64::from_be_bytes(*span.first_chunk().expect("24 bytes"));
    let next = spans.partition_point(|span| from(span) <= at_us);
    let (_, rest) = spans[..next].last()?.split_first_chunk::<8>()?;
    let (to, key) = rest.split_first_chunk::<8>()?;
    let to_us = i64::from_be_bytes(*to);
    (at_us < to_us || to_us == i64::MAX).then_some(u64::from_be_bytes(*key.first_chunk()?))
}

/// What came of filling a reference's column.
pub(super) struct Filled {
    /// Evaluated rows, and the natural key that each refers to.
    pub(super) reads: Vec<(u32, Vec<u8>)>,
    /// Evaluated rows that may not stand without a version.
    pub(super) stops: Vec<(u32, Stop)>,
}

impl Timelines<'_> {
    /// Fills the column of a reference of transform `name`.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn fill(
        &self,
        name: &str,
        reference: &ReferencePlan,
        given: &mut Given,
    ) -> Result<Filled, EngineError> {
        let dimension = &self.dimensions[reference.dimension];
        let columns: Vec<ArrayRef> =
            reference.key.iter().map(|place| ArrayRef::clone(&given.columns[*place])).collect();
        let natural = dimension.natural_rows.convert_columns(&columns);
        let natural = natural.map_err(|source| EngineError::Star { transform: name.to_owned(), source })?;
        let times = ArrayRef::clone(&given.columns[reference.at]);
        let times = times.as_primitive::<TimestampMicrosecondType>();
        let mut distinct = KeySet::with_capacity(given.rows.len());
        let mut asked = Vec::with_capacity(given.rows.len());
        let mut reads = Vec::with_capacity(given.rows.len());
        for (place, row) in given.rows.iter().enumerate() {
            // A null finds nothing, whatever versions there will be.
            if times.is_null(place) || columns.iter().any(|column| column.is_null(place)) {
                asked.push(None);
                continue;
            }
            let key = natural.row(place);
            asked.push(Some(distinct.add(key.data()).0 as usize));
            reads.push((*row, key.data().to_vec()));
        }
        let found = self.find(reference.dimension, &distinct.finish().1)?;
        let filled: UInt64Array = asked
            .iter()
            .enumerate()
            .map(|(place, asked)| {
                let timeline = asked.filter(|timeline| found.is_valid(*timeline))?;
                version_at(found.value(timeline), times.value(place))
            })
            .collect();
        let missing = given.rows.iter().zip(&filled).filter(|(_, version)| version.is_none());
        let stops = missing.filter_map(|(row, _)| Some((*row, reference.stop(&dimension.name)?))).collect();
        given.columns[reference.column] = Arc::new(filled);
        Ok(Filled { reads, stops })
    }

    /// Those of `keys`, each of which is given once.
    fn find(&self, dimension: usize, keys: &BinaryArray) -> Result<BinaryArray, StateError> {
        if keys.is_empty() {
            return Ok(keys.clone());
        }
        let stored = self.state.read(self.dimensions[dimension].timelines, keys)?;
        let changed = &self.changed[dimension];
        if changed.is_empty() {
            return Ok(stored);
        }
        let now = keys.iter().zip(&stored).map(|(key, stored)| match changed.get(key?) {
            Some(timeline) => Some(timeline.as_slice()),
            None => stored,
        });
        Ok(now.collect())
    }

    /// Takes over timelines of a dimension; gives what is to be written, and the
    /// natural keys of those that differ from the stored ones.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) fn take_over(
        &mut self,
        dimension: usize,
        timelines: ChangedTimelines,
    ) -> Result<Option<Puts>, StateError> {
        if timelines.is_empty() {
            return Ok(None);
        }
        let space = self.dimensions[dimension].timelines;
        let stored = self.state.read(space, &BinaryArray::from_iter_values(timelines.keys()))?;
        let (mut keys, mut values) = (BinaryBuilder::new(), BinaryBuilder::new());
        for ((key, timeline), stored) in timelines.into_iter().zip(&stored) {
            if timeline == stored.unwrap_or_default() {
                continue;
            }
            keys.append_value(&key);
            values.append_option((!timeline.is_empty()).then_some(&timeline));
            self.changed[dimension].insert(key, timeline);
        }
        let keys = keys.finish();
        Ok((!keys.is_empty()).then(|| Puts { space, keys, values: values.finish() }))
    }
}

impl ReferencePlan {
    /// What becomes of a row for which no version is valid.
    fn stop(&self, dimension: &str) -> Option<Stop> {
        match self.missing {
            MissingPolicy::Nulls => None,
            MissingPolicy::Hold => Some(Stop::Held),
            MissingPolicy::Reject => Some(Stop::Failed(Failure {
                stage: Stage::Star,
                code: "as-of-missing".to_owned(),
                message: format!(
                    "column {}: no version of {dimension} is valid at {} for its key; it is tried again when there \
                     is one",
                    self.name, self.at_name
                ),
            })),
        }
    }
}

/// Who refers to what: the index of one transform as an epoch changes it.
#[derive(Default)]
pub(super) struct Readers {
    puts: (BinaryBuilder, BinaryBuilder),
    /// By reference.
    joins: BTreeMap<usize, (BinaryBuilder, BinaryBuilder, BooleanBuilder)>,
}

impl Readers {
    /// The rows of `source` referred to what `old` holds, and refer to `new`.
    pub(super) fn change(&mut self, source: &[u8], old: Option<&[u8]>, new: Option<&References>) {
        let mut bytes = Vec::new();
        for (reference, key) in new.into_iter().flatten() {
            push_varint(&mut bytes, *reference as u64);
            push_bytes(&mut bytes, key);
        }
        let old = old.unwrap_or_default();
        if bytes == old {
            return;
        }
        let was: BTreeSet<(usize, &[u8])> = references_in(old).collect();
        let is: BTreeSet<(usize, &[u8])> = references_in(&bytes).collect();
        for (reference, key) in was.symmetric_difference(&is) {
            let (groups, members, joins) = self
                .joins
                .entry(*reference)
                .or_insert_with(|| (BinaryBuilder::new(), BinaryBuilder::new(), BooleanBuilder::new()));
            groups.append_value(key);
            members.append_value(source);
            joins.append_value(is.contains(&(*reference, *key)));
        }
        self.puts.0.append_value(source);
        self.puts.1.append_option((!bytes.is_empty()).then_some(&bytes));
    }

    /// What is to be written; `space` holds what each source row refers to.
    pub(super) fn finish(
        self,
        space: Space,
        references: &[ReferencePlan],
    ) -> (Option<Puts>, Vec<Regroupings>) {
        let (mut keys, mut values) = self.puts;
        let keys = keys.finish();
        let puts = (!keys.is_empty()).then(|| Puts { space, keys, values: values.finish() });
        let regroupings =
            self.joins.into_iter().map(|(reference, (mut groups, mut members, mut joins))| Regroupings {
                space: references[reference].readers,
                groups: groups.finish(),
                members: members.finish(),
                joins: joins.finish(),
            });
        (puts, regroupings.collect())
    }
}

fn references_in(mut bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    std::iter::from_fn(move || {
        (!bytes.is_empty()).then(|| {
            let reference = usize::try_from(take_varint(&mut bytes)).expect("written from a usize");
            (reference, take_bytes(&mut bytes))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_at_a_time_is_the_one_that_holds_it() {
        let mut timeline = Vec::new();
        for (from_us, to_us, version_key) in [(0, Some(5), 1), (5, Some(7), 2), (9, None, 3)] {
            push_span(&mut timeline, Span { from_us, to_us, version_key });
        }
        let found: Vec<Option<u64>> =
            [-1, 0, 4, 5, 6, 7, 8, 9, i64::MAX].map(|at_us| version_at(&timeline, at_us)).to_vec();
        let (a, b, c) = (Some(1), Some(2), Some(3));
        assert_eq!(found, [None, a, a, b, b, None, None, c, c]);
        assert_eq!(version_at(&[], 5), None);
    }
}
