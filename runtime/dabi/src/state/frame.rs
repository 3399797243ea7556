//! Frames: what the files of the store in memory consist of.
//!
//! Owns their layout, their checksums, and how a torn end is told from damage.
//! Does not own what a frame's body says (`log`, `checkpoint`).
//!
//! Invariant: a frame names the one before it, so that none can be missing,
//! doubled, or from elsewhere without being noticed.
//!
//! Layout, little-endian: magic (8), kind (4), format (4), version (8), length
//! of the body (8), chain value of the frame before (8), xxh3 of the body (8),
//! xxh3 of all this (8), the body. The last of these sums is the frame's chain value.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use dabi_core::version::Version;
use xxhash_rust::xxh3::xxh3_64;

use super::bytes::Reader;

const MAGIC: [u8; 8] = *b"dabi\xf5st8";
const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 56;
/// How much is read at once when looking for frames behind a damaged one.
const SEARCH_BYTES: usize = 1 << 20;

/// What stands for a frame and, through the ones before it, for all up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain(pub(super) u64);

/// What a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Kind {
    /// The beginning of a log.
    Log = 1,
    /// An epoch.
    Epoch = 2,
    /// The end of a log that another one follows.
    Seal = 3,
    /// The beginning of a checkpoint.
    Checkpoint = 4,
    /// A part of a shard.
    Part = 5,
    /// The end of a checkpoint.
    End = 6,
}

const KINDS: [Kind; 6] = [Kind::Log, Kind::Epoch, Kind::Seal, Kind::Checkpoint, Kind::Part, Kind::End];

/// A frame being made.
pub(super) struct Draft(Vec<u8>);

impl Draft {
    /// With `body` written after the room for the header.
    pub(super) fn new(body: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        Self(body(vec![0; HEADER_BYTES]))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Fills in the header.
    pub(super) fn seal(mut self, kind: Kind, version: Version, previous: Chain) -> Sealed {
        let (header, body) = self.0.split_at_mut(HEADER_BYTES);
        let numbers = [version.0, body.len() as u64, previous.0, xxh3_64(body)];
        let mut fields = Vec::with_capacity(HEADER_BYTES);
        fields.extend_from_slice(&MAGIC);
        fields.extend_from_slice(&(kind as u32).to_le_bytes());
        fields.extend_from_slice(&FORMAT.to_le_bytes());
        fields.extend(numbers.into_iter().flat_map(u64::to_le_bytes));
        let chain = Chain(xxh3_64(&fields));
        fields.extend_from_slice(&chain.0.to_le_bytes());
        header.copy_from_slice(&fields);
        Sealed { bytes: self.0, version, chain }
    }
}

/// A frame ready to be written.
pub(super) struct Sealed {
    pub(super) bytes: Vec<u8>,
    pub(super) version: Version,
    pub(super) chain: Chain,
}

impl Sealed {
    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[HEADER_BYTES..]
    }
}

/// A frame in a file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) kind: Kind,
    pub(super) version: Version,
    pub(super) chain: Chain,
    previous: Chain,
    body_at: u64,
    body_len: u64,
    body_sum: u64,
}

impl Frame {
    /// The body; `None` if it is damaged.
    pub(super) fn body(&self, file: &File) -> io::Result<Option<Vec<u8>>> {
        let Ok(len) = usize::try_from(self.body_len) else { return Ok(None) };
        let mut body = vec![0; len];
        file.read_exact_at(&mut body, self.body_at)?;
        Ok((xxh3_64(&body) == self.body_sum).then_some(body))
    }

    /// The first bytes of the body, unchecked.
    pub(super) fn prefix<const N: usize>(&self, file: &File) -> io::Result<[u8; N]> {
        let mut prefix = [0; N];
        file.read_exact_at(&mut prefix, self.body_at)?;
        Ok(prefix)
    }

    fn end(&self) -> u64 {
        self.body_at + self.body_len
    }

