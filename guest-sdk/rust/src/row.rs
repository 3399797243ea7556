//! A row in, a row out: what the macros implement, and the loop over a batch.

use crate::bindings::types::{self, Applied, Batch, Failure, Output, Spec};
use crate::declare::{self, InputColumn, StarColumn};

/// A row of a source table; `#[derive(SourceRow)]` implements it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a source row",
    label = "not a source row",
    note = "put #[derive(SourceRow)] and #[source(table = \"schema.table\")] on the struct"
)]
pub trait SourceRow<'a>: Sized {
    /// Source table, as `schema.table`.
    const TABLE: &'static str;
    /// Its columns that this struct reads, in the order of the fields.
    const COLUMNS: &'static [InputColumn];
    /// The columns of a batch, ready to be read row by row.
    type Columns;

    /// Takes the columns of `COLUMNS` from a batch.
    ///
    /// # Errors
    /// A column is missing or has another form than declared.
    fn open(columns: &'a [types::Column]) -> Result<Self::Columns, Failure>;

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
    note = "a transform returns a star row, Option<…> of one, or Result<…, RowError> of either",
    note = "put #[derive(StarRow)] and #[star(table = \"name\")] on the struct"
)]
pub trait StarRow {
    /// Name of the star table.
    const TABLE: &'static str;
    /// Its columns, in the order of the fields.
    const COLUMNS: &'static [StarColumn];
    /// Options of the table.
    const OPTIONS: &'static [(&'static str, &'static str)];
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

/// What a transform may return: a star row, perhaps none, perhaps a refusal.
#[diagnostic::on_unimplemented(
    message = "a transform cannot return `{Self}`",
    label = "not a star row, Option<…> of one, or Result<…, RowError> of either",
    note = "put #[derive(StarRow)] and #[star(table = \"name\")] on the struct that it returns"
)]
pub trait Answer {
    /// The star row.
    type Star: StarRow;

    /// The row, or none, or the refusal.
    ///
    /// # Errors
    /// The refusal of the row.
    fn into_row(self) -> Result<Option<Self::Star>, RowError>;
}

impl<S: StarRow> Answer for S {
    type Star = S;

    fn into_row(self) -> Result<Option<S>, RowError> {
        Ok(Some(self))
    }
}

impl<S: StarRow> Answer for Option<S> {
    type Star = S;

    fn into_row(self) -> Result<Option<S>, RowError> {
        Ok(self)
    }
}

impl<A: Answer, E: Into<RowError>> Answer for Result<A, E> {
    type Star = A::Star;

    fn into_row(self) -> Result<Option<A::Star>, RowError> {
        self.map_err(Into::into)?.into_row()
    }
}

/// The declaration of a transform, from the types of its function.
pub fn describe<R, A>(_: impl Fn(R) -> A, name: &str, version: &str) -> Spec
where
    R: SourceRow<'static>,
    A: Answer,
{
    declare::spec::<R, A::Star>(name, version)
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
    let columns = R::open(&batch.columns)?;
    let rows = batch.rows as usize;
    let mut star = A::Star::builders(rows);
    let mut origin = Vec::with_capacity(rows);
    let mut errors = Vec::new();
    for row in 0..batch.rows {
        match R::read(&columns, row as usize).and_then(|source| transform(source).into_row()) {
            Ok(Some(row_out)) => {
                row_out.write(&mut star);
                origin.push(row);
            }
            Ok(None) => {}
            Err(RowError { code, message }) => errors.push(types::RowError { row, code, message }),
        }
    }
    let columns = A::Star::finish(star);
    Ok(Applied { outputs: vec![Output { target: 0, origin, columns }], errors })
}

/// The column at `position`, opened by the type of its field.
///
/// # Errors
/// It is missing or has another form.
pub fn open<'a, C>(
    columns: &'a [types::Column],
    position: usize,
    name: &str,
    open: impl FnOnce(&'a types::Column) -> Option<C>,
) -> Result<C, Failure> {
    columns.get(position).and_then(open).ok_or_else(|| Failure {
        code: "wrong-column".into(),
        message: format!("column {name} is not in the batch in the form that was declared"),
    })
}
