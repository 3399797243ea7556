//! The oracle: what the star must be, from what the source tables hold.
//!
//! Knows nothing of events, epochs or engines: maps of rows, and the transforms
//! by their definition.

use std::collections::{BTreeMap, BTreeSet};

use dabi_core::spec::{ColumnSource, InputColumn, MissingPolicy, TargetColumn};

use crate::database::{Key, Row, Rows};
use crate::transforms::{NULL, Transform, Version, outputs};

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
enum Stop {
    Held,
    Refused,
}

/// The star of `tables` under `transforms`.
pub(crate) fn expected(tables: &[Rows], transforms: &[(Transform, Version)]) -> Expected {
    let mut expected = Expected::default();
    for (transform, module) in transforms {
        let name = &transform.spec.name;
        if transform.stateful {
            expected.held.insert(name.clone(), 0);
        }
        let mut given: Vec<BTreeMap<Vec<String>, Vec<String>>> = vec![BTreeMap::new(); transform.kinds.len()];
        for (key, row) in &tables[transform.steps[0]] {
            let computed = joined(transform, tables, key, row).and_then(|inputs| {
                let digest = inputs.join("|");
                let of_kind = |kind: &_| outputs(*module, *kind, row.v, &digest).ok_or(Stop::Refused);
                transform.kinds.iter().map(of_kind).collect::<Result<Vec<_>, Stop>>()
            });
            match computed {
                Ok(by_target) => {
                    for (place, computed) in by_target.iter().enumerate() {
                        let columns = &transform.spec.targets[place].columns;
                        for (n, digest) in computed {
                            let row = star_row(columns, key, *n, digest);
                            // Smallest source key first: it has what several give.
                            given[place].entry(key_of(transform, place, &row)).or_insert(row);
                        }
                    }
                }
                Err(Stop::Held) => *expected.held.get_mut(name).expect("only lookups hold") += 1,
                Err(Stop::Refused) => {
                    expected.letters.insert((name.clone(), shown(key)));
                }
            }
        }
        for (target, rows) in transform.spec.targets.iter().zip(given) {
            expected.views.insert(target.table.clone(), rows.into_values().collect());
        }
    }
    expected
}

/// A source key as a dead letter names it.
fn shown(key: &Key) -> String {
    key.sub.as_ref().map_or(key.id.to_string(), |sub| format!("{}, {sub}", key.id))
}

fn star_row(columns: &[TargetColumn], key: &Key, n: i64, digest: &str) -> Vec<String> {
    let value = |column: &TargetColumn| match (column.source, column.name.as_str()) {
        (ColumnSource::Input(_), "id") => key.id.to_string(),
        (ColumnSource::Input(_), _) => key.sub.clone().unwrap_or_default(),
        (_, "n") => n.to_string(),
        _ => digest.to_owned(),
    };
    columns.iter().map(value).collect()
}

fn key_of(transform: &Transform, place: usize, row: &[String]) -> Vec<String> {
    let target = &transform.spec.targets[place];
    let named = target.columns.iter().zip(row).filter(|(column, _)| target.key.contains(&column.name));
    named.map(|(_, value)| value.clone()).collect()
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

fn values(columns: &[InputColumn], found: Option<(&Key, &Row)>) -> Result<Vec<String>, Stop> {
    let value = |column: &InputColumn| {
        let value = found.and_then(|(key, row)| match column.name.as_str() {
            "id" => Some(key.id.to_string()),
            "sub" => key.sub.clone(),
            "v" => row.v.map(|v| v.to_string()),
            _ => row.big.clone(),
        });
        match value {
            None if found.is_some() && !column.nullable => Err(Stop::Refused),
            value => Ok(value.unwrap_or_else(|| NULL.to_owned())),
        }
    };
    columns.iter().map(value).collect()
}