    /// A header at `at`, if `bytes` are one.
    fn parse(bytes: &[u8], at: u64) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES)?;
        let mut reader = Reader::new(header);
        let is_ours = reader.array()? == MAGIC;
        let kind = reader.u32()?;
        let kind = KINDS.into_iter().find(|known| *known as u32 == kind)?;
        let format = reader.u32()?;
        let frame = Self {
            kind,
            version: Version(reader.u64()?),
            body_len: reader.u64()?,
            previous: Chain(reader.u64()?),
            body_sum: reader.u64()?,
            chain: Chain(reader.u64()?),
            body_at: at + HEADER_BYTES as u64,
        };
        let is_whole = xxh3_64(&header[..HEADER_BYTES - 8]) == frame.chain.0;
        (is_ours && format == FORMAT && is_whole).then_some(frame)
    }
}

/// What comes next in a file.
#[derive(Debug)]
pub(super) enum Next {
    /// A frame that continues the chain.
    Frame(Frame, Vec<u8>),
    /// Nothing.
    End,
    /// A frame that was never finished: nothing valid is behind it.
    Torn,
    /// A frame that was whole once, or one that does not belong here.
    Damaged(String),
}

/// Frames of a file, one after the other.
pub(super) struct Frames<'f> {
    file: &'f File,
    at: u64,
    len: u64,
    previous: Chain,
}

impl<'f> Frames<'f> {
    /// From the beginning; the first frame follows `previous`.
    pub(super) fn new(file: &'f File, previous: Chain) -> io::Result<Self> {
        Ok(Self { file, at: 0, len: file.metadata()?.len(), previous })
    }

    /// Where the next frame begins, or would.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The next frame and its body.
    pub(super) fn next(&mut self) -> io::Result<Next> {
        if self.at == self.len {
            return Ok(Next::End);
        }
        let start = self.at;
        if let Some(frame) = self.header()? {
            if frame.previous != self.previous {
                return Ok(Next::Damaged(format!(
                    "the frame at byte {start} does not follow the one before it"
                )));
            }
            if frame.end() <= self.len
                && let Some(body) = frame.body(self.file)?
            {
                self.pass(&frame);
                return Ok(Next::Frame(frame, body));
            }
        }
        Ok(match self.frame_behind(start + 1)? {
            Some(at) => {
                Next::Damaged(format!("the frame at byte {start} is damaged, one at byte {at} is whole"))
            }
            None => Next::Torn,
        })
    }

    /// The next frame without its body; `None` at the end of the file or where
    /// no frame is that continues the chain.
    pub(super) fn skip(&mut self) -> io::Result<Option<Frame>> {
        let frame = self.header()?;
        let frame = frame.filter(|frame| frame.previous == self.previous && frame.end() <= self.len);
        if let Some(frame) = &frame {
            self.pass(frame);
        }
        Ok(frame)
    }

    fn pass(&mut self, frame: &Frame) {
        self.at = frame.end();
        self.previous = frame.chain;
    }

    fn header(&self) -> io::Result<Option<Frame>> {
        if self.len - self.at < HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        self.file.read_exact_at(&mut header, self.at)?;
        // a length that reaches beyond all files is no length
        let frame = Frame::parse(&header, self.at);
        Ok(frame.filter(|frame| frame.body_at.checked_add(frame.body_len).is_some()))
    }

    /// Where a frame's header is, at `from` or behind it.
    fn frame_behind(&self, from: u64) -> io::Result<Option<u64>> {
        let mut window = Vec::new();
        let mut at = from;
        while at < self.len {
            let len = usize::try_from(self.len - at).unwrap_or(SEARCH_BYTES).min(SEARCH_BYTES);
            window.resize(len, 0);
            self.file.read_exact_at(&mut window, at)?;
            let mut places = (0_u64..).zip(window.windows(MAGIC.len()));
            let found = places.find(|(place, bytes)| {
                *bytes == MAGIC
                    && Frame::parse(&window[usize::try_from(*place).unwrap_or(len)..], at).is_some()
            });
            if let Some((place, _)) = found {
                return Ok(Some(at + place));
            }
            if at + len as u64 == self.len {
                break;
            }
            // a header may lie across the windows' border
            at += (len - HEADER_BYTES) as u64;
        }
        Ok(None)
    }
}
