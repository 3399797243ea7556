//! Columns that never enter the module.

use std::fmt;
use std::marker::PhantomData;

use crate::bindings::types;
use crate::data_type::DataType;
use crate::value::Field;
use crate::write::StarField;

/// A column that the host fills, from the source row, from a row looked up
/// beside it, or with the key of a dimension's version: it is not computed, and
/// never enters the module.
///
/// `T` is the type of the column, [`passed`] the value to write.
pub struct Passed<T>(PhantomData<fn() -> T>);

/// The type of a column with `#[as_of]`: `Passed<VersionKey>`, or
/// `Passed<Option<VersionKey>>` where no version may be valid.
///
/// It equals the `version_key` of one row of the dimension.
pub type VersionKey = u64;

/// The value of a [`Passed`] field.
#[must_use]
pub const fn passed<T>() -> Passed<T> {
    Passed(PhantomData)
}

impl<T> Clone for Passed<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Passed<T> {}

impl<T> Default for Passed<T> {
    fn default() -> Self {
        passed()
    }
}

impl<T> PartialEq for Passed<T> {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl<T> Eq for Passed<T> {}

impl<T> fmt::Debug for Passed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("passed")
    }
}

impl<T: Field> StarField for Passed<T> {
    const TYPE: DataType = T::TYPE;
    const NULLABLE: bool = T::NULLABLE;
    const PASSED: bool = true;
    type Builder = ();

    fn builder(_: usize) {}

    fn write(self, (): &mut ()) {}

    fn finish((): ()) -> Option<types::Column> {
        None
    }
}
