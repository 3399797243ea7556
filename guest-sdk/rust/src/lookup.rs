//! Rows that the host looks up beside a source row.
//!
//! Owns which field of a source row may hold one, and reading it. What a lookup
//! declares is `declare`.

use crate::bindings::Failure;
use crate::row::{Cursor, RowError, SourceRow};

/// A field with `#[lookup(on = "…")]`: a source row, or `Option` of one where
/// the host may find none.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be looked up",
    label = "not a row of a source table",
    note = "put #[derive(SourceRow)] and #[source(table = \"schema.table\")] on the struct; Option<…> of it is None \
            where no row is found"
)]
pub trait LookupField<'a>: Sized {
    /// The row.
    type Row: SourceRow<'a>;
    /// Is the field `None` where no row is found?
    const OPTIONAL: bool;
    /// The columns of a batch, ready to be read row by row.
    type Columns;

    /// Takes the row's columns from a batch.
    ///
    /// # Errors
    /// A column is missing or has another form than declared.
    fn open(batch: &mut Cursor<'a>) -> Result<Self::Columns, Failure>;

    /// The row found for source row `row`.
    ///
    /// # Errors
    /// A list that must hold no nulls holds one.
    fn read(columns: &Self::Columns, row: usize) -> Result<Self, RowError>;
}

impl<'a, R: SourceRow<'a>> LookupField<'a> for R {
    type Row = R;
    const OPTIONAL: bool = false;
    type Columns = R::Columns;

    fn open(batch: &mut Cursor<'a>) -> Result<R::Columns, Failure> {
        R::open(batch)
    }

    #[inline(always)]
    fn read(columns: &R::Columns, row: usize) -> Result<R, RowError> {
        R::read(columns, row)
    }
}

/// The columns of a row that may be missing, and where it is there.
pub struct Found<'a, C> {
    columns: C,
    validity: Option<&'a [u8]>,
}

impl<'a, R: SourceRow<'a>> LookupField<'a> for Option<R> {
    type Row = R;
    const OPTIONAL: bool = true;
    type Columns = Found<'a, R::Columns>;

    fn open(batch: &mut Cursor<'a>) -> Result<Self::Columns, Failure> {
        // A column that no row of the table has a null in is null where there
        // is no row. `declare::Lookup::of` has seen to it that there is one.
        let required = R::COLUMNS.iter().position(|column| !column.nullable);
        let validity = required.and_then(|position| batch.validity(position));
        Ok(Found { columns: R::open(batch)?, validity })
    }

    #[inline(always)]
    fn read(found: &Self::Columns, row: usize) -> Result<Self, RowError> {
        if crate::read::is_valid(found.validity, row) {
            R::read(&found.columns, row).map(Some)
        } else {
            Ok(None)
        }
    }
}
