//! Opening a store that is there.
//!
//! Owns which files make a whole store. Does not own what is in them (`log`,
//! `checkpoint`).
//!
//! Invariant: what is opened is exactly what was committed last, or the damage is
//! named. The newest checkpoint and every log from it on must be there; the last
//! log alone may end with a frame that was never finished; nothing ends before
//! the mark, or before what the checkpoint may hold.

use dabi_core::engine::state::Committed;
use dabi_core::version::Version;

use super::super::fault::Fault;
use super::super::folder::{Folder, Mark, StoreId};
use super::super::standing::Standing;
use super::checkpoint;
use super::log::{self, Ending, EpochRecord, Log, Replayed};
use super::{Entries, LoggedState, Tip};

impl<E: Entries> LoggedState<E> {
    /// Opens what is there; gives the folder back where it cannot be used.
    pub(in crate::state) fn open(
        folder: Folder,
        store: StoreId,
        settings: &E::Settings,
        log_bytes_min: u64,
    ) -> Result<Self, (Fault, Folder)> {
        match recover(&folder, store, settings) {
            Ok(Recovered { entries, standing, log, base, mark }) => {
                let (checkpoint, broken) = (None, None);
                Ok(Self {
                    entries,
                    standing,
                    log,
                    base,
                    checkpoint,
                    mark,
                    store,
                    log_bytes_min,
                    folder,
                    broken,
                })
            }
            Err(fault) => Err((fault, folder)),
        }
    }
}

struct Recovered<E> {
    entries: E,
    standing: Standing,
    log: Log,
    base: u32,
    mark: Mark,
}

/// The numbers of the files in the folder, ascending.
struct Contents {
    logs: Vec<u32>,
    checkpoints: Vec<u32>,
    drafts: Vec<u32>,
}

fn recover<E: Entries>(
    folder: &Folder,
    store: StoreId,
    settings: &E::Settings,
) -> Result<Recovered<E>, Fault> {
    let contents = Contents::list(folder)?;
    let base = contents.checkpoints.last().copied().unwrap_or_default();
    let (mut entries, mut standing, tip, through) = match base {
        0 => {
            (E::open(folder.path(), settings, None)?, Standing::default(), Tip::default(), Version::default())
        }
        base => {
            let path = checkpoint::path(folder.path(), base);
            let opened = checkpoint::Opened::open(&path, base, store)?;
            (
                E::open(folder.path(), settings, Some(&opened.base()))?,
                opened.standing,
                opened.tip,
                opened.through,
            )
        }
    };
    let through = through.max(entries.through());
    let (last, replayed) = replay(folder, store, &contents.logs_from(base)?, tip, |version, record| {
        entries.apply(version, record.changes)?;
        standing.pass(version, record.sent, record.meta.to_vec(), record.outbox.to_vec());
        Ok(())
    })?;
    let (mark, version, chain) = Mark::open(folder)?;
    let is_behind = replayed.tip.version < version.max(through);
    let is_other = replayed.tip.version == version && replayed.tip.chain != chain;
    if is_behind || is_other {
        let found = standing.committed.as_ref().map_or_else(|| "no epoch".to_owned(), describe);
        return Err(Fault::damaged(folder.path(), format_args!("{found} is found, but more was committed")));
    }
    let log = replayed.reopen(folder.files(), folder.path(), last)?;
    mark.set(log.tip.version, log.tip.chain)
        .map_err(|error| Fault::io("write the mark in", folder.path(), &error))?;
    contents.remove_leftovers(folder, base)?;
    Ok(Recovered { entries, standing, log, base, mark })
}

fn describe(committed: &Committed) -> String {
    format!("epoch {} of term {}", committed.epoch, committed.term)
}

/// Reads `logs` one after the other; gives the last one's number and end.
fn replay(
    folder: &Folder,
    store: StoreId,
    logs: &[u32],
    mut tip: Tip,
    mut each: impl FnMut(Version, EpochRecord<'_>) -> Result<(), Fault>,
) -> Result<(u32, Replayed), Fault> {
    let (mut at, mut bytes) = (0, 0);
    loop {
        let number = logs[at];
        let path = log::path(folder.path(), number);
        let mut replayed = log::replay(&path, number, store, tip, &mut each)?;
        tip = replayed.tip;
        bytes += replayed.whole_bytes;
        replayed.all_bytes = bytes;
        at += 1;
        match (&replayed.ending, logs.get(at)) {
            (Ending::Sealed, Some(_)) => {}
            (Ending::Open, None) => return Ok((number, replayed)),
            (Ending::Sealed, None) => {
                return Err(Fault::damaged(&path, "the log that follows it is missing"));
            }
            // the crash came after the next log was made, before this one was sealed
            (Ending::Open, Some(next)) if logs.len() == at + 1 => {
                let next = log::path(folder.path(), *next);
                if !log::is_unused(&next, store)? {
                    return Err(Fault::damaged(&path, "its end is missing"));
                }
                folder.files().remove(&next).map_err(|error| Fault::io("remove", &next, &error))?;
                return Ok((number, replayed));
            }
            (Ending::Open, Some(_)) => return Err(Fault::damaged(&path, "its end is missing")),
        }
    }
}

impl Contents {
    fn list(folder: &Folder) -> Result<Self, Fault> {
        let names = folder.names()?;
        let numbers = |prefix: &str, suffix: &str| {
            let number = |name: &String| name.strip_prefix(prefix)?.strip_suffix(suffix)?.parse().ok();
            let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
            numbers.sort_unstable();
            numbers
        };
        Ok(Self {
            logs: numbers("log-", ""),
            checkpoints: numbers("checkpoint-", ""),
            drafts: numbers("checkpoint-", ".tmp"),
        })
    }

    /// The logs that go on from checkpoint `base`, none missing in between.
    fn logs_from(&self, base: u32) -> Result<Vec<u32>, Fault> {
        let logs: Vec<u32> = self.logs.iter().copied().filter(|log| *log >= base).collect();
        let missing = (base..).zip(&logs).find_map(|(due, log)| (due != *log).then_some(due));
        match missing.or(logs.is_empty().then_some(base)) {
            Some(missing) => Err(Fault::Damaged(format!("log {missing} is missing"))),
            None => Ok(logs),
        }
    }

    /// Removes what a crash left behind: parts of a checkpoint, and what an older
    /// checkpoint needed.
    fn remove_leftovers(&self, folder: &Folder, base: u32) -> Result<(), Fault> {
        let logs = self.logs.iter().filter(|log| **log < base).map(|log| log::path(folder.path(), *log));
        let old = self.checkpoints.iter().filter(|checkpoint| **checkpoint < base);
        let old = old.map(|checkpoint| checkpoint::path(folder.path(), *checkpoint));
        let drafts = self.drafts.iter().map(|draft| checkpoint::draft_path(folder.path(), *draft));
        for path in logs.chain(old).chain(drafts) {
            folder.files().remove(&path).map_err(|error| Fault::io("remove", &path, &error))?;
        }
        Ok(())
    }
}
