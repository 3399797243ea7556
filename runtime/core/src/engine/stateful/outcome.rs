//! What a source row came to, as the store keeps it.
//!
//! Owns the bytes, and so what "the same as before" means. Does not own what
//! follows from a difference (`emit`, `claims`).
//!
//! Invariant: two outcomes are the same to the star if their bytes are.

use super::bytes::{push_bytes, push_varint, take_bytes, take_varint};

const ROWS: u8 = 0;
const HELD: u8 = 1;
const LETTER: u8 = 2;

/// A star row that a source row has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    /// Position of the target.
    pub(super) target: usize,
    /// The star key, in arrow-row form.
    pub(super) key: &'a [u8],
    /// The columns that rows are sorted by beside it.
    pub(super) beside: &'a [u8],
    /// Of the whole row.
    pub(super) hash: u64,
}

/// What is kept of a source row that is not plainly without star rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept<'a> {
    /// Its star rows, in the order of target and key.
    Rows(&'a [u8]),
    /// It waits for a row that a lookup finds.
    Held,
    /// It has a dead letter.
    Letter,
}

impl<'a> Kept<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Self {
        match bytes {
            [ROWS, entries @ ..] => Self::Rows(entries),
            [HELD] => Self::Held,
            _ => Self::Letter,
        }
    }

    pub(super) fn entries(self) -> impl Iterator<Item = Entry<'a>> {
        let mut rest = if let Self::Rows(entries) = self { entries } else { &[] };
        std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| Entry {
                target: usize::try_from(take_varint(&mut rest)).expect("written from a usize"),
                key: take_bytes(&mut rest),
                beside: take_bytes(&mut rest),
                hash: take_varint(&mut rest),
            })
        })
    }
}

pub(super) fn push_held(buffer: &mut Vec<u8>) {
    buffer.push(HELD);
}

/// `hash` is that of the letter.
pub(super) fn push_letter(buffer: &mut Vec<u8>, hash: u64) {
    buffer.push(LETTER);
    buffer.extend(hash.to_be_bytes());
}

/// Adds an entry, which follows those before it in the order of target and key.
pub(super) fn push_entry(buffer: &mut Vec<u8>, entry: Entry<'_>) {
    if buffer.is_empty() {
        buffer.push(ROWS);
    }
    push_varint(buffer, entry.target as u64);
    push_bytes(buffer, entry.key);
    push_bytes(buffer, entry.beside);
    push_varint(buffer, entry.hash);
}
