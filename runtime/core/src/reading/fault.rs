//! Why a single value cannot be read, in words that name value and remedy.

use std::borrow::Cow;

use super::RowFault;
use super::sent::Sent;
use crate::spec::InputColumn;

/// A value that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    code: &'static str,
    why: String,
}

impl Fault {
    pub(super) fn new(code: &'static str, why: String) -> Self {
        Self { code, why }
    }

    pub(super) fn unreadable(sent: Sent<'_>, why: &str) -> Self {
        Self::of_value("unreadable", sent, why)
    }

    pub(super) fn out_of_range(sent: Sent<'_>, why: &str) -> Self {
        Self::of_value("out-of-range", sent, why)
    }

    pub(super) fn inexact(sent: Sent<'_>, why: &str) -> Self {
        Self::of_value("inexact", sent, why)
    }

    fn of_value(code: &'static str, sent: Sent<'_>, why: &str) -> Self {
        Self::new(code, format!("{}: {why}", shown(&sent.text())))
    }

    pub(super) fn null_in_required() -> Self {
        Self::new("null-in-required", "null; declare the column as nullable".into())
    }

    pub(super) fn unavailable() -> Self {
        let why = "the value was not sent, because the update did not change it (TOAST); give the source \
                   table REPLICA IDENTITY FULL";
        Self::new("unavailable", why.into())
    }

    pub(super) fn batch_too_large() -> Self {
        Self::new("out-of-range", "the column's values are more than 2 GiB in one batch".into())
    }

    pub(super) fn of(self, row: usize, position: usize, column: &InputColumn) -> RowFault {
        let message = format!("column {} as {}: {}", column.name, column.data_type, self.why);
        RowFault { row, column: position, code: self.code, message }
    }
}

/// A value in a message: quoted, and cut where it is long.
pub(super) fn shown(value: &str) -> Cow<'_, str> {
    const CHARS_MAX: usize = 60;
    match value.char_indices().nth(CHARS_MAX) {
        None => format!("{value:?}").into(),
        Some((end, _)) => format!("{:?}… ({} bytes)", &value[..end], value.len()).into(),
    }
}
