//! The oracle: what the star must be, from what the source tables hold and held.
//!
//! Knows nothing of events, epochs or engines: maps of rows, and the transforms
//! by their definition. Versions are in `versions`, changes in `changes`.

use std::collections::{BTreeMap, BTreeSet};

use dabi_core::spec::{ColumnSource, InputColumn, MissingPolicy};

use crate::changes;
use crate::database::{Database, Key, Row, Rows};
use crate::transforms::{Kind, NULL, Transform, Version, outputs, time_text};
use crate::versions::{Timelines, Was, refer, versions};

/// What a reader of a view sees: rows as text.
pub(crate) type View = BTreeSet<Vec<String>>;

/// What the star is to be.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Expected {
    /// By target.
    pub(crate) views: BTreeMap<String, View>,
    /// Open dead letters: transform and source key.
    pub(crate) letters: BTreeSet<(String, String)>,
    /// Source rows that wait, by transform with row state.
    pub(crate) held: BTreeMap<String, u64>,
}

/// Why a source row has no star rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    Held,
    Refused,
}

/// What a source key comes to, before references to versions are filled.
struct Outcome {
    key: Key,
    /// By target: complete rows.
    versions: Vec<(usize, Vec<String>)>,
    /// By target: rows of the current one.
    current: Vec<(usize, Vec<String>)>,
    waits: bool,
}

/// The star of `database` under `transforms`.
pub(crate) fn expected(database: &Database, transforms: &[(Transform, Version)]) -> Expected {
    let mut expected = Expected::default();
    let mut timelines = Timelines::new();
    let mut outcomes = Vec::new();
    for (transform, module) in transforms {
        let mut own = Vec::new();
        if transform.kinds == [Kind::Changes] {
            changes::expected(database, transform, *module, &mut expected);
        } else {
            let source = transform.steps[0];
            let keys: BTreeSet<&Key> =
                database.tables[source].keys().chain(database.histories[source].keys()).collect();
            for key in keys {
                let of = Source { database, transform, module: *module, key };
                match of.outcome(&mut timelines) {
                    Ok(outcome) => own.push(outcome),
                    Err(Refused) => drop(expected.letters.insert((transform.spec.name.clone(), key.shown()))),
                }
            }
        }
        outcomes.push(own);
    }
    for ((transform, _), outcomes) in transforms.iter().zip(outcomes) {
        if transform.kinds != [Kind::Changes] {
            finish(transform, outcomes, &timelines, &mut expected);
        }
    }
    expected
}

/// A source key has a dead letter.
struct Refused;

/// A source key of a transform.
struct Source<'a> {
    database: &'a Database,
    transform: &'a Transform,
    module: Version,
    key: &'a Key,
}

impl Source<'_> {
    fn outcome(&self, timelines: &mut Timelines) -> Result<Outcome, Refused> {
        let source = self.transform.steps[0];
        let is_versioned = |target: &usize| self.transform.kinds[*target] == Kind::Versions;
        let targets = 0..self.transform.kinds.len();
        let mut waits = false;
        let mut history = Vec::new();
        if targets.clone().any(|target| is_versioned(&target)) {
            for (at_us, row) in self.database.histories[source].get(self.key).into_iter().flatten() {
                let was = match row.as_ref().map(|row| self.evaluate(row)) {
                    None => Was::Absent,
                    Some(Ok(rows)) => Was::Given(rows),
                    Some(Err(Stop::Held)) => Was::Held,
                    Some(Err(Stop::Refused)) => return Err(Refused),
                };
                waits |= matches!(was, Was::Held);
                history.push((*at_us, was));
            }
        }
        let mut current = Vec::new();
        let row = self.database.tables[source].get(self.key);
        if let Some(row) = row.filter(|_| !targets.clone().all(|target| is_versioned(&target))) {
            match self.evaluate(row) {
                Err(Stop::Refused) => return Err(Refused),
                Err(Stop::Held) => waits = true,
                Ok(rows) => current.extend(rows.into_iter().filter(|(target, _)| !is_versioned(target))),
            }
        }
        let versioned = targets.filter(is_versioned).flat_map(|target| {
            let rows = versions(&self.transform.spec.targets[target], target, &history, timelines);
            rows.into_iter().map(move |row| (target, row)).collect::<Vec<_>>()
        });
        let versions = versioned.collect();
        Ok(Outcome { key: self.key.clone(), versions, current, waits })
    }

    /// The rows of every target that a source row gives.
    fn evaluate(&self, row: &Row) -> Result<Vec<(usize, Vec<String>)>, Stop> {
        let inputs = joined(self.transform, &self.database.tables, self.key, row)?;
        let mut rows = Vec::new();
        for target in 0..self.transform.kinds.len() {
            rows.extend(
                given(self.transform, self.module, target, row.v, &inputs)?
                    .into_iter()
                    .map(|row| (target, row)),
            );
        }
        Ok(rows)
    }
}

