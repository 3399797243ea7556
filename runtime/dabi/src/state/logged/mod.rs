//! A store with an epoch log.
//!
//! Owns what makes an epoch durable and atomic, whatever holds the entries: the
//! log, checkpoints, recovery. Does not own the entries (`Entries`: the map in
//! `memory`, fjall in `lsm`), the folder (`folder`), or which store is used
//! (`state`).
//!
//! Invariants: an epoch is visible once it is durable; a commit that failed ends
//! all use of the store, because the entries may be ahead of the log; what is
//! deleted from disk is in a checkpoint that is durable and named.

mod checkpoint;
mod log;
mod recovery;

use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::Path;

use arrow::array::{BinaryArray, BinaryBuilder};
use dabi_core::engine::state::{Commit, Committed, Members, Space, State, StateError, StateSize, Unsent};
use dabi_core::version::{Epoch, Version};

use self::checkpoint::Checkpoint;
use self::log::{EpochRecord, Log};
use super::change;
use super::fault::{Fault, failed};
use super::folder::{Folder, Mark, StoreId};
use super::frame::{Chain, Draft, Frame};
use super::standing::Standing;
use super::{Identity, StoreKind};
use crate::failpoint::{Failpoint, reach};

/// A checkpoint's pieces take this many times what the log takes of an epoch: so
/// it is done before the log has grown by a third of the live size.
const CHECKPOINT_PACE: usize = 4;
/// And at least so many bytes an epoch, so that small epochs do not drag it out.
const CHECKPOINT_STEP_BYTES: usize = 256 << 10;

/// What holds the values and members.
pub(super) trait Entries: Send + Sync + Sized {
    /// Which of the two it is.
    const KIND: StoreKind;
    /// May changes be made before they are durable? Only if a crash takes them away.
    const MAY_GO_AHEAD: bool;
    /// Bounds and sizes.
    type Settings: Clone + Send + Sync;
    /// How far a checkpoint is.
    type Walk: Default + Send + Sync;

    /// Nothing, in an empty folder.
    fn create(folder: &Path, settings: &Self::Settings) -> Result<Self, Fault>;

    /// What the checkpoint holds; later epochs are given to `apply` again.
    fn open(folder: &Path, settings: &Self::Settings, base: Option<&Base>) -> Result<Self, Fault>;

    /// The last epoch of which something may be there already.
    fn through(&self) -> Version;

    /// Why nothing more may be put into it, if so.
    fn refusal(&self) -> Option<String>;

    /// Makes the changes of an epoch.
    fn apply(&mut self, version: Version, changes: &[u8]) -> Result<(), Fault>;

    /// What a checkpoint takes, about; a log that is shorter needs none.
    fn live_bytes(&self) -> u64;

    /// The next pieces of a checkpoint, of at least `bytes` together if there is so much.
    fn dump(&self, walk: &mut Self::Walk, bytes: usize) -> Result<Vec<Draft>, Fault>;

    /// Has everything been dumped?
    fn is_dumped(walk: &Self::Walk) -> bool;

    /// As [`State::read`].
    fn read(&self, space: Space, keys: &BinaryArray) -> Result<BinaryArray, Fault>;

    /// As [`State::members`].
    fn members(&self, space: Space, groups: &BinaryArray, limit: usize) -> Result<Members, Fault>;

    /// As [`State::page`].
    fn page(
        &self,
        space: Space,
        group: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<BinaryArray, Fault>;

    /// As [`State::keys`].
    fn keys(&self, space: Space, after: Option<&[u8]>, limit: usize) -> Result<BinaryArray, Fault>;

    /// As [`State::size`], without what is on disk.
    fn size(&self) -> StateSize;
}

/// A checkpoint's file, and the pieces in it.
pub(super) struct Base<'a> {
    pub(super) path: &'a Path,
    pub(super) file: &'a File,
    pub(super) parts: &'a [Frame],
    /// The epoch after which its log begins.
    pub(super) version: Version,
}

/// The last epoch of a log, with what stands for all up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Tip {
    version: Version,
    chain: Chain,
}

