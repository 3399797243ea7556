//! Versions by their definition: what the oracle expects of targets that keep
//! them, and of references to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::compute::kernels::cast_utils::string_to_timestamp_nanos;
use dabi_core::spec::{MissingPolicy, Target};
use dabi_core::star::version_keys;

use crate::expected::Stop;
use crate::transforms::{NULL, time_text};

/// When a version is valid, and its key.
pub(crate) type Span = (i64, Option<i64>, String);

/// By dimension, and by the text of its key.
pub(crate) type Timelines = BTreeMap<(String, Vec<String>), Vec<Span>>;

/// What a source key was from a commit on.
pub(crate) enum Was {
    Absent,
    Held,
    /// It gave these rows, by target.
    Given(Vec<(usize, Vec<String>)>),
}

/// What a key of the dimension was.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Absent,
    Held,
    Row(Vec<String>),
}

/// The versions of a key in target number `place`, with the columns that dabi adds.
pub(crate) fn versions(
    target: &Target,
    place: usize,
    history: &[(i64, Was)],
    timelines: &mut Timelines,
) -> Vec<Vec<String>> {
    let runs = runs(target, place, history);
    let first = runs.iter().position(|(_, what)| *what != What::Absent);
    let mut rows = Vec::new();
    for (number, (since_us, what)) in runs.iter().enumerate() {
        let What::Row(row) = what else { continue };
        let from_us = if Some(number) == first { 0 } else { *since_us };
        let to_us = runs.get(number + 1).map(|(to_us, _)| *to_us);
        let named = target.columns.iter().zip(row).filter(|(column, _)| target.key.contains(&column.name));
        let key: Vec<String> = named.map(|(_, value)| value.clone()).collect();
        let version_key = version_key(&key, from_us);
        let of_key = timelines.entry((target.table.clone(), key)).or_default();
        of_key.push((from_us, to_us, version_key.clone()));
        let added = [
            version_key,
            time_text(from_us),
            to_us.map_or_else(|| NULL.to_owned(), time_text),
            to_us.is_none().to_string(),
        ];
        rows.push(row.iter().cloned().chain(added).collect());
    }
    rows
}

/// Neighbours that are alike in the tracked columns: since when, and the last of them.
fn runs(target: &Target, place: usize, history: &[(i64, Was)]) -> Vec<(i64, What)> {
    let tracked = |row: &[String]| -> Vec<String> {
        let columns = target.columns.iter().zip(row).filter(|(column, _)| column.tracked);
        columns.map(|(_, value)| value.clone()).collect()
    };
    let is_alike = |one: &What, other: &What| match (one, other) {
        (What::Row(one), What::Row(other)) => tracked(one) == tracked(other),
        (one, other) => one == other,
    };
    let mut runs: Vec<(i64, What)> = Vec::new();
    for (at_us, was) in history {
        let what = match was {
            Was::Absent => What::Absent,
            Was::Held => What::Held,
            Was::Given(rows) => rows
                .iter()
                .find(|(target, _)| *target == place)
                .map_or(What::Absent, |(_, row)| What::Row(row.clone())),
        };
        match runs.last_mut() {
            Some((_, last)) if is_alike(last, &what) => *last = what,
            _ => runs.push((*at_us, what)),
        }
    }
    runs
}

/// The key is an integer, and a text if there are two columns.
fn version_key(key: &[String], from_us: i64) -> String {
    let column = |(place, value): (usize, &String)| -> ArrayRef {
        match place {
            0 => Arc::new(Int64Array::from(vec![value.parse::<i64>().expect("an id")])),
            _ => Arc::new(StringArray::from(vec![value.clone()])),
        }
    };
    let columns: Vec<ArrayRef> = key.iter().enumerate().map(column).collect();
    let keys = version_keys(&columns, &TimestampMicrosecondArray::from(vec![from_us]));
    keys.expect("keys that can be versioned").value(0).to_string()
}

/// A row with the versions that it refers to.
pub(crate) fn refer(
    target: &Target,
    mut row: Vec<String>,
    timelines: &Timelines,
) -> Result<Vec<String>, Stop> {
    let place = |name: &str| target.columns.iter().position(|column| column.name == name).expect("its own");
    for reference in &target.as_of {
        let key: Vec<String> = reference.key.iter().map(|name| row[place(name)].clone()).collect();
        let at_us = string_to_timestamp_nanos(&row[place(&reference.at)]).map(|nanos| nanos / 1000).ok();
        let spans = timelines.get(&(reference.dimension.clone(), key)).into_iter().flatten();
        let is_valid = |(from_us, to_us, _): &&Span| {
            at_us.is_some_and(|at_us| *from_us <= at_us && to_us.is_none_or(|to_us| at_us < to_us))
        };
        let found = spans.into_iter().find(is_valid).map(|(.., key)| key.clone());
        match (found, reference.missing) {
            (Some(found), _) => row[place("version")] = found,
            (None, MissingPolicy::Nulls) => {}
            (None, MissingPolicy::Hold) => return Err(Stop::Held),
            (None, MissingPolicy::Reject) => return Err(Stop::Refused),
        }
    }
    Ok(row)
}
