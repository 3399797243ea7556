//! Lengths and byte strings, one after the other.
//!
//! Owns how they are written and read back. Does not own what they mean, or
//! whether they are whole (`frame` holds a checksum over them).

use std::ops::Deref;

/// Seven bits a byte, the lowest first, as in Protocol Buffers.
pub(super) struct Varint {
    bytes: [u8; Self::LEN_MAX],
    len: usize,
}

impl Varint {
    const LEN_MAX: usize = 10;

    pub(super) fn new(value: usize) -> Self {
        let low_bits = |value: usize| value.to_le_bytes()[0] & 0x7f;
        let mut this = Self { bytes: [0; Self::LEN_MAX], len: 1 };
        let mut rest = value;
        while rest >= 0x80 {
            this.bytes[this.len - 1] = low_bits(rest) | 0x80;
            this.len += 1;
            rest >>= 7;
        }
        this.bytes[this.len - 1] = low_bits(rest);
        this
    }
}

impl Deref for Varint {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Writes a byte string with its length in front.
pub(super) fn push_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&Varint::new(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Reads from the front; everything is `None` where too little is left.
#[derive(Clone, Copy)]
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How much is left.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn varint(&mut self) -> Option<usize> {
        let mut value = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let [byte] = self.array()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    /// What [`push_bytes`] wrote.
    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.varint()?;
        self.take(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_back() {
        for value in [0, 1, 127, 128, 300, 1 << 21, usize::MAX] {
            let varint = Varint::new(value);
            assert_eq!(Reader::new(&varint).varint(), Some(value));
            assert_eq!(Reader::new(&varint[..varint.len() - 1]).varint(), None);
        }
    }

    #[test]
    fn a_length_without_end_is_none() {
        assert_eq!(Reader::new(&[0xff; 20]).varint(), None);
    }
}
