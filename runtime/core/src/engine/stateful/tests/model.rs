//! The naive model: everything is computed anew, current rows from the fold of all
//! events, versions from the database's own log (`history`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};

use super::super::{AppliedRows, StatefulTransform, Transforms};
use super::history::{Timelines, histories, referring, versions};
use super::warehouse::{View, text};
use super::world::{Key, Schema, Sent};
use crate::change::{ChangeBatch, meta};
use crate::fold::Fold;
use crate::spec::{InputColumn, MissingPolicy, TargetKind};
use crate::star::TargetTable;

/// What the star is to be.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Expected {
    pub(super) views: BTreeMap<String, View>,
    pub(super) letters: BTreeSet<(String, String)>,
    pub(super) held: BTreeMap<String, u64>,
}

impl Expected {
    /// What concerns one transform.
    pub(super) fn of(&self, transforms: &[StatefulTransform], name: &str) -> Self {
        let tables = transforms.iter().filter(|transform| transform.spec.name == name);
        let tables = tables.flat_map(|transform| &transform.tables).map(TargetTable::physical_name);
        Self {
            views: tables
                .map(|table| (table.clone(), self.views.get(&table).cloned().unwrap_or_default()))
                .collect(),
            letters: self.letters.iter().filter(|(of, _)| of == name).cloned().collect(),
            held: self
                .held
                .iter()
                .filter(|(of, _)| *of == name)
                .map(|(of, held)| (of.clone(), *held))
                .collect(),
        }
    }
}

/// A row. `big` is `None` where nothing that was sent has it.
pub(super) struct Row {
    pub(super) v: Option<i64>,
    pub(super) big: Option<Option<String>>,
    pub(super) references: Vec<Option<Key>>,
}

type Rows = BTreeMap<Key, Row>;

fn rows(schema: &Schema, number: usize, fold: &Fold) -> Rows {
    let mut rows = Rows::new();
    for batch in fold.rows() {
        let ints = |name: &str| -> ArrayRef { column(&batch, name, &DataType::Int64) };
        let texts = |name: &str| -> ArrayRef { column(&batch, name, &DataType::Utf8) };
        let int = |array: &ArrayRef, row: usize| {
            array.is_valid(row).then(|| array.as_primitive::<Int64Type>().value(row))
        };
        let text = |array: &ArrayRef, row: usize| {
            array.is_valid(row).then(|| array.as_string::<i32>().value(row).to_owned())
        };
        let key_of = |id: &str, sub: &str, composite: bool, row: usize| -> Option<Key> {
            let id = int(&ints(id), row)?;
            Some((id, if composite { Some(text(&texts(sub), row)?) } else { None }))
        };
        let own = &schema.tables[number];
        for row in 0..batch.num_rows() {
            let key = key_of("id", "sub", own.composite, row).expect("a row of the fold has a key");
            let references = own.references.iter().enumerate().map(|(place, to)| {
                let names = (format!("r{place}"), format!("r{place}_sub"));
                key_of(&names.0, &names.1, schema.tables[*to].composite, row)
            });
            let unsent = batch.meta(meta::UNAVAILABLE).is_valid(row);
            let big = (!unsent).then(|| text(&texts("big"), row));
            let row = Row { v: int(&ints("v"), row), big, references: references.collect() };
            rows.insert(key, row);
        }
    }
    rows
}

fn column(batch: &ChangeBatch, name: &str, data_type: &DataType) -> ArrayRef {
    let position = batch.row_fields().iter().position(|field| field.name() == name).expect("a column");
    arrow::compute::cast(&batch.row_columns()[position], data_type).expect("an integer or text")
}

/// Why a source row has no star rows.
pub(super) enum Stop {
    Held,
    Letter,
}

/// What a source key comes to, before references to versions are filled.
struct Outcome {
    key: Key,
    /// By target, with every column.
    versions: Vec<(usize, Vec<String>)>,
    /// By target: the columns, and which of their rows.
    current: Vec<(usize, Vec<ArrayRef>, usize)>,
    waits: bool,
}

