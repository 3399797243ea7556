//! The images of a row, its values in the order of a layout's columns.

use super::json::{self, Entries, Kind, Lexeme};
use super::layout::Layout;
use super::refusal::Fault;
use super::unavailable::is_placeholder;
use crate::change::Op;

/// One value for each column, absent where none was sent.
#[derive(Debug)]
pub(super) struct Images<'i, 'a> {
    /// the row: after the change, or for a delete before it
    pub(super) row: &'i mut [Lexeme<'a>],
    /// the row before the change, where `row` is not that
    pub(super) before: Option<&'i mut [Lexeme<'a>]>,
}

impl Images<'_, '_> {
    /// Makes nulls of placeholders, and gives the places of the row's columns
    /// that were not sent. The before-image is only cleared: `_unavailable`
    /// speaks of the row.
    pub(super) fn take_placeholders(&mut self, layout: &Layout, op: Op) -> Vec<usize> {
        let mut unavailable = Vec::new();
        for (place, value) in self.row.iter_mut().enumerate() {
            let missing = value.kind == Kind::Absent && op != Op::Delete;
            if missing || is_placeholder(*value, || layout.is_text(place)) {
                *value = Lexeme::NULL;
                unavailable.push(place);
            }
        }
        for (place, value) in self.before.iter_mut().flat_map(|before| before.iter_mut().enumerate()) {
            if is_placeholder(*value, || layout.is_text(place)) {
                *value = Lexeme::NULL;
            }
        }
        unavailable
    }
}

/// The values of `entries` by column; of repeated names the last counts.
///
/// # Errors
/// If one is no column, which only a row that contradicts its schema brings.
pub(super) fn scatter<'a>(layout: &Layout, entries: &Entries<'a>) -> Result<Vec<Lexeme<'a>>, Fault> {
    let mut values = vec![Lexeme::ABSENT; layout.columns.len()];
    let mut guess = 0;
    for (name, value) in entries {
        let place = layout.place(name, guess);
        let Some((place, at)) = place.and_then(|place| Some((place, values.get_mut(place)?))) else {
            let message = format!("the row has a column {name:?} that its schema does not have");
            return Err(Fault::new("bad-schema", message));
        };
        *at = *value;
        guess = place + 1;
    }
    Ok(values)
}

/// Takes values of the key's columns that the row lacks from the Kafka key.
pub(super) fn fill_key<'a>(layout: &Layout, key: &Entries<'a>, values: &mut [Lexeme<'a>]) {
    for place in &layout.key {
        let (Some(column), Some(value)) = (layout.columns.get(*place), values.get_mut(*place)) else {
            continue;
        };
        if value.is_null() {
            let sent = json::last(key, &column.name);
            *value = if sent.kind == Kind::Absent { *value } else { sent };
        }
    }
}