/// The store.
pub(super) struct LoggedState<E: Entries> {
    entries: E,
    standing: Standing,
    log: Log,
    /// The last checkpoint that counts; 0 before the first.
    base: u32,
    checkpoint: Option<Checkpoint<E>>,
    mark: Mark,
    store: StoreId,
    /// A shorter log is not worth a checkpoint.
    log_bytes_min: u64,
    folder: Folder,
    /// What went wrong; nothing is done any more.
    broken: Option<String>,
}

impl<E: Entries> LoggedState<E> {
    /// Makes a store in an empty folder.
    pub(super) fn create(
        folder: Folder,
        identity: &Identity,
        settings: &E::Settings,
        log_bytes_min: u64,
    ) -> Result<Self, StateError> {
        let store = StoreId::new();
        let entries = E::create(folder.path(), settings).map_err(Fault::into_error)?;
        let make = || {
            let mark = Mark::create(&folder)?;
            let log = Log::create(folder.files(), folder.path(), 0, store, Tip::default())?;
            folder.found(E::KIND, identity, store)?;
            Ok((mark, log))
        };
        let made: io::Result<_> = make();
        let action = format!("make a store in {}", folder.path().display());
        let (mark, log) = made.map_err(|error| failed(&action, &error))?;
        let (standing, base, checkpoint, broken) = (Standing::default(), 0, None, None);
        Ok(Self { entries, standing, log, base, checkpoint, mark, store, log_bytes_min, folder, broken })
    }

    fn sound(&self, action: &str) -> Result<(), StateError> {
        match &self.broken {
            None => Ok(()),
            Some(cause) => Err(failed(action, &format!("it stopped when it could not {cause}"))),
        }
    }

    /// The answer of the entries. Where it is damage, the next start is to find
    /// it, wherever it reads first.
    fn answer<T>(&self, action: &str, read: impl FnOnce(&E) -> Result<T, Fault>) -> Result<T, StateError> {
        self.sound(action)?;
        read(&self.entries).map_err(|fault| match fault {
            Fault::Failed(error) => error,
            Fault::Damaged(reason) => {
                let noted = self.folder.condemn(&reason);
                let noted = noted
                    .err()
                    .map_or_else(String::new, |error| format!(" (and could not note it: {error})"));
                failed(action, &format!("{reason}; start again, and it is loaded from the lake{noted}"))
            }
        })
    }

    fn refusal(&self, commit: &Commit) -> Option<String> {
        let fault = change::fault(commit).map(str::to_owned);
        fault.or_else(|| self.standing.refusal(commit)).or_else(|| self.entries.refusal())
    }

    fn try_commit(&mut self, commit: &Commit) -> Result<(), String> {
        if let Some(refusal) = self.refusal(commit) {
            return Err(refusal);
        }
        let version = Version::new(commit.term, commit.epoch);
        let frame = self.log.seal(EpochRecord::draft(commit, self.standing.sent), version);
        let step = CHECKPOINT_STEP_BYTES.max(frame.bytes.len() * CHECKPOINT_PACE);
        let Self { entries, log, checkpoint, .. } = self;
        let mut work = || {
            let record = EpochRecord::parse(frame.body()).expect("it was just written");
            entries.apply(version, record.changes)?;
            checkpoint.as_mut().map(|checkpoint| checkpoint.collect(entries, step)).transpose()
        };
        let mut write = || {
            reach(Failpoint::StateUnwritten);
            log.append_epoch(&frame).map_err(describe("write the log"))
        };
        let parts = if E::MAY_GO_AHEAD {
            // While the disk syncs, the entries go ahead. If the sync fails nobody
            // sees them, and the pieces of the checkpoint are not handed over.
            std::thread::scope(|scope| {
                let written = scope.spawn(&mut write);
                let worked = work();
                written.join().unwrap_or_else(|_| Err("write the log: a panic".to_owned())).map(|()| worked)
            })?
        } else {
            write()?;
            work()
        };
        let parts = parts.map_err(Fault::into_error).map_err(describe("make the changes"))?;
        reach(Failpoint::StateUnmarked);
        self.mark.set(version, frame.chain).map_err(describe("write the mark"))?;
        self.standing.pass(version, self.standing.sent, commit.meta.clone(), commit.outbox.clone());
        if let Some((checkpoint, parts)) = self.checkpoint.as_mut().zip(parts) {
            checkpoint.hand_over(parts, version);
        }
        self.turn_checkpoint().map_err(describe("write a checkpoint"))
    }