/// What the star is, by the definition. `delivered` are the events that have come,
/// each once, in the order of the log.
pub(super) fn expected(
    schema: &Schema,
    folds: &[Fold],
    delivered: &[&Sent],
    transforms: &[StatefulTransform],
    native: &dyn Transforms,
) -> Expected {
    let tables: Vec<Rows> =
        folds.iter().enumerate().map(|(number, fold)| rows(schema, number, fold)).collect();
    let mut expected = Expected::default();
    let mut timelines = Timelines::new();
    let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
    for (number, transform) in transforms.iter().enumerate() {
        let source = table_number(transform.spec.source.table());
        let histories = histories(source, delivered);
        let keys: BTreeSet<&Key> = tables[source].keys().chain(histories.keys()).collect();
        let mut own = Vec::new();
        for key in keys {
            let evaluate = |row: &Row| {
                let columns = inputs(transform, &tables, source, key, row)?;
                let applied = native.apply(number, 1, &columns).expect("it never stops");
                if applied.errors.is_empty() { Ok(applied.outputs) } else { Err(Stop::Letter) }
            };
            let history = histories.get(key).map(Vec::as_slice).unwrap_or_default();
            match outcome(transform, key, history, tables[source].get(key), evaluate, &mut timelines) {
                Some(outcome) => own.push(outcome),
                None => drop(expected.letters.insert((transform.spec.name.clone(), shown(key)))),
            }
        }
        outcomes.push(own);
    }
    for (transform, outcomes) in transforms.iter().zip(outcomes) {
        finish(transform, outcomes, &timelines, &mut expected);
    }
    expected
}

/// Nothing if the key has a dead letter.
fn outcome(
    transform: &StatefulTransform,
    key: &Key,
    history: &[(i64, Option<Row>)],
    current: Option<&Row>,
    evaluate: impl Fn(&Row) -> Result<Vec<AppliedRows>, Stop>,
    timelines: &mut Timelines,
) -> Option<Outcome> {
    let is_versioned = |target: usize| transform.spec.targets[target].kind == TargetKind::Scd2;
    let targets = 0..transform.spec.targets.len();
    let mut outcome = Outcome { key: key.clone(), versions: Vec::new(), current: Vec::new(), waits: false };
    let mut answers = Vec::new();
    if targets.clone().any(is_versioned) {
        for (at, row) in history {
            let answer = match row.as_ref().map(&evaluate) {
                Some(Err(Stop::Letter)) => return None,
                Some(Err(Stop::Held)) => None,
                Some(Ok(outputs)) => Some(outputs),
                None => Some(Vec::new()),
            };
            outcome.waits |= answer.is_none();
            answers.push((*at, answer));
        }
    }
    if let Some(row) = current.filter(|_| !targets.clone().all(is_versioned)) {
        match evaluate(row) {
            Err(Stop::Letter) => return None,
            Err(Stop::Held) => outcome.waits = true,
            Ok(outputs) => {
                for output in outputs.into_iter().filter(|output| !is_versioned(output.target)) {
                    let rows = 0..output.origin.len();
                    outcome.current.extend(rows.map(|row| (output.target, output.columns.clone(), row)));
                }
            }
        }
    }
    for target in targets.filter(|target| is_versioned(*target)) {
        let rows = answers.iter().map(|(at, answer)| {
            let answer = answer.as_ref().map(|outputs| {
                let output = outputs.iter().find(|o| o.target == target && !o.origin.is_empty());
                output.map(|output| texts(&output.columns, 0))
            });
            (*at, answer)
        });
        let rows = versions(&transform.spec.targets[target], rows, timelines);
        outcome.versions.extend(rows.into_iter().map(|row| (target, row)));
    }
    Some(outcome)
}

