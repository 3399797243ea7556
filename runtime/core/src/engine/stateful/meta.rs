//! The engine's small state: everything that is not by key.
//!
//! Invariant: together with the spaces it is all that an engine knows. One that
//! is opened from it goes on exactly as the one that wrote it would have.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::calendar;
use crate::fold::primary::PrimaryOrder;
use crate::fold::{Truncate, Truncates};
use crate::position::Position;
use crate::table::SourceTable;

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Meta {
    /// What each space holds, by its number.
    pub(super) catalogue: Vec<String>,
    /// Everything below it is applied.
    pub(super) position: Position,
    pub(super) tables: BTreeMap<SourceTable, TableMeta>,
    /// By name.
    pub(super) transforms: BTreeMap<String, TransformMeta>,
    pub(super) sweeps: Vec<Sweep>,
    /// Fan-outs that are not done.
    pub(super) jobs: u64,
    /// The days of `dabi.calendar` that are applied.
    #[serde(default)]
    pub(super) calendar: Option<calendar::Span>,
}

/// What events have told of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TableMeta {
    /// Names of the key's columns, in their order; empty until the first event.
    pub(super) key: Vec<String>,
    /// The same in the order of the primary key, as events told it first.
    pub(super) primary: Vec<String>,
    pub(super) topics: Vec<String>,
    pub(super) truncates: Truncates,
    /// All that there ever were, where someone keeps versions: each ends some.
    pub(super) emptied: Vec<Truncate>,
}

/// Where a transform stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TransformMeta {
    /// Identity of the module that gave the outputs.
    pub(super) module: String,
    /// Why it was stopped, if it was.
    pub(super) stopped: Option<String>,
    /// Source rows that wait for a row that a lookup finds.
    pub(super) held: u64,
    /// Open dead letters.
    pub(super) letters: u64,
}

/// Work over a whole space, a page an epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sweep {
    pub(super) over: Swept,
    /// The last key that is done.
    pub(super) after: Option<Vec<u8>>,
    /// How many are done.
    pub(super) done: u64,
}

/// What is swept, and for what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Swept {
    /// Rows of a table, for those that a truncate covers.
    Truncated(SourceTable),
    /// Source rows with an outcome, to evaluate them again: those that are gone
    /// stand only there.
    Outcomes(String),
    /// Source rows, to evaluate them again; for a transform that keeps versions
    /// with those that are gone.
    Sources(String),
    /// Source rows with a dead letter, to evaluate them again.
    Letters(String),
}

impl TableMeta {
    /// The order in which its rows are compared.
    pub(super) fn order(&self) -> PrimaryOrder {
        PrimaryOrder::new(&self.key, &self.primary)
    }
}

impl Meta {
    pub(super) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("plain data with string keys")
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// Notes a truncate for those who keep versions; is it new?
    pub(super) fn empty(&mut self, table: &SourceTable, truncate: Truncate) -> bool {
        let emptied = &mut self.tables.entry(table.clone()).or_default().emptied;
        let is_new = !emptied.contains(&truncate);
        if is_new {
            emptied.push(truncate);
        }
        is_new
    }

    /// Moves to `position`, but back nowhere: what is read again is skipped.
    pub(super) fn advance(&mut self, position: &Position) {
        self.position.advance(position);
    }

    /// Begins a sweep, anew if it was under way.
    pub(super) fn sweep(&mut self, over: Swept) {
        self.sweeps.retain(|sweep| sweep.over != over);
        self.sweeps.push(Sweep { over, after: None, done: 0 });
    }
}

impl fmt::Display for Swept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(table) => write!(f, "truncate {table}"),
            Self::Outcomes(transform) => write!(f, "evaluate what {transform} gave before"),
            Self::Sources(transform) => write!(f, "evaluate all source rows of {transform}"),
            Self::Letters(transform) => write!(f, "retry dead letters of {transform}"),
        }
    }
}
