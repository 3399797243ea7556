//! The bytes of a kept row.
//!
//! Owns the layout: where the row's last event stood, then its cells one after
//! the other. Does not own what stands in a cell (`relation`).
//!
//! Invariant: only the engine writes them, a store gives them back unchanged, and
//! the catalogue names their layout; so they are read without being doubted.

use super::bytes::{push_bytes, push_integer, push_varint, take_bytes, take_integer, take_varint};

/// The last event of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) lsn: Option<i64>,
    /// µs since 1970
    pub(super) ts_us: Option<i64>,
    /// Position among the table's topics.
    pub(super) topic: u32,
    pub(super) partition: i32,
    pub(super) offset: i64,
}

/// What is known of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// The bytes are its value.
    Value,
    /// It cannot be read; the bytes are a code, a zero, and a message.
    Fault,
    /// It was not sent, and nothing kept has it.
    Nowhere,
    /// A reference with a null in it.
    Null,
}

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell<'a> {
    pub(super) known: Known,
    /// It was not sent with a key change, so it is the old key's, which may not be
    /// final.
    pub(super) linked: bool,
    pub(super) bytes: &'a [u8],
}

impl Cell<'_> {
    /// Is it the same to whoever reads it?
    pub(super) fn reads_as(&self, other: &Self) -> bool {
        self.known == other.known && self.bytes == other.bytes
    }

    /// The value, if it is one.
    pub(super) fn value(&self) -> Option<&[u8]> {
        (self.known == Known::Value).then_some(self.bytes)
    }
}

/// A kept row, as it lies in the store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record<'a> {
    pub(super) head: Head,
    /// The key change that linked cells come from.
    pub(super) link: Option<&'a [u8]>,
    /// All cells, to be compared as a whole.
    pub(super) cells: &'a [u8],
}

const HAS_LSN: u8 = 1;
const HAS_TS: u8 = 2;
const HAS_LINK: u8 = 4;

impl<'a> Record<'a> {
    pub(super) fn parse(mut bytes: &'a [u8]) -> Self {
        let [flags, rest @ ..] = bytes else { unreachable!("a record has flags") };
        let flags = *flags;
        bytes = rest;
        let lsn = (flags & HAS_LSN != 0).then(|| take_integer(&mut bytes));
        let ts_us = (flags & HAS_TS != 0).then(|| take_integer(&mut bytes));
        let topic = u32::try_from(take_varint(&mut bytes)).expect("written from a u32");
        let partition = i32::try_from(take_integer(&mut bytes)).expect("written from an i32");
        let offset = take_integer(&mut bytes);
        let link = (flags & HAS_LINK != 0).then(|| take_bytes(&mut bytes));
        Self { head: Head { lsn, ts_us, topic, partition, offset }, link, cells: bytes }
    }

    pub(super) fn cells(&self) -> impl Iterator<Item = Cell<'a>> + use<'a> {
        let mut rest = self.cells;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let tag = take_varint(&mut rest);
            let len = usize::try_from(tag >> 3).expect("written from a usize");
            let (bytes, after) = rest.split_at(len);
            rest = after;
            let known = match tag & 3 {
                0 => Known::Value,
                1 => Known::Fault,
                2 => Known::Nowhere,
                _ => Known::Null,
            };
            Some(Cell { known, linked: tag & 4 != 0, bytes })
        })
    }
}

/// Begins a record at the end of `buffer`.
pub(super) fn push_head(buffer: &mut Vec<u8>, head: &Head, link: Option<&[u8]>) {
    let flag = |has: bool, flag: u8| if has { flag } else { 0 };
    buffer.push(
        flag(head.lsn.is_some(), HAS_LSN)
            | flag(head.ts_us.is_some(), HAS_TS)
            | flag(link.is_some(), HAS_LINK),
    );
    for integer in [head.lsn, head.ts_us].into_iter().flatten() {
        push_integer(buffer, integer);
    }
    push_varint(buffer, head.topic.into());
    push_integer(buffer, head.partition.into());
    push_integer(buffer, head.offset);
    if let Some(link) = link {
        push_bytes(buffer, link);
    }
}

/// Adds the next cell.
pub(super) fn push_cell(buffer: &mut Vec<u8>, cell: Cell<'_>) {
    let known = match cell.known {
        Known::Value => 0,
        Known::Fault => 1,
        Known::Nowhere => 2,
        Known::Null => 3,
    };
    push_varint(buffer, (cell.bytes.len() as u64) << 3 | u64::from(cell.linked) << 2 | known);
    buffer.extend_from_slice(cell.bytes);
}

/// A record taken apart, to be put together otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnedRecord {
    pub(super) head: Head,
    pub(super) link: Option<Box<[u8]>>,
    pub(super) cells: Vec<OwnedCell>,
}

/// See [`Cell`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct OwnedCell {
    pub(super) known: Known,
    pub(super) linked: bool,
    pub(super) bytes: Box<[u8]>,
}

impl OwnedCell {
    pub(super) fn as_cell(&self) -> Cell<'_> {
        Cell { known: self.known, linked: self.linked, bytes: &self.bytes }
    }
}

impl From<Cell<'_>> for OwnedCell {
    fn from(cell: Cell<'_>) -> Self {
        Self { known: cell.known, linked: cell.linked, bytes: cell.bytes.into() }
    }
}

impl OwnedRecord {
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let record = Record::parse(bytes);
        let cells = record.cells().map(OwnedCell::from).collect();
        Self { head: record.head, link: record.link.map(Into::into), cells }
    }

    /// Takes cells that were not sent from the row before it, and with them the key
    /// change that they come from.
    pub(super) fn take_unsent(&mut self, before: &Self) {
        for (cell, before) in self.cells.iter_mut().zip(&before.cells) {
            if cell.known == Known::Nowhere && !cell.linked {
                *cell = before.clone();
            }
        }
        if self.link.is_none() && self.cells.iter().any(|cell| cell.linked) {
            self.link.clone_from(&before.link);
        }
    }

    pub(super) fn push(&self, buffer: &mut Vec<u8>) {
        push_head(buffer, &self.head, self.link.as_deref());
        for cell in &self.cells {
            push_cell(buffer, cell.as_cell());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_as_it_was_written() {
        let cell = |known, linked, bytes: &[u8]| OwnedCell { known, linked, bytes: bytes.into() };
        let record = OwnedRecord {
            head: Head { lsn: Some(-7), ts_us: None, topic: 3, partition: 2, offset: i64::MAX },
            link: Some((*b"id").into()),
            cells: vec![
                cell(Known::Value, false, &[0xab; 300]),
                cell(Known::Null, false, b""),
                cell(Known::Fault, false, b"code\0message"),
                cell(Known::Nowhere, true, b""),
            ],
        };
        let plain = OwnedRecord { head: Head::default(), link: None, cells: Vec::new() };
        for record in [record, plain] {
            let mut bytes = Vec::new();
            record.push(&mut bytes);
            assert_eq!(OwnedRecord::parse(&bytes), record);
        }
    }
}
