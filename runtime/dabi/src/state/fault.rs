//! Why a store cannot be opened.
//!
//! Owns the difference that matters: what is damaged is built anew from the lake,
//! what the system refuses is for a person to look at.

use std::fmt::Display;
use std::io;
use std::path::Path;

use dabi_core::engine::state::StateError;

/// Why a store cannot be opened.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is not, or not wholly, what was committed.
    Damaged(String),
    /// It may be whole, but it cannot be read or written now.
    Failed(StateError),
}

impl Fault {
    /// `error` stopped `action` on `path`. A file that is not there, or ends too
    /// early, is damage: the store names its files itself.
    pub(super) fn io(action: &str, path: &Path, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Damaged(format!("{} is missing", path.display())),
            io::ErrorKind::UnexpectedEof => Self::Damaged(format!("{} is too short", path.display())),
            _ => Self::Failed(failed(&format!("{action} {}", path.display()), error)),
        }
    }

    /// Where damage cannot be answered by building anew.
    pub(super) fn into_error(self) -> StateError {
        match self {
            Self::Damaged(what) => failed("open", &what),
            Self::Failed(error) => error,
        }
    }

    pub(super) fn damaged(path: &Path, what: impl Display) -> Self {
        Self::Damaged(format!("{}: {what}", path.display()))
    }
}

impl From<StateError> for Fault {
    fn from(error: StateError) -> Self {
        Self::Failed(error)
    }
}

pub(super) fn failed(action: &str, cause: &dyn Display) -> StateError {
    StateError { action: action.to_owned(), cause: cause.to_string() }
}
