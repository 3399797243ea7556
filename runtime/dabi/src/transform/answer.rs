//! An answer of a module, checked against its declaration and completed with
//! the columns that never entered it.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow::compute::{filter, take};
use dabi_core::spec::{ColumnSource, Spec, Target};

use super::bindings::v0_1::RawApplied;
use super::bindings::v0_1::lift::{self, Fault};
use super::instance::InputBatch;

/// Longer codes and messages of a module are cut.
const CODE_CHARS_MAX: usize = 64;
const MESSAGE_CHARS_MAX: usize = 4096;

/// What became of a batch.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// Rows by target; a target may stand here several times, or not at all.
    pub outputs: Vec<TargetRows>,
    /// Source rows without output rows, and why; in no order, each once.
    pub errors: Vec<RowError>,
}

/// Rows of one target.
#[derive(Clone, Debug)]
pub struct TargetRows {
    /// Position in `spec.targets`.
    pub target: usize,
    /// For each row the batch row that it comes from.
    pub origin: Vec<u32>,
    /// All columns of the target in their declared order, in the form of
    /// `DataType::arrow`; non-null columns hold no nulls. Those of as-of
    /// references are all null: the engine fills them.
    pub columns: Vec<ArrayRef>,
}

/// A source row that gave no output because it, or its output, is at fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// The row of the batch.
    pub row: u32,
    /// Short and stable, to count by.
    pub code: String,
    /// What is wrong.
    pub message: String,
}

impl Applied {
    /// Adds what became of the rows from `offset` on.
    pub(super) fn append(&mut self, mut other: Self, offset: u32) {
        for output in &mut other.outputs {
            output.origin.iter_mut().for_each(|row| *row += offset);
        }
        for error in &mut other.errors {
            error.row += offset;
        }
        self.outputs.append(&mut other.outputs);
        self.errors.append(&mut other.errors);
    }
}

/// Checks an answer and completes it.
///
/// # Errors
/// The answer as a whole is not what was declared.
pub(super) fn check_answer(spec: &Spec, input: &InputBatch, answer: RawApplied) -> Result<Applied, String> {
    let mut errors = BTreeMap::new();
    for error in answer.errors {
        if error.row as usize >= input.rows {
            return Err(format!("an error names row {} of {}", error.row, input.rows));
        }
        let (code, message) = (cut(error.code, CODE_CHARS_MAX), cut(error.message, MESSAGE_CHARS_MAX));
        errors.entry(error.row).or_insert((code, message));
    }
    let mut outputs = Vec::with_capacity(answer.outputs.len());
    for output in answer.outputs {
        let target = output.target as usize;
        let declared = spec
            .targets
            .get(target)
            .ok_or_else(|| format!("it names target {target} of {}", spec.targets.len()))?;
        if let Some(row) = output.origin.iter().find(|row| **row as usize >= input.rows) {
            return Err(format!("target {}: origin {row} of {} rows", declared.table, input.rows));
        }
        let mut faults = Vec::new();
        let columns = columns(declared, input, &output.origin, output.columns, &mut faults)
            .map_err(|cause| format!("target {}: {cause}", declared.table))?;
        for Fault { row, code, message } in faults {
            errors.entry(output.origin[row]).or_insert_with(|| (code.to_owned(), message));
        }
        outputs.push(TargetRows { target, origin: output.origin, columns });
    }
    if !errors.is_empty() {
        withdraw(&mut outputs, &errors)?;
    }
    let errors = errors.into_iter().map(|(row, (code, message))| RowError { row, code, message }).collect();
    Ok(Applied { outputs, errors })
}

/// All columns of a target: those computed as the module gave them, those
/// passed through gathered from the input.
fn columns(
    target: &Target,
    input: &InputBatch,
    origin: &[u32],
    computed: Vec<super::bindings::v0_1::RawColumn>,
    faults: &mut Vec<Fault>,
) -> Result<Vec<ArrayRef>, String> {
    let rows = origin.len();
    let wanted = target.columns.iter().filter(|column| column.source == ColumnSource::Computed).count();
    if computed.len() != wanted {
        return Err(format!("{} columns instead of {wanted}", computed.len()));
    }
    let gather = Gather::new(origin, input.rows);
    let mut computed = computed.into_iter();
    let mut columns = Vec::with_capacity(target.columns.len());
    for column in &target.columns {
        let array = match column.source {
            ColumnSource::Input(position) => {
                let source =
                    input.columns.get(position).ok_or_else(|| format!("no input column {position}"))?;
                gather.column(source)?
            }
            ColumnSource::AsOf(_) => {
                columns.push(new_null_array(&column.data_type.arrow(), rows));
                continue;
            }
            ColumnSource::Computed => {
                let raw = computed.next().ok_or("a column is missing")?;
                lift::column(&column.name, &column.data_type, rows, raw, faults)?
            }
        };
        if !column.nullable && array.null_count() > 0 {
            let nulls = (0..rows).filter(|&row| array.is_null(row)).map(|row| Fault {
                row,
                code: "unexpected-null",
                message: format!(
                    "column {} is null; declare it nullable (Option in Rust), or refuse such rows",
                    column.name
                ),
            });
            faults.extend(nulls);
        }
        columns.push(array);
    }
    Ok(columns)
}

/// Takes values of the input by the origin of the output rows.
enum Gather {
    /// every row gave one row, in order
    Same,
    Take(UInt32Array),
}

impl Gather {
    fn new(origin: &[u32], rows: usize) -> Self {
        let is_same =
            origin.len() == rows && origin.iter().zip(0..).all(|(origin, row): (&u32, u32)| *origin == row);
        if is_same { Self::Same } else { Self::Take(UInt32Array::from(origin.to_vec())) }
    }

    fn column(&self, source: &ArrayRef) -> Result<ArrayRef, String> {
        match self {
            Self::Same => Ok(source.clone()),
            Self::Take(origin) => take(source, origin, None).map_err(|error| error.to_string()),
        }
    }
}

/// A row with an error has no output rows, in any target.
fn withdraw(outputs: &mut [TargetRows], errors: &BTreeMap<u32, (String, String)>) -> Result<(), String> {
    for output in outputs {
        let keep: BooleanArray = output.origin.iter().map(|row| Some(!errors.contains_key(row))).collect();
        if keep.true_count() == keep.len() {
            continue;
        }
        for column in &mut output.columns {
            *column = filter(column, &keep).map_err(|error| error.to_string())?;
        }
        output.origin.retain(|row| !errors.contains_key(row));
    }
    Ok(())
}

fn cut(text: String, chars_max: usize) -> String {
    match text.char_indices().nth(chars_max) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}
