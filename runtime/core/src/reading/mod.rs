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
mod decimal;
mod fault;
mod hints;
mod list;
mod number;
mod sent;
mod temporal;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::fault::{Fault, shown};
use self::hints::{BytesText, DecimalText, Hints, remedy, wire_name};
use self::sent::{Faults, Sent, Source, primitive};
use crate::change::{CONNECT_NAME_KEY, ChangeBatch, Op, Wire, meta};
use crate::data_type::DataType;
use crate::spec::{BEFORE_PREFIX, ColumnSource, InputColumn, Spec};
use crate::table::SourceTable;
use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, AsArray, BooleanArray, BooleanBufferBuilder, NullBufferBuilder,
    StringArray, make_array, new_null_array,
};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{
    Date32Type, Decimal64Type, Decimal128Type, DurationMicrosecondType, Field, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType, UInt64Type,
};

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
        table: SourceTable,
        /// The column declared.
        column: String,
        /// Topic, partition and offset.
        place: String,
        /// The columns that there are.
        columns: Vec<String>,
    },
    /// Its wire type cannot be read as the declared type.
    #[error(
        "column {column} of table {table} is sent as {wire}, which cannot be read as {declared}; {remedy}"
    )]
    Mismatch {
        /// The source table.
        table: SourceTable,
        /// The column declared.
        column: String,
        /// What the wire has.
        wire: String,
        /// The declared type.
        declared: DataType,
        /// What to do.
        remedy: String,
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
    let called = batch.ops().map(|op| !matches!(op, Op::Delete | Op::Truncate)).collect::<BooleanBuffer>();
    let keyed = batch.ops().map(|op| op != Op::Truncate).collect::<BooleanBuffer>();
    let mut arrays = Vec::with_capacity(spec.columns.len());
    let mut faults = Vec::new();
    for (position, column) in spec.columns.iter().enumerate() {
        let is_key = spec.targets.iter().any(|target| {
            let passed = |c: &&crate::spec::TargetColumn| c.source == ColumnSource::Input(position);
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
/// If the column cannot be read at all, whatever its values.
pub fn read_column(
    batch: &ChangeBatch,
    position: usize,
    column: &InputColumn,
    rows: &BooleanBuffer,
) -> Result<Reading, ReadError> {
    let Some(found) = Found::new(batch, &column.name) else {
        return missing(batch, position, column, rows);
    };
    let source = found.source(Hints::of(column));
    let Some((array, unread)) = convert(&source, &column.data_type) else {
        return Err(ReadError::Mismatch {
            table: batch.table().clone(),
            column: column.name.clone(),
            wire: wire_name(&source),
            declared: column.data_type.clone(),
            remedy: remedy(&source, &column.data_type),
        });
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

fn missing(
    batch: &ChangeBatch,
    position: usize,
    column: &InputColumn,
    rows: &BooleanBuffer,
) -> Result<Reading, ReadError> {
    // no before-image was sent yet, or the column was not there yet
    if column.nullable || column.name.starts_with(BEFORE_PREFIX) {
        let array = new_null_array(&column.data_type.arrow(), batch.num_rows());
        let mut faults = BTreeMap::new();
        add_missing_values(column, &array, rows, &mut faults);
        let faults = faults.into_iter().map(|(row, fault)| fault.of(row, position, column)).collect();
        return Ok(Reading { array, faults });
    }
    Err(ReadError::Missing {
        table: batch.table().clone(),
        column: column.name.clone(),
        place: format!("{}[{}]@{}", batch.topic(), batch.partition(), batch.span().from),
        columns: batch.row_fields().iter().map(|field| field.name().clone()).collect(),
    })
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

/// Rows in which `column` was not sent (unchanged TOAST).
fn unavailable(batch: &ChangeBatch, column: &str) -> Vec<usize> {
    let lists = batch.meta(meta::UNAVAILABLE).as_list::<i32>();
    if lists.null_count() == lists.len() {
        return Vec::new();
    }
    let names = |row: usize| lists.is_valid(row).then(|| lists.value(row));
    (0..lists.len())
        .filter(|row| {
            names(*row).is_some_and(|names| names.as_string::<i32>().iter().flatten().any(|n| n == column))
        })
        .collect()
}

/// The array behind a name.
struct Found {
    array: ArrayRef,
    wire: Wire,
    name: Option<String>,
}

impl Found {
    fn new(batch: &ChangeBatch, name: &str) -> Option<Self> {
        match name {
            meta::OP => Some(Self::typed(Arc::new(letters(batch)))),
            meta::TS | meta::LSN => Some(Self::typed(batch.meta(name).clone())),
            _ => match name.strip_prefix(BEFORE_PREFIX) {
                Some(column) => {
                    let before = batch.before()?;
                    let (position, field) = before.fields().find(column)?;
                    Some(Self::field(field, with_nulls(before.column(position), before.nulls())))
                }
                None => {
                    let position = batch.row_fields().iter().position(|field| field.name() == name)?;
                    Some(Self::field(&batch.row_fields()[position], batch.row_columns()[position].clone()))
                }
            },
        }
    }

    fn typed(array: ArrayRef) -> Self {
        Self { array, wire: Wire::Typed, name: None }
    }

    fn field(field: &Field, array: ArrayRef) -> Self {
        let wire = Wire::of(field).unwrap_or(Wire::Typed);
        Self { array, wire, name: field.metadata().get(CONNECT_NAME_KEY).cloned() }
    }

    fn source(&self, mut hints: Hints) -> Source<'_> {
        if self.wire == Wire::Typed {
            // a string that stands for a decimal, in a schema, is a number
            hints.decimal = DecimalText::Number;
        }
        Source { array: &self.array, wire: self.wire, name: self.name.as_deref(), hints }
    }
}

fn letters(batch: &ChangeBatch) -> StringArray {
    let codes = batch.meta(meta::OP).as_dictionary::<Int8Type>();
    StringArray::from_iter(codes.downcast_dict::<StringArray>().into_iter().flatten())
}

/// A child of a struct is null where the struct is.
fn with_nulls(child: &ArrayRef, nulls: Option<&NullBuffer>) -> ArrayRef {
    let nulls = NullBuffer::union(child.nulls(), nulls);
    match child.to_data().into_builder().nulls(nulls).build() {
        Ok(data) => make_array(data),
        Err(_) => child.clone(),
    }
}

/// Reads a column as `declared`; `None` if none of its values could ever be.
fn convert(source: &Source<'_>, declared: &DataType) -> Option<(ArrayRef, Faults)> {
    if !source.readable(declared) {
        return None;
    }
    if is_as_declared(source, declared) {
        return Some((source.array.clone(), Vec::new()));
    }
    let hints = source.hints;
    let nanos = source.name == Some("io.debezium.time.NanoDuration");
    let mut faults = Vec::new();
    let f = &mut faults;
    let array: ArrayRef = match declared {
        DataType::Boolean => Arc::new(booleans(source, f)),
        DataType::Int16 => numbers::<Int16Type>(source, declared, f, |v| number::integer(v, hints)),
        DataType::Int32 => numbers::<Int32Type>(source, declared, f, |v| number::integer(v, hints)),
        DataType::Int64 => numbers::<Int64Type>(source, declared, f, |v| number::integer(v, hints)),
        DataType::Uint64 => numbers::<UInt64Type>(source, declared, f, |v| number::unsigned(v, hints)),
        DataType::Float32 => numbers::<Float32Type>(source, declared, f, |v| number::single(v, hints)),
        DataType::Float64 => numbers::<Float64Type>(source, declared, f, |v| number::double(v, hints)),
        DataType::Decimal { precision, scale } if *precision <= DataType::DECIMAL64_PRECISION_MAX => {
            numbers::<Decimal64Type>(source, declared, f, |v| {
                let value = decimal::decimal(v, *precision, *scale, hints)?;
                i64::try_from(value).map_err(|_| Fault::out_of_range(v, "it has more than 18 digits"))
            })
        }
        DataType::Decimal { precision, scale } => {
            numbers::<Decimal128Type>(source, declared, f, |v| decimal::decimal(v, *precision, *scale, hints))
        }
        DataType::Date => numbers::<Date32Type>(source, declared, f, temporal::date),
        DataType::Time => numbers::<Time64MicrosecondType>(source, declared, f, |v| temporal::time(v, hints)),
        DataType::Timestamp => {
            numbers::<TimestampMicrosecondType>(source, declared, f, |v| temporal::timestamp(v, hints))
        }
        DataType::TimestampTz => {
            numbers::<TimestampMicrosecondType>(source, declared, f, |v| temporal::timestamptz(v, hints))
        }
        DataType::Interval => {
            numbers::<DurationMicrosecondType>(source, declared, f, |v| temporal::interval(v, nanos))
        }
        DataType::Text => Arc::new(text::texts(source, f)),
        DataType::Json => Arc::new(text::jsons(source, f)),
        DataType::Bytes => Arc::new(text::bytes(source, f)),
        DataType::Uuid => Arc::new(text::uuids(source, f)),
        DataType::List(item) => Arc::new(list::lists(source, item, f)?),
    };
    faults.sort_by_key(|(row, _)| *row);
    Some((array, faults))
}

/// Whether the array is the reading, without a look at single values.
fn is_as_declared(source: &Source<'_>, declared: &DataType) -> bool {
    let array = source.array;
    if source.wire == Wire::Json || *array.data_type() != declared.arrow() {
        return false;
    }
    match declared {
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Float32
        | DataType::Float64
        | DataType::Text
        | DataType::Bytes => true,
        // slots of nulls are looked at too, and are zero where dabi wrote them
        DataType::Date => temporal::are_plain_dates(array.as_primitive::<Date32Type>().values()),
        DataType::Time => temporal::are_plain_times(array.as_primitive::<Time64MicrosecondType>().values()),
        DataType::Timestamp | DataType::TimestampTz => {
            temporal::are_plain_timestamps(array.as_primitive::<TimestampMicrosecondType>().values())
        }
        DataType::Decimal { .. }
        | DataType::Uint64
        | DataType::Json
        | DataType::Uuid
        | DataType::Interval
        | DataType::List(_) => false,
    }
}

fn numbers<T: ArrowPrimitiveType>(
    source: &Source<'_>,
    declared: &DataType,
    faults: &mut Faults,
    read: impl Fn(Sent<'_>) -> Result<T::Native, Fault>,
) -> ArrayRef {
    // the declared type only adds precision, scale or zone to T
    Arc::new(primitive::<T>(source, faults, read).with_data_type(declared.arrow()))
}

fn booleans(source: &Source<'_>, faults: &mut Faults) -> BooleanArray {
    let mut values = BooleanBufferBuilder::new(source.array.len());
    let mut nulls = NullBufferBuilder::new(source.array.len());
    source.visit(|sent| {
        let row = values.len();
        let value = sent.and_then(|v| number::boolean(v).map_err(|fault| faults.push((row, fault))).ok());
        values.append(value.unwrap_or_default());
        nulls.append(value.is_some());
    });
    BooleanArray::new(values.finish(), nulls.finish())
}