/// The rows that a target gets of one source row, whose inputs are `inputs`.
pub(crate) fn given(
    transform: &Transform,
    module: Version,
    target: usize,
    v: Option<i64>,
    inputs: &[String],
) -> Result<Vec<Vec<String>>, Stop> {
    let computed = outputs(module, transform.kinds[target], v, &inputs.join("|")).ok_or(Stop::Refused)?;
    let columns = &transform.spec.targets[target].columns;
    let row = |(n, digest): (i64, String)| {
        let value = columns.iter().map(|column| match (column.source, column.name.as_str()) {
            (ColumnSource::Input(place), _) => inputs[place].clone(),
            (ColumnSource::AsOf(_), _) => NULL.to_owned(),
            (ColumnSource::Computed, "n") => n.to_string(),
            (ColumnSource::Computed, _) => digest.clone(),
        });
        value.collect()
    };
    Ok(computed.into_iter().map(row).collect())
}

/// Fills references, and decides who has which star key.
fn finish(transform: &Transform, outcomes: Vec<Outcome>, timelines: &Timelines, expected: &mut Expected) {
    let name = &transform.spec.name;
    let mut held = 0;
    // Smallest source key first: it has what several give.
    let mut stands: Vec<BTreeMap<Vec<String>, Vec<String>>> = vec![BTreeMap::new(); transform.kinds.len()];
    for Outcome { key, versions, current, mut waits } in outcomes {
        let filled: Result<Vec<_>, Stop> = current
            .into_iter()
            .map(|(target, row)| Ok((target, refer(&transform.spec.targets[target], row, timelines)?)))
            .collect();
        let mut rows = filled.unwrap_or_else(|stop| {
            if stop == Stop::Refused {
                expected.letters.insert((name.clone(), key.shown()));
            }
            waits = stop == Stop::Held;
            Vec::new()
        });
        rows.extend(versions);
        held += u64::from(waits && rows.is_empty());
        for (target, row) in rows {
            stands[target].entry(key_of(transform, target, &row)).or_insert(row);
        }
    }
    for (target, rows) in transform.spec.targets.iter().zip(stands) {
        expected.views.insert(target.table.clone(), rows.into_values().collect());
    }
    if transform.stateful {
        expected.held.insert(name.clone(), held);
    }
}

/// What tells rows of a target apart: its key, and of a version when it begins.
fn key_of(transform: &Transform, target: usize, row: &[String]) -> Vec<String> {
    let declared = &transform.spec.targets[target];
    let named = declared.columns.iter().zip(row).filter(|(column, _)| declared.key.contains(&column.name));
    let mut key: Vec<String> = named.map(|(_, value)| value.clone()).collect();
    key.extend(row.get(declared.columns.len() + 1).cloned());
    key
}

/// The inputs of a source row, its lookups joined.
fn joined(transform: &Transform, tables: &[Rows], key: &Key, row: &Row) -> Result<Vec<String>, Stop> {
    let mut inputs = values(&transform.spec.columns, Some((key, row)))?;
    let mut found = vec![Some((key, row))];
    for (lookup, (from, place)) in transform.spec.lookups.iter().zip(&transform.references) {
        let to = &tables[transform.steps[found.len()]];
        let reference = found[*from].and_then(|(_, row)| row.references[*place].as_ref());
        let next = reference.and_then(|key| to.get_key_value(key));
        // Behind a row that is not there, only the policy for that row counts.
        match (found[*from], next, lookup.missing) {
            (Some(_), None, MissingPolicy::Hold) => return Err(Stop::Held),
            (Some(_), None, MissingPolicy::Reject) => return Err(Stop::Refused),
            _ => {}
        }
        inputs.extend(values(&lookup.columns, next)?);
        found.push(next);
    }
    Ok(inputs)
}

/// The columns of a row, or of one that is not there.
pub(crate) fn values(columns: &[InputColumn], found: Option<(&Key, &Row)>) -> Result<Vec<String>, Stop> {
    let value = |column: &InputColumn| {
        let value = found.and_then(|(key, row)| value_of(key, row, &column.name));
        match value {
            None if found.is_some() && !column.nullable => Err(Stop::Refused),
            value => Ok(value.unwrap_or_else(|| NULL.to_owned())),
        }
    };
    columns.iter().map(value).collect()
}

fn value_of(key: &Key, row: &Row, column: &str) -> Option<String> {
    match column {
        "id" => Some(key.id.to_string()),
        "sub" => key.sub.clone(),
        "v" => row.v.map(|v| v.to_string()),
        "big" => row.big.clone(),
        "at" => row.at_us.map(time_text),
        // r0, r0_sub
        _ => {
            let (place, sub) =
                column[1..].split_once('_').map_or((&column[1..], false), |(place, _)| (place, true));
            let reference = row.references[place.parse::<usize>().expect("a number")].as_ref()?;
            if sub { reference.sub.clone() } else { Some(reference.id.to_string()) }
        }
    }
}
