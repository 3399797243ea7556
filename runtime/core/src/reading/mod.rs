//! Reading wire columns as the types that a transform declares.
//!
//! Owns every conversion from what Debezium sends, with a schema or without, to
//! the one Arrow form of a declared type. Does not own decoding (`debezium`) or
//! what becomes of a row that cannot be read.
//!
//! Invariants: total, it never panics on data; and exact, a value is read as
//! what the source holds, or is a fault of its row. (A declared float is the
//! nearest float to the digits sent.) Reading depends on the value and the
//! declaration alone, never on the other rows of the batch.
//!
//! Where the wire gives the type, it decides. Where it does not, the declared
//! type decides, with these options of the input column:
//!
//! | option | values | says what |
//! |---|---|---|
//! | `unit` | `ms`, `us` (default), `ns` | integers that are times or timestamps count |
//! | `decimal` | `base64`, `string` (default: whichever the text can be; refused if both) | text that is a decimal holds |
//! | `bytes` | `base64` (default), `hex` | text that is bytes holds |
//!
//! The scale of a base64 decimal is the declared one; nothing on the wire could
//! contradict it.

mod calendar;
mod convert;
mod decimal;
mod fault;
mod hints;
mod list;
mod locate;
mod number;
mod sent;
mod temporal;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

pub(crate) use self::calendar::{date_text, parse_date};

use arrow::array::{Array, ArrayRef, new_null_array};
use arrow::buffer::BooleanBuffer;

use self::convert::convert;
use self::fault::{Fault, shown};
use self::hints::{BytesText, DecimalText, Hints, remedy, wire_name};
use self::locate::{Found, unavailable};
use self::sent::Faults;
use crate::change::{ChangeBatch, Op};
use crate::data_type::DataType;
use crate::spec::{BEFORE_PREFIX, ColumnSource, InputColumn, Spec, TargetColumn};
use crate::table::SourceTable;

/// A column in the form that its declaration asks for.
#[derive(Debug)]
pub struct Reading {
    /// One value per row of the batch, of the type [`DataType::arrow`]. Null
    /// where it was null, and where it could not be read.
    pub array: ArrayRef,
    /// Rows that cannot be evaluated, in row order, at most one per row.
    pub faults: Vec<RowFault>,
}

/// A row that cannot be evaluated, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowFault {
    /// Its position in the batch.
    pub row: usize,
    /// The position of the input column among those declared.
    pub column: usize,
    /// `null-in-required`, `unavailable`, `unreadable`, `out-of-range`,
    /// `inexact` or `ambiguous`
    pub code: &'static str,
    /// The column, the value, and what to do.
    pub message: String,
}

/// A column that no row of the batch can be read from.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The batch does not have it, and the declaration does not allow nulls.
    #[error(
        "table {table} has no column {column} at {place}; it has {}. If it was added or dropped since, \
         declare it as nullable",
        columns.join(", ")
    )]
    Missing {
        /// The source table.
        table: Box<SourceTable>,
        /// The column declared.
        column: Box<str>,
        /// Topic, partition and offset.
        place: Box<str>,
        /// The columns that there are.
        columns: Vec<String>,
    },
    /// Its wire type cannot be read as the declared type.
    #[error(
        "column {column} of table {table} is sent as {wire}, which cannot be read as {declared}; {remedy}"
    )]
    Mismatch {
        /// The source table.
        table: Box<SourceTable>,
        /// The column declared.
        column: Box<str>,
        /// What the wire has.
        wire: Box<str>,
        /// The declared type.
        declared: DataType,
        /// What to do.
        remedy: Box<str>,
    },
}

/// Reads every input column of `spec`: the arrays in the order of
/// `spec.columns`, and the faults in row order (several of one row follow each
/// other).
///
/// Faults are those of rows that the transform is called with; of deleted rows
/// only where the column is passed on into a target's key, which their
/// tombstones need.
///
/// # Errors
/// The first column that cannot be read at all.
pub fn read_columns(batch: &ChangeBatch, spec: &Spec) -> Result<(Vec<ArrayRef>, Vec<RowFault>), ReadError> {
    let called = batch.ops().map(|op| spec.is_called_for(op)).collect::<BooleanBuffer>();
    let keyed = match spec.keeps_changes() {
        true => called.clone(),
        false => batch.ops().map(|op| op != Op::Truncate).collect::<BooleanBuffer>(),
    };
    let mut arrays = Vec::with_capacity(spec.columns.len());
    let mut faults = Vec::new();
    for (position, column) in spec.columns.iter().enumerate() {
        let is_key = spec.targets.iter().any(|target| {
            let passed = |c: &&TargetColumn| c.source == ColumnSource::Input(position);
            target.columns.iter().filter(passed).any(|c| target.key.contains(&c.name))
        });
        let reading = read_column(batch, position, column, if is_key { &keyed } else { &called })?;
        arrays.push(reading.array);
        faults.extend(reading.faults);
    }
    faults.sort_by_key(|fault| fault.row);
    Ok((arrays, faults))
}

