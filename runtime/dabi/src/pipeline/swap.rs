//! Changing the transforms of a running star lane.
//!
//! Owns what happens between two epochs: which transform takes whose place,
//! and which of the rows in its tables are then its own. Does not own where new
//! transforms come from (`reload`) or how older rows are brought in (`fill`).
//!
//! Invariants: a change is applied between two epochs, never inside of one, so
//! each event goes through exactly one module; `_dabi_epochs` names a module
//! only once every row of its tables is its own, so that otherwise the next
//! start replays the lake through it.

use dabi_core::change::ChangeBatch;
use dabi_core::engine::Truncates;
use dabi_core::position::Position;
use dabi_core::star::TargetTable;
use dabi_core::version::{Epoch, Term};
use tokio::sync::oneshot;

use super::evaluate::LiveTransform;
use super::evaluator::Evaluator;
use super::open_letters::OpenLetters;
use super::retry::Taken;
use super::stateful::Unfit;
use super::status::now_ms;
use crate::transform::{Module, ModuleHash};

/// Which rows of a transform's tables are what its module would make of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coverage {
    /// All.
    Whole,
    /// Those of events since it was switched to; older ones are from the module before.
    Later,
    /// Those of events since it was switched to; older ones are on their way from the lake.
    Filling,
    /// Those of events since it was switched to; the others are evaluated once more, from row state.
    Reevaluating,
}

impl Coverage {
    /// What readers of the tables should know.
    pub(super) fn note(self) -> Option<String> {
        match self {
            Self::Whole => None,
            Self::Later => Some(format!(
                "rows from before {} are still under the previous version; restart to replay the lake",
                clock(now_ms())
            )),
            Self::Filling => Some("older rows are being brought in from the lake".to_owned()),
            Self::Reevaluating => Some("all rows are being evaluated once more".to_owned()),
        }
    }
}

/// The time of day of `at_ms`, UTC.
fn clock(at_ms: u64) -> String {
    let seconds = at_ms / 1000 % 86_400;
    format!("{:02}:{:02}:{:02} UTC", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// What is to change.
pub(super) enum Change {
    /// From now on events go through this transform, and no longer through
    /// another of the same entry.
    Replace { transform: Box<LiveTransform>, switched: oneshot::Sender<Switched> },
    /// From now on events, and then all rows once more, go through this module
    /// of a transform that needs row state.
    ReplaceStateful {
        entry: String,
        module: Module,
        tables: Vec<TargetTable>,
        switched: oneshot::Sender<Result<Switched, String>>,
    },
    /// No event goes through the transform of this entry any more.
    Retire { entry: String },
    /// Every row from before the switch is in its tables.
    Filled {
        entry: String,
        module: ModuleHash,
        /// Those of the events before the switch.
        truncates: Truncates,
        /// Likewise.
        letters: OpenLetters,
    },
    /// The source rows that have a dead letter of this transform are evaluated
    /// again; one without row state is given their events.
    RetryLetters { transform: String, events: Vec<ChangeBatch>, taken: oneshot::Sender<Taken> },
    /// It cannot make the rows from before the switch.
    Broken { entry: String, module: ModuleHash, reason: String },
}

/// Where a transform was switched to.
pub(super) struct Switched {
    /// The term of this run.
    pub(super) term: Term,
    /// The last epoch without it.
    pub(super) epoch: Epoch,
    /// The events below are not its own.
    pub(super) position: Position,
    /// Which rows of its tables are.
    pub(super) coverage: Coverage,
    /// What it took the place of.
    pub(super) replaced: Option<ModuleHash>,
}

impl Evaluator {
    /// Applies a change; call it between two epochs.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Replace { transform, switched } => {
                let done = self.replace(*transform);
                // The asker is gone only when the pipeline is being torn down.
                let _ = switched.send(done);
            }
            Change::ReplaceStateful { entry, module, tables, switched } => {
                let done = self.replace_stateful(&entry, &module, tables);
                let _ = switched.send(done);
            }
            Change::Retire { entry } => self.transforms.retain(|transform| transform.entry != entry),
            Change::Filled { entry, module, truncates, letters } => {
                let Some(transform) = self.live(&entry, module) else { return };
                transform.learn_truncates(&truncates);
                transform.letters.merge(letters);
                transform.coverage = Coverage::Whole;
                transform.holds_truncates_again = true;
            }
            Change::RetryLetters { transform, events, taken } => {
                let done = self.retry_letters(&transform, &events);
                let _ = taken.send(done);
            }
            Change::Broken { entry, module, reason } => {
                if let Some(transform) = self.live(&entry, module) {
                    transform.stopped = Some(reason);
                }
            }
        }
    }

    fn live(&mut self, entry: &str, module: ModuleHash) -> Option<&mut LiveTransform> {
        // It may have been replaced meanwhile.
        self.transforms.iter_mut().find(|live| live.entry == entry && live.module().hash() == module)
    }

    fn retry_letters(&mut self, name: &str, events: &[ChangeBatch]) -> Taken {
        if let Some(live) = self.transforms.iter().find(|live| live.spec().name == name) {
            if live.stopped.is_some() {
                return Taken::NotRunning;
            }
            let open = live.letters.still_open(live.spec(), events);
            if open.is_empty() {
                return Taken::NeedsEvents(live.spec().source.clone());
            }
            let retrying = open.len() as u64;
            self.retried.entry(name.to_owned()).or_default().extend(open);
            return Taken::Retrying(retrying);
        }
        let retrying = self.stateful.as_mut().and_then(|stateful| stateful.engine.retry_letters(name));
        retrying.map_or(Taken::NotRunning, Taken::Retrying)
    }

    fn replace_stateful(
        &mut self,
        entry: &str,
        module: &Module,
        tables: Vec<TargetTable>,
    ) -> Result<Switched, String> {
        let Some(stateful) = &mut self.stateful else { return Err(Unfit::untold().to_string()) };
        let replaced = stateful.replace(entry, module.clone(), tables).map_err(|unfit| unfit.to_string())?;
        // Told here and not by the asker, so that it comes before whatever the
        // next epoch tells of it: which may be that every row is evaluated.
        self.status.transform(entry, |report| {
            report.live(module, now_ms());
            report.note = Coverage::Reevaluating.note();
        });
        Ok(Switched {
            term: self.term,
            epoch: self.last,
            position: self.position.clone(),
            coverage: Coverage::Reevaluating,
            replaced: Some(replaced),
        })
    }

    fn replace(&mut self, mut new: LiveTransform) -> Switched {
        let old = self.transforms.iter().position(|live| live.entry == new.entry);
        let old = old.map(|index| self.transforms.remove(index));
        new.coverage = Coverage::Filling;
        if let Some(old) = &old
            && old.spec().source == new.spec().source
        {
            new.learn_truncates(&old.truncates);
            // Where changes are kept, letters are of another kind.
            if old.spec().keeps_changes() == new.spec().keeps_changes() {
                new.letters = old.letters.clone();
            }
            let has_older_rows =
                new.tables.iter().all(|table| old.tables.iter().any(|o| o.view_name() == table.view_name()));
            if has_older_rows && old.stopped.is_none() && old.coverage != Coverage::Filling {
                new.coverage = Coverage::Later;
            }
        }
        let coverage = new.coverage;
        // Told here and not by the asker, so that it comes before whatever the
        // next epoch tells of it.
        self.status.transform(&new.entry, |report| report.live(new.module(), now_ms()));
        self.transforms.push(new);
        Switched {
            term: self.term,
            epoch: self.last,
            position: self.position.clone(),
            coverage,
            replaced: old.map(|old| old.module().hash()),
        }
    }
}
