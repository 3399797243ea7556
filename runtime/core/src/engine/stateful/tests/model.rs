//! The naive model: everything is computed anew from the fold of all events.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::super::{StatefulTransform, Transforms};
use super::warehouse::View;
use super::world::{Key, Schema};
use crate::change::{ChangeBatch, meta};
use crate::fold::Fold;
use crate::spec::{InputColumn, MissingPolicy};

/// What the star is to be.
#[derive(Default)]
pub(super) struct Expected {
    pub(super) views: BTreeMap<String, View>,
    pub(super) letters: BTreeSet<(String, String)>,
    pub(super) held: BTreeMap<String, u64>,
}

/// A row of the fold. `big` is `None` where nothing that was sent has it.
struct Row {
    v: Option<i64>,
    big: Option<Option<String>>,
    references: Vec<Option<Key>>,
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
enum Stop {
    Held,
    Letter,
}

/// What the star is, by the definition.
pub(super) fn expected(
    schema: &Schema,
    folds: &[Fold],
    transforms: &[StatefulTransform],
    native: &dyn Transforms,
) -> Expected {
    let tables: Vec<Rows> =
        folds.iter().enumerate().map(|(number, fold)| rows(schema, number, fold)).collect();
    let mut expected = Expected::default();
    for (number, transform) in transforms.iter().enumerate() {
        let name = &transform.spec.name;
        let source = table_number(transform.spec.source.table());
        let held = expected.held.entry(name.clone()).or_default();
        // Smallest key first: it has what several give.
        let mut given: BTreeMap<(usize, Vec<String>), Vec<String>> = BTreeMap::new();
        for (key, row) in &tables[source] {
            let letter = (name.clone(), shown(key));
            match inputs(transform, &tables, source, key, row) {
                Err(Stop::Held) => *held += 1,
                Err(Stop::Letter) => drop(expected.letters.insert(letter)),
                Ok(columns) => {
                    let applied = native.apply(number, 1, &columns).expect("it never stops");
                    if !applied.errors.is_empty() {
                        expected.letters.insert(letter);
                    }
                    for output in applied.outputs {
                        let target = &transform.spec.targets[output.target];
                        for place in 0..output.origin.len() {
                            let row = texts(&output.columns, place);
                            let key = target.columns.iter().zip(&row);
                            let key = key.filter(|(column, _)| target.key.contains(&column.name));
                            let key = key.map(|(_, value)| value.clone()).collect();
                            given.entry((output.target, key)).or_insert(row);
                        }
                    }
                }
            }
        }
        for ((target, _), row) in given {
            let table = transform.tables[target].physical_name();
            expected.views.entry(table).or_default().insert(row);
        }
    }
    expected
}

fn table_number(name: &str) -> usize {
    name[1..].parse().expect("t and a number")
}

fn shown(key: &Key) -> String {
    key.1.as_ref().map_or(key.0.to_string(), |sub| format!("{}, {sub}", key.0))
}

fn texts(columns: &[ArrayRef], row: usize) -> Vec<String> {
    let options = FormatOptions::default().with_null("∅");
    let text = |column: &ArrayRef| {
        ArrayFormatter::try_new(column.as_ref(), &options).expect("shown").value(row).to_string()
    };
    columns.iter().map(text).collect()
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
