//! The naive model of history: versions by their definition, from the log of the
//! database itself, where every row is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray};
use arrow::datatypes::TimestampMicrosecondType;
use xxhash_rust::xxh3::xxh3_64;

use super::model::{Row, Stop, texts};
use super::world::{Key, Sent};
use crate::change::Op;
use crate::spec::{MissingPolicy, Target};

/// When a version is valid, and its key.
type Span = (i64, Option<i64>, u64);

/// By dimension and the text of its key.
pub(super) type Timelines = BTreeMap<(String, Vec<String>), Vec<Span>>;

/// What happened to each key of a table: of each commit time what came last.
pub(super) fn histories(table: usize, delivered: &[&Sent]) -> BTreeMap<Key, Vec<(i64, Option<Row>)>> {
    let own = || delivered.iter().filter(|sent| sent.table == table);
    let keys: BTreeSet<&Key> = own().filter_map(|sent| sent.key.as_ref()).collect();
    // Is it the end of a snapshot that has not read the key?
    let is_missed = |end: &Sent, key: &Key| {
        let is_read = |sent: &Sent| sent.event.op == Op::Read && sent.event.lsn == end.event.lsn;
        end.ends_snapshot() && !own().any(|sent| is_read(sent) && sent.key.as_ref() == Some(key))
    };
    let of_key = |key: &Key| {
        let mut history: Vec<(i64, Option<Row>)> = Vec::new();
        for sent in
            own().filter(|sent| sent.key.as_ref().is_none_or(|own| own == key) || is_missed(sent, key))
        {
            let at = sent.event.ts_us.expect("every commit has a time");
            let is_there = !matches!(sent.event.op, Op::Delete | Op::Truncate) && !is_missed(sent, key);
            let row = is_there.then(|| Row {
                v: sent.row.v,
                big: Some(sent.row.big.clone()),
                references: sent.row.references.clone(),
            });
            history.retain(|(before, _)| *before != at);
            history.push((at, row));
        }
        history
    };
    keys.into_iter().map(|key| (key.clone(), of_key(key))).collect()
}

/// Of some, has the half before come that says what the old key held? And of a
/// snapshot that ends, all that its table had before?
pub(super) fn is_settled(log: &[Sent], delivered: &[&Sent]) -> bool {
    let numbers: BTreeSet<usize> = delivered.iter().map(|sent| sent.number).collect();
    let mut created = delivered.iter().filter(|sent| sent.event.oldkey.is_some());
    let mut ends = delivered.iter().filter(|sent| sent.ends_snapshot());
    let all_before = |end: &Sent| {
        let mut before = log[..end.number].iter().filter(|sent| sent.table == end.table);
        before.all(|sent| numbers.contains(&sent.number))
    };
    created.all(|sent| numbers.contains(&(sent.number - 1))) && ends.all(|end| all_before(end))
}

/// The versions of a key, with the columns that dabi adds. Each of `rows` is what
/// was given at a time: a row, none, or nothing known.
pub(super) fn versions(
    target: &Target,
    rows: impl Iterator<Item = (i64, Option<Option<Vec<String>>>)>,
    timelines: &mut Timelines,
) -> Vec<Vec<String>> {
    let tracked = |row: &Vec<String>| -> Vec<String> {
        let columns = target.columns.iter().zip(row).filter(|(column, _)| column.tracked);
        columns.map(|(_, value)| value.clone()).collect()
    };
    // Neighbours that are alike: since when, and the last of them.
    let mut runs: Vec<(i64, Option<Option<Vec<String>>>)> = Vec::new();
    for (at, row) in rows {
        let is_alike = runs.last().is_some_and(|(_, last)| match (last, &row) {
            (Some(Some(last)), Some(Some(row))) => tracked(last) == tracked(row),
            (last, row) => last == row,
        });
        match runs.last_mut() {
            Some((_, last)) if is_alike => *last = row,
            _ => runs.push((at, row)),
        }
    }
    let first = runs.iter().position(|(_, row)| *row != Some(None));
    if let Some(first) = first {
        runs[first].0 = 0;
    }
    let mut rows = Vec::new();
    for (number, (from, row)) in runs.iter().enumerate() {
        let Some(Some(row)) = row else { continue };
        let to = runs.get(number + 1).map(|(to, _)| *to);
        let of_key = target.columns.iter().zip(row).filter(|(column, _)| target.key.contains(&column.name));
        let key: Vec<String> = of_key.map(|(_, value)| value.clone()).collect();
        let version_key = xxh3_64(format!("{}\0{from}", key.join("\0")).as_bytes());
        timelines.entry((target.table.clone(), key)).or_default().push((*from, to, version_key));
        let added = [version_key.to_string(), time(Some(*from)), time(to), to.is_none().to_string()];
        rows.push(row.iter().cloned().chain(added).collect());
    }
    rows
}

/// A row with the version that it refers to.
pub(super) fn referring(
    target: &Target,
    columns: &[ArrayRef],
    row: usize,
    timelines: &Timelines,
) -> Result<Vec<String>, Stop> {
    let mut shown = texts(columns, row);
    let position = |name: &str| target.columns.iter().position(|c| c.name == name).expect("a column");
    for reference in &target.as_of {
        let key: Vec<usize> = reference.key.iter().map(|name| position(name)).collect();
        let times = columns[position(&reference.at)].as_primitive::<TimestampMicrosecondType>();
        let at = times.is_valid(row).then(|| times.value(row));
        let is_known = key.iter().all(|place| columns[*place].is_valid(row));
        let key = key.iter().map(|place| shown[*place].clone()).collect();
        let timeline = timelines.get(&(reference.dimension.clone(), key)).filter(|_| is_known);
        let found = at.and_then(|at| {
            let mut spans = timeline?.iter();
            spans.find(|(from, to, _)| *from <= at && to.is_none_or(|to| at < to)).map(|(.., key)| *key)
        });
        let version = position("version");
        match (found, reference.missing) {
            (Some(found), _) => shown[version] = found.to_string(),
            (None, MissingPolicy::Nulls) => {}
            (None, MissingPolicy::Hold) => return Err(Stop::Held),
            (None, MissingPolicy::Reject) => return Err(Stop::Letter),
        }
    }
    Ok(shown)
}

fn time(at: Option<i64>) -> String {
    texts(&[Arc::new(TimestampMicrosecondArray::from(vec![at]).with_timezone("UTC"))], 0).remove(0)
}
