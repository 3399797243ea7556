//! Integers and byte strings in the values that the engine keeps.
//!
//! Invariant: what was pushed is taken back in the same order. The engine reads
//! only what it wrote, so a value that ends early is a defect and panics.

/// Seven bits a byte, low ones first.
pub(super) fn push_varint(buffer: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buffer.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    buffer.push((value & 0x7f) as u8);
}

pub(super) fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first().expect("a value that the engine wrote");
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

/// Small numbers of either sign are short.
pub(super) fn push_integer(buffer: &mut Vec<u8>, value: i64) {
    push_varint(buffer, (value << 1 ^ value >> 63).cast_unsigned());
}

pub(super) fn take_integer(bytes: &mut &[u8]) -> i64 {
    let value = take_varint(bytes);
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

/// With their length before them.
pub(super) fn push_bytes(buffer: &mut Vec<u8>, bytes: &[u8]) {
    push_varint(buffer, bytes.len() as u64);
    buffer.extend_from_slice(bytes);
}

pub(super) fn take_bytes<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let len = usize::try_from(take_varint(bytes)).expect("a length that the engine wrote");
    let (taken, rest) = bytes.split_at(len);
    *bytes = rest;
    taken
}
