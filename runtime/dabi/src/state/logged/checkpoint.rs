//! Checkpoints: where the store stood, and what it held, so that old logs can go.
//!
//! Owns writing one beside the commits, and its file. Does not own when one is due
//! (`logged`), or what a piece says (`Entries`).
//!
//! Invariants: a checkpoint begins together with a new log, and is a dump of the
//! entries taken piece by piece while that log's epochs are applied. A piece may hold
//! effects of any of them; replaying the log over it makes it right, because each
//! change says what becomes of its key or member whatever was there. It counts
//! once it is named, and the log must reach the last epoch that it may hold.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use dabi_core::engine::state::{Committed, Unsent};
use dabi_core::version::Version;

use super::super::bytes::{Reader, push_bytes};
use super::super::fault::Fault;
use super::super::files::Files;
use super::super::folder::StoreId;
use super::super::frame::{Chain, Draft, Frame, Frames, Kind};
use super::super::standing::Standing;
use super::{Base, Entries, Tip};
use crate::failpoint::{Failpoint, reach};

/// Pieces on their way to the writer; when the disk is slower, commits wait.
const QUEUE_PIECES: usize = 64;
/// Bytes between syncs: one sync at the end would make the log's wait for all of it.
const SYNC_BYTES: usize = 8 << 20;

/// Where checkpoint `number` is. Log `number` goes on from it.
pub(super) fn path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("checkpoint-{number:08}"))
}

/// What it is called until it is whole.
pub(super) fn draft_path(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("checkpoint-{number:08}.tmp"))
}

enum Piece {
    Part(Draft),
    /// The last epoch that a part may hold.
    End(Version),
}

/// A checkpoint that is being written.
pub(super) struct Checkpoint<E: Entries> {
    pub(super) number: u32,
    walk: E::Walk,
    /// `None` when everything is handed over.
    pieces: Option<SyncSender<Piece>>,
    writer: Option<JoinHandle<io::Result<()>>>,
}

impl<E: Entries> Checkpoint<E> {
    /// Begins checkpoint `number` of a store that stands at `standing`.
    pub(super) fn begin(
        files: &Files,
        folder: &Path,
        number: u32,
        store: StoreId,
        tip: Tip,
        standing: &Standing,
    ) -> io::Result<Self> {
        let (pieces, queue) = sync_channel(QUEUE_PIECES);
        let writer = Writer { files: files.clone(), folder: folder.into(), number, store };
        let header = header(number, tip, standing);
        let writer = std::thread::Builder::new()
            .name("state-checkpoint".to_owned())
            .spawn(move || writer.write(header, &queue))?;
        Ok(Self { number, walk: E::Walk::default(), pieces: Some(pieces), writer: Some(writer) })
    }

    /// The next pieces, of at least `bytes` together if there is so much.
    pub(super) fn collect(&mut self, entries: &E, bytes: usize) -> Result<Vec<Draft>, Fault> {
        if E::is_dumped(&self.walk) {
            return Ok(Vec::new());
        }
        entries.dump(&mut self.walk, bytes)
    }

    /// Hands over pieces that may hold effects up to `version`, which is durable.
    pub(super) fn hand_over(&mut self, parts: Vec<Draft>, version: Version) {
        let Some(pieces) = &self.pieces else { return };
        let end = E::is_dumped(&self.walk).then_some(Piece::End(version));
        let is_last = end.is_some();
        for piece in parts.into_iter().map(Piece::Part).chain(end) {
            // a writer that failed has gone, and `finish` says why
            if pieces.send(piece).is_err() {
                break;
            }
        }
        if is_last {
            self.pieces = None;
        }
    }

    /// The writer's end, once it has come.
    pub(super) fn finish(&mut self) -> Option<io::Result<()>> {
        let writer = self.writer.take_if(|writer| writer.is_finished())?;
        Some(writer.join().unwrap_or_else(|_| Err(io::Error::other("its writer panicked"))))
    }
}

/// Gives up what is not whole: its file goes at the next start.
impl<E: Entries> Drop for Checkpoint<E> {
    fn drop(&mut self) {
        self.pieces = None;
        if let Some(writer) = self.writer.take() {
            _ = writer.join();
        }
    }
}

struct Writer {
    files: Files,
    folder: PathBuf,
    number: u32,
    store: StoreId,
}

