//! The epoch log: everything that an epoch changes, in one frame.
//!
//! Owns the log's files and what an epoch's frame says. Does not own when a log
//! is followed by another (`checkpoint`).
//!
//! Invariants: an epoch is one write and one sync; a log that another follows
//! ends with a seal, so that a missing successor is noticed; the first frame of a
//! log says after which epoch it begins.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use dabi_core::engine::state::Commit;
use dabi_core::version::Version;

use super::super::bytes::{Reader, push_bytes};
use super::super::change::Changes;
use super::super::fault::Fault;
use super::super::files::{Files, Output};
use super::super::folder::StoreId;
use super::super::frame::{Chain, Draft, Frames, Kind, Next, Sealed};
use super::Tip;
use crate::failpoint::{Failpoint, reach};

/// What the frame of an epoch says.
pub(super) struct EpochRecord<'a> {
    /// What was known to be sent.
    pub(super) sent: Version,
    pub(super) meta: &'a [u8],
    pub(super) outbox: &'a [u8],
    pub(super) changes: &'a [u8],
}

impl<'a> EpochRecord<'a> {
    pub(super) fn draft(commit: &Commit, sent: Version) -> Draft {
        Draft::new(|mut body| {
            body.extend_from_slice(&sent.0.to_le_bytes());
            push_bytes(&mut body, &commit.meta);
            push_bytes(&mut body, &commit.outbox);
            let mut changes = Changes::after(body);
            changes.push_all(commit);
            changes.finish()
        })
    }

    /// `None` if `body` is not an epoch's.
    pub(super) fn parse(body: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let sent = Version(reader.u64()?);
        let (meta, outbox) = (reader.bytes()?, reader.bytes()?);
        Some(Self { sent, meta, outbox, changes: reader.take(reader.len())? })
    }
}

/// The log that is written.
pub(super) struct Log {
    pub(super) number: u32,
    output: Output,
    /// The frame that the next one follows.
    previous: Chain,
    pub(super) tip: Tip,
    /// Written since the last checkpoint, to this log and those before it.
    pub(super) bytes: u64,
}

/// Where log `number` is.
pub(super) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("log-{number:08}"))
}

impl Log {
    /// Creates log `number`, which begins after `tip`.
    pub(super) fn create(
        files: &Files,
        folder: &Path,
        number: u32,
        store: StoreId,
        tip: Tip,
    ) -> io::Result<Self> {
        let output = files.create(&path(folder, number))?;
        let previous = store.chain();
        let mut log = Self { number, output, previous, tip, bytes: 0 };
        log.append(&header(number, tip).seal(Kind::Log, tip.version, previous))?;
        files.sync_folder(folder)?;
        Ok(log)
    }

    /// The frame of an epoch that comes next.
    pub(super) fn seal(&self, draft: Draft, version: Version) -> Sealed {
        draft.seal(Kind::Epoch, version, self.previous)
    }

    /// Makes an epoch durable.
    pub(super) fn append_epoch(&mut self, frame: &Sealed) -> io::Result<()> {
        self.append(frame)?;
        self.tip = Tip { version: frame.version, chain: frame.chain };
        Ok(())
    }

    /// Ends this log; `next` goes on.
    pub(super) fn follow(&mut self, next: Self) -> io::Result<()> {
        self.append(&Draft::new(|body| body).seal(Kind::Seal, self.tip.version, self.previous))?;
        *self = next;
        Ok(())
    }

    fn append(&mut self, frame: &Sealed) -> io::Result<()> {
        self.output.write(&frame.bytes)?;
        reach(Failpoint::StateUnsynced);
        self.output.sync()?;
        self.previous = frame.chain;
        self.bytes += frame.bytes.len() as u64;
        Ok(())
    }
}

fn header(number: u32, tip: Tip) -> Draft {
    Draft::new(|mut body| {
        body.extend_from_slice(&number.to_le_bytes());
        body.extend_from_slice(&tip.version.0.to_le_bytes());
        body.extend_from_slice(&tip.chain.0.to_le_bytes());
        body
    })
}