    /// Ends the checkpoint that is written, or begins the one that is due.
    fn turn_checkpoint(&mut self) -> io::Result<()> {
        let Some(checkpoint) = &mut self.checkpoint else {
            let is_due = self.log.bytes > self.log_bytes_min.max(self.entries.live_bytes());
            return if is_due { self.begin_checkpoint() } else { Ok(()) };
        };
        let number = checkpoint.number;
        let Some(written) = checkpoint.finish() else { return Ok(()) };
        written?;
        self.checkpoint = None;
        let old = std::mem::replace(&mut self.base, number);
        self.remove_before(old, number)
    }

    fn begin_checkpoint(&mut self) -> io::Result<()> {
        let (files, folder) = (self.folder.files(), self.folder.path());
        let number = self.log.number + 1;
        self.log.follow(Log::create(files, folder, number, self.store, self.log.tip)?)?;
        let tip = self.log.tip;
        self.checkpoint = Some(Checkpoint::begin(files, folder, number, self.store, tip, &self.standing)?);
        Ok(())
    }

    /// Removes the logs and the checkpoint from `old` to before `number`, which
    /// holds all that they say.
    fn remove_before(&self, old: u32, number: u32) -> io::Result<()> {
        let (files, folder) = (self.folder.files(), self.folder.path());
        for log in old..number {
            files.remove(&log::path(folder, log))?;
            reach(Failpoint::LogRemoved);
        }
        if old > 0 {
            files.remove(&checkpoint::path(folder, old))?;
        }
        Ok(())
    }
}

/// An error with what was being done.
fn describe<T: Display>(action: &str) -> impl Fn(T) -> String {
    move |error| format!("{action}: {error}")
}

impl<E: Entries> State for LoggedState<E> {
    fn read(&self, space: Space, keys: &BinaryArray) -> Result<BinaryArray, StateError> {
        self.answer("read", |entries| entries.read(space, keys))
    }

    fn members(&self, space: Space, groups: &BinaryArray, limit: usize) -> Result<Members, StateError> {
        self.answer("read members", |entries| entries.members(space, groups, limit))
    }

    fn page(
        &self,
        space: Space,
        group: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<BinaryArray, StateError> {
        self.answer("read members", |entries| entries.page(space, group, after, limit))
    }

    fn keys(&self, space: Space, after: Option<&[u8]>, limit: usize) -> Result<BinaryArray, StateError> {
        self.answer("read keys", |entries| entries.keys(space, after, limit))
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StateError> {
        let action = format!("commit epoch {} of term {}", commit.epoch, commit.term);
        self.sound(&action)?;
        self.try_commit(commit).map_err(|cause| {
            self.broken = Some(format!("{action} ({cause})"));
            failed(&action, &cause)
        })
    }

    fn sent(&mut self, epoch: Epoch) -> Result<(), StateError> {
        self.sound("drop what is sent")?;
        self.standing.sent(epoch);
        Ok(())
    }

    fn committed(&self) -> Option<Committed> {
        self.standing.committed.clone()
    }

    fn unsent(&self) -> Result<Vec<Unsent>, StateError> {
        self.sound("read what is not sent")?;
        Ok(self.standing.unsent.iter().cloned().collect())
    }

    fn size(&self) -> StateSize {
        let size = self.entries.size();
        StateSize {
            memory_bytes: size.memory_bytes + self.standing.held_bytes() as u64,
            disk_bytes: self.folder.disk_bytes(),
            ..size
        }
    }
}

/// One column of what was found; an error beyond what the offsets of a column reach.
pub(super) fn column<B: AsRef<[u8]>>(values: &[Option<B>]) -> Result<BinaryArray, Fault> {
    let bytes = values.iter().flatten().map(|value| value.as_ref().len()).sum::<usize>();
    if i32::try_from(bytes).is_err() {
        return Err(failed("read", &format!("{bytes} bytes at once are more than a column holds")).into());
    }
    let mut column = BinaryBuilder::with_capacity(values.len(), bytes);
    values.iter().for_each(|value| column.append_option(value.as_ref()));
    Ok(column.finish())
}
