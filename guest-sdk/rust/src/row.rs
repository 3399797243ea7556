//! A row in, rows out: what the macros implement, and the loop over a batch.

use std::slice;

use crate::answer::Answer;
use crate::bindings::types::{self, Applied, Batch, Failure, Spec};
use crate::declare::{self, InputColumn, Lookup, StarTable};

/// A row of a source table; `#[derive(SourceRow)]` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source row",
    label = "not a source row",
    note = "put #[derive(SourceRow)] and #[source(table = \"schema.table\")] on the struct"
)]
pub trait SourceRow<'a>: Sized {
    /// Source table, as `schema.table`.
    const TABLE: &'static str;
    /// Its primary key, for lookups; empty: named as in their `on`.
    const KEY: &'static [&'static str];
    /// Its columns that this struct reads, in the order of the fields.
    const COLUMNS: &'static [InputColumn];
    /// The rows looked up beside it, in the order of the fields.
    const LOOKUPS: &'static [Lookup];
    /// The columns of a batch, ready to be read row by row.
    type Columns;

    /// Takes the columns of `COLUMNS` from a batch, and those of each lookup.
    ///
    /// # Errors
    /// A column is missing or has another form than declared.
    fn open(batch: &mut Cursor<'a>) -> Result<Self::Columns, Failure>;

    /// One row.
    ///
    /// # Errors
    /// A list that must hold no nulls holds one.
    fn read(columns: &Self::Columns, row: usize) -> Result<Self, RowError>;
}

/// A row of a star table; `#[derive(StarRow)]` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a star row",
    label = "not a star row",
    note = "put #[derive(StarRow)] and #[star(table = \"name\")] on the struct"
)]
pub trait StarRow {
    /// The star table.
    const TABLE: StarTable;
    /// The columns while rows are written.
    type Builders;

    /// Empty columns with room for `rows`.
    fn builders(rows: usize) -> Self::Builders;
    /// Appends this row.
    fn write(self, builders: &mut Self::Builders);
    /// The computed columns, in order.
    fn finish(builders: Self::Builders) -> Vec<types::Column>;
}

/// Why a row is refused. dabi sets it aside as a dead letter and goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowError {
    /// Short and stable, to count by: `bad-date`.
    pub code: String,
    /// What is wrong with the row.
    pub message: String,
}

impl RowError {
    /// A refusal with a code to count by and a message to read.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

/// So that `?` works on any error; its code is `error`.
impl<E: std::error::Error> From<E> for RowError {
    fn from(error: E) -> Self {
        Self::new("error", error.to_string())
    }
}

/// The columns of a batch that are still to be opened.
pub struct Cursor<'a> {
    columns: slice::Iter<'a, types::Column>,
}

impl<'a> Cursor<'a> {
    /// The next column, opened by the type of its field.
    ///
    /// # Errors
    /// It is missing or has another form.
    pub fn next<C>(
        &mut self,
        name: &str,
        open: impl FnOnce(&'a types::Column) -> Option<C>,
    ) -> Result<C, Failure> {
        self.columns.next().and_then(open).ok_or_else(|| Failure {
            code: "wrong-column".into(),
            message: format!("column {name} is not in the batch in the form that was declared"),
        })
    }

    /// Which values of the column `ahead` of the next one are there.
    pub(crate) fn validity(&self, ahead: usize) -> Option<&'a [u8]> {
        self.columns.as_slice().get(ahead)?.validity.as_deref()
    }
}

/// The declaration of a transform, from the types of its function.
pub fn describe<R, A>(_: impl Fn(R) -> A, name: &str, version: &str) -> Spec
where
    R: SourceRow<'static>,
    A: Answer,
{
    declare::spec::<R, A>(name, version)
}

/// Applies a transform to each row of a batch.
///
/// # Safety
/// The values of text and json columns of `batch` must be UTF-8, as the
/// contract says: they are read as `str` without a check.
///
/// # Errors
/// The batch does not have the declared columns.
pub unsafe fn apply<'a, R, A>(transform: impl Fn(R) -> A, batch: &'a Batch) -> Result<Applied, Failure>
where
    R: SourceRow<'a>,
    A: Answer,
{
    let columns = R::open(&mut Cursor { columns: batch.columns.iter() })?;
    let mut sinks = A::sinks(batch.rows as usize);
    let mut errors = Vec::new();
    for row in 0..batch.rows {
        let written =
            R::read(&columns, row as usize).and_then(|source| transform(source).write(row, &mut sinks));
        if let Err(RowError { code, message }) = written {
            errors.push(types::RowError { row, code, message });
        }
    }
    Ok(Applied { outputs: A::outputs(sinks), errors })
}
