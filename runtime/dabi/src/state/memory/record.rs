//! A key and its value in one block of an arena.
//!
//! Owns the layout: both lengths as variable-length integers, the key, the value.
//! Does not own the block's place (`arena`).

use super::super::bytes::{Reader, Varint};
use super::arena::{Address, Arena};

/// Key and value of the record at `at`.
pub(super) fn read(arena: &Arena, at: Address) -> (&[u8], &[u8]) {
    let mut reader = Reader::new(arena.at(at));
    let fields = reader.varint().zip(reader.varint());
    let parts = fields.and_then(|(key, value)| Some((reader.take(key)?, reader.take(value)?)));
    parts.expect("a block holds the record that was written to it")
}

/// Writes a new record.
pub(super) fn write(arena: &mut Arena, key: &[u8], value: &[u8]) -> Address {
    let at = arena.allocate(len(key, value));
    fill(arena, at, key, value);
    at
}

/// Replaces the value of the record at `at`, which may move.
pub(super) fn replace(arena: &mut Arena, at: Address, key: &[u8], value: &[u8]) -> Address {
    let (_, old) = read(arena, at);
    let old_len = len(key, old);
    if Arena::is_same_block(old_len, len(key, value)) {
        fill(arena, at, key, value);
        return at;
    }
    arena.release(at, old_len);
    write(arena, key, value)
}

/// Gives the record's block back.
pub(super) fn remove(arena: &mut Arena, at: Address) {
    let (key, value) = read(arena, at);
    let len = len(key, value);
    arena.release(at, len);
}

fn len(key: &[u8], value: &[u8]) -> usize {
    Varint::new(key.len()).len() + Varint::new(value.len()).len() + key.len() + value.len()
}

fn fill(arena: &mut Arena, at: Address, key: &[u8], value: &[u8]) {
    let mut block = arena.at_mut(at);
    for part in [&Varint::new(key.len()), &Varint::new(value.len()), key, value] {
        let (place, rest) = block.split_at_mut(part.len());
        place.copy_from_slice(part);
        block = rest;
    }
}
