//! Preflight: what of a source would make the star wrong, before anything runs.
//!
//! Owns the judgement of a connector's settings ([`judge_connector`]) and of the
//! first events ([`judge_events`]). Does not own where either comes from.
//!
//! What makes values or deletes wrong without a word is refused; what costs
//! something, or only might, is a warning.

mod connector;
mod events;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::Serialize;

pub use self::connector::judge_connector;
pub use self::events::{NO_KEY_REMEDY, judge_events};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// The star would be wrong.
    Refused,
    /// Something is lost or set aside, or might be.
    Warning,
}

/// Something about a source that stands in the way of a right star.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Where: a setting of a connector, a table, a column.
    pub place: String,
    /// What is wrong there.
    pub fault: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    fn refused(place: impl Into<String>, fault: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Refused, place: place.into(), fault: fault.into(), remedy: remedy.into() }
    }

    fn warning(place: impl Into<String>, fault: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::refused(place, fault, remedy) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Refused => "refused",
            Severity::Warning => "warning",
        };
        write!(f, "{severity}: {}: {}; {}", self.place, self.fault, self.remedy)
    }
}
