//! Where the star goes on after a start: what it says of itself, and what
//! follows from that.
//!
//! Owns the decisions of a start that lose or double rows when they are wrong:
//! whose rows are brought up from the lake, from which position events are
//! needed, whether row state can be trusted. Does not own reading or writing
//! what they rest on (`_dabi_epochs`, the lake, the state store).
//!
//! Invariant: no event at or above a position that is given here is taken to be
//! in the star.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::fold::Truncates;
use crate::position::Position;
use crate::table::SourceTable;
use crate::version::{Epoch, Term, Version};

/// What the star is after an epoch: a row of `_dabi_epochs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochRecord {
    /// Whose epoch.
    pub pipeline: String,
    /// Its term.
    pub term: Term,
    /// Its number; 0 for the record by which a term takes the star over.
    pub epoch: Epoch,
    /// Everything below is in the star.
    pub position: Position,
    /// SHA-256 of each running transform's module, by its name.
    pub modules: BTreeMap<String, String>,
    /// Known truncates by source table.
    pub truncates: BTreeMap<String, Truncates>,
    /// Work that is not done, for which the star is not claimed to be right.
    pub open_work: Vec<String>,
}

impl EpochRecord {
    /// The version of the rows that the epoch wrote.
    #[must_use]
    pub fn version(&self) -> Version {
        Version::new(self.term, self.epoch)
    }

    /// The record by which `term` takes the star of `pipeline` over, to go on as
    /// `start` says with `transforms`. It is to stand before anything of the term
    /// does; else, if this owner ends early and an older one wakes up, the older
    /// one's next record would be believed, though rows of this term outrank what
    /// it wrote.
    ///
    /// It says what `last` said, but names no module that is given events from
    /// before: until all of them are through, whenever this owner ends, its rows
    /// stand above later ones.
    #[must_use]
    pub fn takeover(
        pipeline: &str,
        term: Term,
        last: Option<&Self>,
        start: &StatelessStart,
        transforms: &[Running<'_>],
    ) -> Self {
        let nothing = || Self {
            pipeline: pipeline.to_owned(),
            term,
            epoch: Epoch(0),
            position: Position::default(),
            modules: BTreeMap::new(),
            truncates: BTreeMap::new(),
            open_work: Vec::new(),
        };
        let mut record = last.map_or_else(nothing, |last| Self { term, epoch: Epoch(0), ..last.clone() });
        let reads_again = !start.position.covers(&record.position);
        for (running, bring_up) in transforms.iter().zip(&start.transforms) {
            if reads_again || *bring_up == BringUp::Replay {
                record.modules.remove(running.name);
            }
        }
        record
    }
}

/// A transform without row state, as it is about to run.
#[derive(Clone, Copy, Debug)]
pub struct Running<'a> {
    /// Its name.
    pub name: &'a str,
    /// SHA-256 of its module.
    pub module: &'a str,
    /// Its source table.
    pub source: &'a SourceTable,
}

/// How the transforms without row state start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatelessStart {
    /// Events below it are in the star, once the replays are done.
    pub position: Position,
    /// What becomes of each transform, in the order given.
    pub transforms: Vec<BringUp>,
}

/// What a transform without row state needs before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BringUp {
    /// Its tables are its own: it goes on, and knows these truncates.
    GoOn(Truncates),
    /// Its tables are not, or not wholly: the lake's events of its source table
    /// go through it.
    Replay,
}

/// How `transforms` start on a star that says `record` of itself, beside a lake
/// that stands at `lake`.
///
/// A stateless target can be brought up in place: each key of the lake gets a
/// row or a tombstone of a higher version than any it had.
#[must_use]
pub fn stateless(
    record: Option<&EpochRecord>,
    lake: &Position,
    transforms: &[Running<'_>],
) -> StatelessStart {
    let nothing = Position::default();
    let position = record.map_or(&nothing, |record| &record.position);
    // It also lacks what the lake read of them.
    let lacks_partitions = lake.iter().any(|(topic, number, _)| position.get(topic, number).is_none());
    let bring_up = |running: &Running<'_>| {
        let known =
            record.filter(|record| record.modules.get(running.name).is_some_and(|m| m == running.module));
        match known {
            Some(record) if !lacks_partitions => {
                let truncates = record.truncates.get(&running.source.to_string());
                BringUp::GoOn(truncates.cloned().unwrap_or_default())
            }
            _ => BringUp::Replay,
        }
    };
    let transforms: Vec<BringUp> = transforms.iter().map(bring_up).collect();
    // Before the lake's first commit, a replay gives nothing, and all events are needed.
    let position = match (transforms.contains(&BringUp::Replay), lacks_partitions) {
        (false, _) => position.clone(),
        (true, true) => lake.clone(),
        // What the star has and the lake has not, nobody replays: it is read again.
        (true, false) => lake.meet(position),
    };
    StatelessStart { position, transforms }
}

/// Why row state that has applied everything below `applied` does not belong to
/// a star that says `record` of itself. It commits before the star is told, so
/// it is never behind.
#[must_use]
pub fn distrust(applied: &Position, record: Option<&EpochRecord>) -> Option<&'static str> {
    match record {
        None => Some("the warehouse does not know this pipeline"),
        // Taken over, and nothing else: there may be no row of it.
        Some(record) if record.epoch == Epoch(0) && record.position.is_empty() => {
            Some("the warehouse has nothing of this pipeline")
        }
        Some(record) if !applied.covers(&record.position) => Some("it is older than what the warehouse has"),
        Some(_) => None,
    }
}

/// From where on the star needs events: `stateless` is where the transforms
/// without row state stand, `stateful` where those with it do; `None` if there
/// are none of that kind.
#[must_use]
pub fn star_start(stateless: Option<&Position>, stateful: Option<&Position>) -> Position {
    match (stateless, stateful) {
        (Some(stateless), Some(stateful)) => stateless.meet(stateful),
        (Some(only), None) | (None, Some(only)) => only.clone(),
        (None, None) => Position::default(),
    }
}
