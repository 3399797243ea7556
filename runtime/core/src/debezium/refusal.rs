//! Why a record becomes no row.

use super::Skip;

/// The end of a record that is no change event.
#[derive(Debug)]
pub(super) enum Refusal {
    /// recognised, and nothing to store
    Skip(Skip),
    /// to the dead letters
    Fault(Fault),
}

/// What goes into the dead letter.
#[derive(Debug)]
pub(super) struct Fault {
    /// short and stable
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// How much of a value a message quotes.
const QUOTE_CHARS_MAX: usize = 80;

impl Fault {
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// The start of a value, for a message.
pub(super) fn quote(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(QUOTE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.into_owned(),
    }
}