impl Writer {
    fn write(&self, header: Draft, queue: &Receiver<Piece>) -> io::Result<()> {
        let draft = draft_path(&self.folder, self.number);
        let mut output = self.files.create(&draft)?;
        let mut chain = self.store.chain();
        let (mut next, mut unsynced) = ((header, Kind::Checkpoint, Version::default()), 0);
        loop {
            let (draft, kind, version) = next;
            let frame = draft.seal(kind, version, chain);
            chain = frame.chain;
            output.write(&frame.bytes)?;
            unsynced += frame.bytes.len();
            if kind == Kind::End {
                break;
            }
            reach(Failpoint::CheckpointHalfWritten);
            if unsynced > SYNC_BYTES {
                output.sync()?;
                unsynced = 0;
            }
            next = match queue.recv() {
                Ok(Piece::Part(part)) => (part, Kind::Part, Version::default()),
                Ok(Piece::End(through)) => (Draft::new(|body| body), Kind::End, through),
                // the store was closed
                Err(_) => return Ok(()),
            };
        }
        output.sync()?;
        reach(Failpoint::CheckpointUnnamed);
        self.files.rename(&draft, &path(&self.folder, self.number))?;
        reach(Failpoint::CheckpointNamed);
        self.files.sync_folder(&self.folder)
    }
}

fn header(number: u32, tip: Tip, standing: &Standing) -> Draft {
    Draft::new(|mut body| {
        body.extend_from_slice(&number.to_le_bytes());
        body.extend_from_slice(&tip.version.0.to_le_bytes());
        body.extend_from_slice(&tip.chain.0.to_le_bytes());
        body.extend_from_slice(&standing.sent.0.to_le_bytes());
        push_bytes(&mut body, standing.committed.as_ref().map_or(&[], |last| &last.meta));
        for unsent in &standing.unsent {
            body.extend_from_slice(&Version::new(unsent.term, unsent.epoch).0.to_le_bytes());
            push_bytes(&mut body, &unsent.outbox);
        }
        body
    })
}

fn parse_header(body: &[u8]) -> Option<(u32, Tip, Standing)> {
    let mut reader = Reader::new(body);
    let number = reader.u32()?;
    let tip = Tip { version: Version(reader.u64()?), chain: Chain(reader.u64()?) };
    let sent = Version(reader.u64()?);
    let (term, epoch) = (tip.version.term(), tip.version.epoch());
    let committed = Some(Committed { term, epoch, meta: reader.bytes()?.to_vec() });
    let mut standing = Standing { committed, sent, ..Standing::default() };
    while !reader.is_empty() {
        let version = Version(reader.u64()?);
        let outbox = reader.bytes()?.to_vec();
        standing.keep(Unsent { term: version.term(), epoch: version.epoch(), outbox });
    }
    Some((number, tip, standing))
}

/// A checkpoint whose frame headers were read.
pub(super) struct Opened {
    path: PathBuf,
    file: File,
    parts: Vec<Frame>,
    pub(super) standing: Standing,
    /// After which epoch its log begins.
    pub(super) tip: Tip,
    /// The last epoch that it may hold.
    pub(super) through: Version,
}

impl Opened {
    /// Opens checkpoint `number`.
    pub(super) fn open(path: &Path, number: u32, store: StoreId) -> Result<Self, Fault> {
        let io = |error: io::Error| Fault::io("read", path, &error);
        let file = File::open(path).map_err(io)?;
        let mut frames = Frames::new(&file, store.chain()).map_err(io)?;
        let header = match frames.skip().map_err(io)? {
            Some(first) if first.kind == Kind::Checkpoint => first.body(&file).map_err(io)?,
            _ => None,
        };
        let header = header.and_then(|body| parse_header(&body)).filter(|(other, ..)| *other == number);
        let Some((_, tip, standing)) = header else {
            return Err(Fault::damaged(path, "its beginning is damaged"));
        };
        let mut parts = Vec::new();
        let through = loop {
            match frames.skip().map_err(io)? {
                Some(frame) if frame.kind == Kind::Part => parts.push(frame),
                Some(frame) if frame.kind == Kind::End => break frame.version,
                _ => return Err(Fault::damaged(path, format_args!("it ends at byte {}", frames.at()))),
            }
        };
        Ok(Self { path: path.into(), file, parts, standing, tip, through })
    }

    pub(super) fn base(&self) -> Base<'_> {
        Base { path: &self.path, file: &self.file, parts: &self.parts, version: self.tip.version }
    }
}
