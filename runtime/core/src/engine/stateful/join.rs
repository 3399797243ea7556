//! The columns that a transform gets: a source row's own, and those of the rows
//! that its lookups find.
//!
//! Owns lookups, chains, missing policies, and the judgement of values that
//! cannot be read or may not be null. Does not own what the transform makes of
//! them (`evaluate`).
//!
//! Invariant: a row either has every column that it asks for, as declared, or
//! stops for one reason: the first, in the order of the declaration.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, BinaryArray, BinaryBuilder, UInt32Array};
use arrow::compute::take;

use super::EngineError;
use super::changes::{KeySet, Rows};
use super::events::rows_error;
use super::plan::{LookupPlan, Step, TransformPlan};
use super::record::{Cell, Known, Record};
use super::relation::Relation;
use crate::dead_letter::Stage;
use crate::engine::state::State;
use crate::reading::{RowFault, not_sent, null_in_required};
use crate::spec::{InputColumn, MissingPolicy};

/// Why a row gives no star row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// A lookup that it waits for finds nothing.
    Held,
    /// A dead letter.
    Failed(Failure),
}

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) stage: Stage,
    pub(super) code: String,
    pub(super) message: String,
}

/// Source rows, ready for the transform.
pub(super) struct Joined {
    /// Of each row.
    pub(super) stops: Vec<Option<Stop>>,
    /// Every input column, one value per row.
    pub(super) columns: Vec<ArrayRef>,
}

/// How to read rows, by relation.
pub(super) struct Tables<'a> {
    pub(super) relations: &'a [Relation],
    pub(super) rows: Vec<Rows<'a>>,
    pub(super) state: &'a dyn State,
}

/// The rows that a lookup found, each once.
struct Looked {
    /// For each source row, which of them.
    pick: UInt32Array,
    /// Of the references that later lookups go on from.
    references: BTreeMap<usize, Reference>,
}

/// The values of one reference; null where it has a null.
struct Reference {
    values: BinaryArray,
    /// Rows whose value is not known.
    unknown: Vec<u32>,
}

/// Cells of some rows.
struct Decoded {
    columns: Vec<ArrayRef>,
    faults: Vec<RowFault>,
    references: BTreeMap<usize, Reference>,
}