/// Fills references, and decides who has which star key.
fn finish(
    transform: &StatefulTransform,
    mut outcomes: Vec<Outcome>,
    timelines: &Timelines,
    expected: &mut Expected,
) {
    let name = &transform.spec.name;
    // Smallest key first: it has what several give. The primary key is (sub, id).
    outcomes.sort_by(|a, b| (&a.key.1, a.key.0).cmp(&(&b.key.1, b.key.0)));
    let mut given: BTreeMap<(usize, Vec<String>), Vec<String>> = BTreeMap::new();
    let held = expected.held.entry(name.clone()).or_default();
    for Outcome { key, versions, current, mut waits } in outcomes {
        let mut rows = Vec::new();
        let mut is_whole = true;
        for (target, columns, row) in &current {
            let target_spec = &transform.spec.targets[*target];
            match referring(target_spec, columns, *row, timelines) {
                Ok(row) => rows.push((*target, row)),
                Err(Stop::Held) => (is_whole, waits) = (false, true),
                Err(Stop::Letter) => {
                    expected.letters.insert((name.clone(), shown(&key)));
                    (is_whole, waits) = (false, false);
                }
            }
        }
        if !is_whole {
            rows.clear();
        }
        rows.extend(versions);
        *held += u64::from(waits && rows.is_empty());
        for (target, row) in rows {
            let identity = transform.spec.targets[target].identity();
            let columns = transform.spec.targets[target].all_columns().zip(&row);
            let key = columns.filter(|(column, _)| identity.contains(&column.name));
            let key = key.map(|(_, value)| value.clone()).collect();
            given.entry((target, key)).or_insert(row);
        }
    }
    for ((target, _), row) in given {
        let table = transform.tables[target].physical_name();
        expected.views.entry(table).or_default().insert(row);
    }
}

fn table_number(name: &str) -> usize {
    name[1..].parse().expect("t and a number")
}

fn shown(key: &Key) -> String {
    key.1.as_ref().map_or(key.0.to_string(), |sub| format!("{}, {sub}", key.0))
}

pub(super) fn texts(columns: &[ArrayRef], row: usize) -> Vec<String> {
    columns.iter().map(|column| text(column, row)).collect()
}

fn inputs(
    transform: &StatefulTransform,
    tables: &[Rows],
    source: usize,
    key: &Key,
    row: &Row,
) -> Result<Vec<ArrayRef>, Stop> {
    let spec = &transform.spec;
    let mut columns = values(&spec.columns, Some((key, row)))?;
    let mut steps: Vec<Option<&Row>> = vec![Some(row)];
    let mut of_step = vec![source];
    for lookup in &spec.lookups {
        let on = lookup.on.iter().find(|on| !on.ends_with("_sub")).expect("r and a number");
        let (from, reference) = match on.split_once('.') {
            Some((earlier, reference)) => {
                (1 + earlier[1..].parse::<usize>().expect("l and a number"), reference)
            }
            None => (0, on.as_str()),
        };
        let reference: usize = reference[1..].parse().expect("r and a number");
        let to = table_number(lookup.table.table());
        let found = steps[from]
            .and_then(|row| row.references[reference].as_ref())
            .and_then(|key| tables[to].get_key_value(key));
        // Behind a row that is not there, only the policy for that row counts.
        match (steps[from], found, lookup.missing) {
            (Some(_), None, MissingPolicy::Hold) => return Err(Stop::Held),
            (Some(_), None, MissingPolicy::Reject) => return Err(Stop::Letter),
            _ => {}
        }
        columns.extend(values(&lookup.columns, found)?);
        steps.push(found.map(|(_, row)| row));
        of_step.push(to);
    }
    Ok(columns)
}

/// One value of each column; nulls where a lookup found nothing.
fn values(declared: &[InputColumn], found: Option<(&Key, &Row)>) -> Result<Vec<ArrayRef>, Stop> {
    let mut columns: Vec<ArrayRef> = Vec::new();
    // What cannot be read counts before what may not be null.
    let asks_big = declared.iter().any(|column| column.name == "big");
    if asks_big && found.is_some_and(|(_, row)| row.big.is_none()) {
        return Err(Stop::Letter);
    }
    for column in declared {
        let array: ArrayRef = match column.name.as_str() {
            "id" => Arc::new(Int64Array::from(vec![found.map(|(key, _)| key.0)])),
            "sub" => Arc::new(StringArray::from(vec![found.and_then(|(key, _)| key.1.clone())])),
            "v" => Arc::new(Int64Array::from(vec![found.and_then(|(_, row)| row.v)])),
            _ => Arc::new(StringArray::from(vec![found.and_then(|(_, row)| row.big.clone().flatten())])),
        };
        if found.is_some() && !column.nullable && array.null_count() > 0 {
            return Err(Stop::Letter);
        }
        columns.push(array);
    }
    Ok(columns)
}