/// Reads one input column: of the row, or one of the pseudo-columns `_op`
/// (Debezium's letter), `_ts`, `_lsn`, `_before.<column>`. `position` is that of
/// the column among those declared; faults repeat it.
///
/// `rows` has a bit per row of the batch: whether its faults are wanted.
///
/// # Errors
/// If the column cannot be read at all, whatever its values. One that the batch
/// does not have is no error where no row's faults are wanted.
pub fn read_column(
    batch: &ChangeBatch,
    position: usize,
    column: &InputColumn,
    rows: &BooleanBuffer,
) -> Result<Reading, ReadError> {
    let Some((array, unread)) = converted(batch, column)? else {
        return missing(batch, position, column, rows);
    };
    let mut faults = BTreeMap::new();
    for row in unavailable(batch, &column.name) {
        faults.insert(row, Fault::unavailable());
    }
    for (row, fault) in unread {
        faults.entry(row).or_insert(fault);
    }
    add_missing_values(column, &array, rows, &mut faults);
    let faults = faults.into_iter().filter(|(row, _)| rows.value(*row));
    Ok(Reading { faults: faults.map(|(row, fault)| fault.of(row, position, column)).collect(), array })
}

/// Reads one input column for keeping, whoever may ask for it later: a null is
/// no fault, nor is a value that was not sent. `required`: someone who asks for
/// it does not take nulls.
///
/// # Errors
/// As [`read_column`].
pub(crate) fn read_kept(
    batch: &ChangeBatch,
    position: usize,
    column: &InputColumn,
    required: bool,
) -> Result<Reading, ReadError> {
    let Some((array, unread)) = converted(batch, column)? else {
        if required && !column.name.starts_with(BEFORE_PREFIX) {
            return Err(absent(batch, column));
        }
        let array = new_null_array(&column.data_type.arrow(), batch.num_rows());
        return Ok(Reading { array, faults: Vec::new() });
    };
    let faults = unread.into_iter().map(|(row, fault)| fault.of(row, position, column)).collect();
    Ok(Reading { array, faults })
}

/// What [`read_column`] says of a null in a column that does not allow it.
pub(crate) fn null_in_required(row: usize, position: usize, column: &InputColumn) -> RowFault {
    Fault::null_in_required().of(row, position, column)
}

/// What [`read_column`] says of a value that was not sent.
pub(crate) fn not_sent(row: usize, position: usize, column: &InputColumn) -> RowFault {
    Fault::unavailable().of(row, position, column)
}

/// The column in its declared type and what could not be read; `None` if the
/// batch does not have it.
fn converted(batch: &ChangeBatch, column: &InputColumn) -> Result<Option<(ArrayRef, Faults)>, ReadError> {
    let Some(found) = Found::new(batch, &column.name) else { return Ok(None) };
    let source = found.source(Hints::of(column));
    let Some(converted) = convert(&source, &column.data_type) else {
        return Err(ReadError::Mismatch {
            table: Box::new(batch.table().clone()),
            column: column.name.as_str().into(),
            wire: wire_name(&source).into(),
            declared: column.data_type.clone(),
            remedy: remedy(&source, &column.data_type).into(),
        });
    };
    Ok(Some(converted))
}

fn missing(
    batch: &ChangeBatch,
    position: usize,
    column: &InputColumn,
    rows: &BooleanBuffer,
) -> Result<Reading, ReadError> {
    // no before-image was sent yet, or the column was not there yet, or nobody
    // asks: a truncate of a table of which nothing else is known has no columns
    if column.nullable || column.name.starts_with(BEFORE_PREFIX) || rows.count_set_bits() == 0 {
        let array = new_null_array(&column.data_type.arrow(), batch.num_rows());
        let mut faults = BTreeMap::new();
        add_missing_values(column, &array, rows, &mut faults);
        let faults = faults.into_iter().map(|(row, fault)| fault.of(row, position, column)).collect();
        return Ok(Reading { array, faults });
    }
    Err(absent(batch, column))
}

fn absent(batch: &ChangeBatch, column: &InputColumn) -> ReadError {
    ReadError::Missing {
        table: Box::new(batch.table().clone()),
        column: column.name.as_str().into(),
        place: format!("{}[{}]@{}", batch.topic(), batch.partition(), batch.span().from).into(),
        columns: batch.row_fields().iter().map(|field| field.name().clone()).collect(),
    }
}

fn add_missing_values(
    column: &InputColumn,
    array: &ArrayRef,
    rows: &BooleanBuffer,
    faults: &mut BTreeMap<usize, Fault>,
) {
    if column.nullable || array.null_count() == 0 {
        return;
    }
    for row in rows.set_indices().filter(|row| array.is_null(*row)) {
        faults.entry(row).or_insert_with(Fault::null_in_required);
    }
}