/// Joins source rows.
///
/// # Errors
/// If the store fails.
pub(super) fn join(
    plan: &TransformPlan,
    tables: &Tables<'_>,
    records: &[Record<'_>],
) -> Result<Joined, EngineError> {
    let relation = &tables.relations[plan.relation];
    let source = decode(relation, records, &plan.cells, &plan.spec.columns, references(plan, Step::Source))?;
    let mut stops: Vec<Option<Stop>> = vec![None; records.len()];
    let all: UInt32Array = (0..u32::try_from(records.len()).expect("a page of rows")).collect();
    stop_for_faults(&source.faults, &all, &mut stops);
    stop_for_nulls(&plan.spec.columns, &source.columns, None, &mut stops);
    let mut columns = source.columns;
    let mut steps = vec![Looked { pick: all, references: source.references }];
    for (number, lookup) in plan.lookups.iter().enumerate() {
        let from = match lookup.from {
            Step::Source => &steps[0],
            Step::Lookup(earlier) => &steps[earlier + 1],
        };
        let (looked, found_columns) = look_up(plan, number, lookup, tables, from, &mut stops)?;
        columns.extend(found_columns);
        steps.push(looked);
    }
    Ok(Joined { stops, columns })
}

/// References that some lookup takes from the rows of `step`.
fn references(plan: &TransformPlan, step: Step) -> Vec<usize> {
    let mut references: Vec<usize> =
        plan.lookups.iter().filter(|lookup| lookup.from == step).map(|lookup| lookup.reference).collect();
    references.sort_unstable();
    references.dedup();
    references
}

fn look_up(
    plan: &TransformPlan,
    number: usize,
    lookup: &LookupPlan,
    tables: &Tables<'_>,
    from: &Looked,
    stops: &mut [Option<Stop>],
) -> Result<(Looked, Vec<ArrayRef>), EngineError> {
    let declared = &plan.spec.lookups[number];
    let relation = &tables.relations[lookup.relation];
    let reference = &from.references[&lookup.reference];
    // Many rows look up the same one: it is read once.
    let mut distinct = KeySet::with_capacity(from.pick.len());
    let asked: Vec<Option<u32>> = from
        .pick
        .iter()
        .map(|row| row.map(|row| row as usize).filter(|row| reference.values.is_valid(*row)))
        .map(|row| row.map(|row| distinct.add(reference.values.value(row)).0))
        .collect();
    let (_, keys) = distinct.finish();
    let found = tables.rows[lookup.relation].find(tables.state, &keys)?;
    let mut places = vec![None; keys.len()];
    let mut records = Vec::with_capacity(keys.len());
    for (index, place) in places.iter_mut().enumerate() {
        if let Some(bytes) = found.get(index) {
            *place = Some(u32::try_from(records.len()).expect("a page of rows"));
            records.push(Record::parse(bytes));
        }
    }
    let pick: UInt32Array = asked.iter().map(|index| places[(*index)? as usize]).collect();
    let next = references(plan, Step::Lookup(number));
    let decoded = decode(relation, &records, &lookup.cells, &declared.columns, next)?;
    if !reference.unknown.is_empty() {
        stop_for_unknown(&declared.on, reference, &from.pick, stops);
    }
    if lookup.missing != MissingPolicy::Nulls && pick.null_count() > 0 {
        stop_for_missing(declared, &from.pick, &pick, stops);
    }
    stop_for_faults(&decoded.faults, &pick, stops);
    let columns = decoded
        .columns
        .iter()
        .map(|column| take(column, &pick, None).map_err(|source| rows_error(relation, source)))
        .collect::<Result<Vec<_>, _>>()?;
    stop_for_nulls(&declared.columns, &columns, Some(&pick), stops);
    Ok((Looked { pick, references: decoded.references }, columns))
}

fn decode(
    relation: &Relation,
    records: &[Record<'_>],
    cells: &[usize],
    declared: &[InputColumn],
    references: Vec<usize>,
) -> Result<Decoded, EngineError> {
    let mut of_cell: Vec<Option<Vec<Cell<'_>>>> = vec![None; relation.cells()];
    for cell in cells.iter().copied().chain(references.iter().map(|r| relation.reference_cell(*r))) {
        of_cell[cell] = Some(Vec::with_capacity(records.len()));
    }
    for record in records {
        for (cell, wanted) in record.cells().zip(&mut of_cell) {
            if let Some(values) = wanted {
                values.push(cell);
            }
        }
    }
    let of = |cell: usize| of_cell[cell].as_deref().unwrap_or_default();
    let mut faults = Vec::new();
    let mut columns = Vec::with_capacity(cells.len());
    for (position, (cell, declared)) in cells.iter().zip(declared).enumerate() {
        let null = &relation.nulls[*cell];
        let values = of(*cell).iter().map(|cell| cell.value().unwrap_or(null));
        columns.push(relation.decode(*cell, values).map_err(|source| rows_error(relation, source))?);
        let unread = of(*cell).iter().enumerate().filter(|(_, cell)| cell.known != Known::Value);
        faults.extend(unread.map(|(row, cell)| fault(row, position, declared, cell)));
    }
    let references = references.into_iter().map(|number| {
        let cells = of(relation.reference_cell(number));
        (number, reference(cells))
    });
    Ok(Decoded { references: references.collect(), columns, faults })
}

fn fault(row: usize, position: usize, declared: &InputColumn, cell: &Cell<'_>) -> RowFault {
    if cell.known != Known::Fault {
        return not_sent(row, position, declared);
    }
    let text = String::from_utf8_lossy(cell.bytes);
    let (code, message) = text.split_once('\0').unwrap_or(("unreadable", &text));
    RowFault { row, column: position, code: known_code(code), message: message.to_owned() }
}

/// The codes of `reading`.
fn known_code(code: &str) -> &'static str {
    ["out-of-range", "inexact", "ambiguous"].into_iter().find(|known| *known == code).unwrap_or("unreadable")
}

fn reference(cells: &[Cell<'_>]) -> Reference {
    let mut values = BinaryBuilder::with_capacity(cells.len(), cells.len() * 9);
    let mut unknown = Vec::new();
    for (row, cell) in (0_u32..).zip(cells) {
        values.append_option(cell.value());
        if matches!(cell.known, Known::Nowhere | Known::Fault) {
            unknown.push(row);
        }
    }
    Reference { values: values.finish(), unknown }
}

fn stop(stops: &mut [Option<Stop>], row: usize, reason: impl FnOnce() -> Stop) {
    if stops[row].is_none() {
        stops[row] = Some(reason());
    }
}

fn failed(code: &str, message: String) -> Stop {
    Stop::Failed(Failure { stage: Stage::Read, code: code.to_owned(), message })
}

/// `pick` says which row each source row has.
fn stop_for_faults(faults: &[RowFault], pick: &UInt32Array, stops: &mut [Option<Stop>]) {
    if faults.is_empty() {
        return;
    }
    let mut first: BTreeMap<usize, &RowFault> = BTreeMap::new();
    for fault in faults {
        first.entry(fault.row).or_insert(fault);
    }
    for (row, picked) in pick.iter().enumerate() {
        if let Some(fault) = picked.and_then(|picked| first.get(&(picked as usize))) {
            stop(stops, row, || failed(fault.code, fault.message.clone()));
        }
    }
}

/// `pick`: where a lookup found nothing, nulls stand for the row and not for a
/// value of it.
fn stop_for_nulls(
    declared: &[InputColumn],
    columns: &[ArrayRef],
    pick: Option<&UInt32Array>,
    stops: &mut [Option<Stop>],
) {
    for (position, (declared, column)) in declared.iter().zip(columns).enumerate() {
        if declared.nullable || column.null_count() == 0 {
            continue;
        }
        let null = |row: &usize| column.is_null(*row) && pick.is_none_or(|pick| pick.is_valid(*row));
        for row in (0..column.len()).filter(null) {
            stop(stops, row, || {
                let fault = null_in_required(row, position, declared);
                failed(fault.code, fault.message)
            });
        }
    }
}

/// `from`: where there is no row to look up from, the lookup of that row has
/// had its say.
fn stop_for_missing(
    declared: &crate::spec::Lookup,
    from: &UInt32Array,
    pick: &UInt32Array,
    stops: &mut [Option<Stop>],
) {
    for row in (0..pick.len()).filter(|row| pick.is_null(*row) && from.is_valid(*row)) {
        stop(stops, row, || match declared.missing {
            MissingPolicy::Reject => failed(
                "lookup-missing",
                format!(
                    "lookup {}: there is no row of {} for {}; it is tried again when there is one",
                    declared.name,
                    declared.table,
                    declared.on.join(", ")
                ),
            ),
            MissingPolicy::Hold | MissingPolicy::Nulls => Stop::Held,
        });
    }
}

fn stop_for_unknown(on: &[String], reference: &Reference, pick: &UInt32Array, stops: &mut [Option<Stop>]) {
    for (row, picked) in pick.iter().enumerate() {
        if picked.is_some_and(|picked| reference.unknown.binary_search(&picked).is_ok()) {
            stop(stops, row, || {
                failed(
                    "unavailable",
                    format!(
                        "{}: the value was not sent, because the update did not change it (TOAST); give the table \
                 REPLICA IDENTITY FULL",
                        on.join(", ")
                    ),
                )
            });
        }
    }
}