fn parse_header(body: &[u8]) -> Option<(u32, Tip)> {
    let mut reader = Reader::new(body);
    Some((reader.u32()?, Tip { version: Version(reader.u64()?), chain: Chain(reader.u64()?) }))
}

/// How a log that was read ends.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Another one follows.
    Sealed,
    /// It was the last one.
    Open,
}

/// A log that was read.
pub(super) struct Replayed {
    pub(super) ending: Ending,
    pub(super) tip: Tip,
    previous: Chain,
    /// Up to here it is whole.
    pub(super) whole_bytes: u64,
    /// Together with the logs before it.
    pub(super) all_bytes: u64,
}

/// Reads log `number`, which must begin after `tip`, and gives each of its epochs to `each`.
pub(super) fn replay(
    path: &Path,
    number: u32,
    store: StoreId,
    tip: Tip,
    mut each: impl FnMut(Version, EpochRecord<'_>) -> Result<(), Fault>,
) -> Result<Replayed, Fault> {
    let io = |error: io::Error| Fault::io("read", path, &error);
    let file = File::open(path).map_err(io)?;
    let mut frames = Frames::new(&file, store.chain()).map_err(io)?;
    let begins = match frames.next().map_err(io)? {
        Next::Frame(frame, body) if frame.kind == Kind::Log => parse_header(&body).zip(Some(frame.chain)),
        _ => None,
    };
    let Some((_, mut previous)) = begins.filter(|(header, _)| *header == (number, tip)) else {
        return Err(Fault::damaged(path, format_args!("it does not begin after version {}", tip.version.0)));
    };
    let mut log = Replayed { ending: Ending::Open, tip, previous, whole_bytes: frames.at(), all_bytes: 0 };
    loop {
        match frames.next().map_err(io)? {
            Next::Frame(frame, body) if frame.kind == Kind::Epoch && log.ending == Ending::Open => {
                let record = EpochRecord::parse(&body);
                let record =
                    record.ok_or_else(|| Fault::damaged(path, "an epoch is whole but says nothing"))?;
                each(frame.version, record)?;
                log.tip = Tip { version: frame.version, chain: frame.chain };
                previous = frame.chain;
            }
            Next::Frame(frame, _) if frame.kind == Kind::Seal && log.ending == Ending::Open => {
                log.ending = Ending::Sealed;
            }
            Next::Frame(..) => return Err(Fault::damaged(path, "a frame is not where it belongs")),
            Next::Damaged(how) => return Err(Fault::damaged(path, how)),
            Next::Torn if log.ending == Ending::Sealed => {
                return Err(Fault::damaged(path, "something follows its end"));
            }
            Next::End | Next::Torn => break,
        }
        (log.previous, log.whole_bytes) = (previous, frames.at());
    }
    Ok(log)
}

impl Replayed {
    /// Goes on writing behind the last whole frame.
    pub(super) fn reopen(self, files: &Files, folder: &Path, number: u32) -> Result<Log, Fault> {
        let path = path(folder, number);
        let output = files.reopen(&path, self.whole_bytes);
        let output = output.map_err(|error| Fault::io("open", &path, &error))?;
        Ok(Log { number, output, previous: self.previous, tip: self.tip, bytes: self.all_bytes })
    }
}

/// Does log `number` begin a new log and say no more? Then the crash came while it was made.
pub(super) fn is_unused(path: &Path, store: StoreId) -> Result<bool, Fault> {
    let io = |error: io::Error| Fault::io("read", path, &error);
    let file = File::open(path).map_err(io)?;
    let mut frames = Frames::new(&file, store.chain()).map_err(io)?;
    Ok(match frames.next().map_err(io)? {
        Next::Frame(frame, _) => frame.kind == Kind::Log && matches!(frames.next().map_err(io)?, Next::End),
        Next::End | Next::Torn => true,
        Next::Damaged(_) => false,
    })
}
