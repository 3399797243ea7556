//! ClickHouse's native compressed blocks, as `decompress=1` announces them.
//!
//! A block is a 16-byte checksum (CityHash128 1.0.2 of all that follows, the
//! high half first, each little-endian), a method byte, the compressed size
//! with these 9 bytes of header, the raw size, both u32 little-endian, and the
//! data.

use std::io::{self, Read};

use cityhash_rs::cityhash_102_128;

const CHECKSUM: usize = 16;
const HEADER: usize = 9;
/// What the clients write is 256 KiB; a server refuses above 1 GiB.
const RAW_SIZE_MAX: usize = 128 << 20;

/// Reads the raw data of a sequence of blocks.
pub(crate) struct BlockReader<R> {
    inner: R,
    raw: Vec<u8>,
    at: usize,
}

impl<R: Read> BlockReader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self { inner, raw: Vec::new(), at: 0 }
    }

    /// Reads the next block; false at the end of the body.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut head = [0; CHECKSUM + HEADER];
        let mut filled = 0;
        while filled < head.len() {
            match self.inner.read(&mut head[filled..])? {
                0 if filled == 0 => return Ok(false),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => filled += n,
            }
        }
        let compressed_size = size(&head[17..21])?;
        let raw_size = size(&head[21..25])?;
        let data_size = compressed_size
            .checked_sub(HEADER)
            .filter(|_| raw_size <= RAW_SIZE_MAX && compressed_size <= RAW_SIZE_MAX)
            .ok_or_else(|| invalid(format!("block of {compressed_size} bytes for {raw_size} raw bytes")))?;
        let mut block = vec![0; HEADER + data_size];
        block[..HEADER].copy_from_slice(&head[CHECKSUM..]);
        self.inner.read_exact(&mut block[HEADER..])?;
        let hash = cityhash_102_128(&block).rotate_left(64).to_le_bytes();
        if hash != head[..CHECKSUM] {
            return Err(invalid("checksum of a compressed block does not match".into()));
        }
        let data = &block[HEADER..];
        self.raw = match block[0] {
            0x82 => lz4_flex::block::decompress(data, raw_size).map_err(|e| invalid(e.to_string()))?,
            0x90 => zstd::bulk::decompress(data, raw_size)?,
            0x02 => data.to_vec(),
            method => return Err(invalid(format!("compression method {method:#x} is not known"))),
        };
        if self.raw.len() != raw_size {
            return Err(invalid(format!("block of {} raw bytes says {raw_size}", self.raw.len())));
        }
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.raw.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let n = self.raw.get(self.at..).unwrap_or_default().read(buffer)?;
        self.at += n;
        Ok(n)
    }
}

fn size(bytes: &[u8]) -> io::Result<usize> {
    let bytes: [u8; 4] = bytes.try_into().map_err(|_| invalid("block header".into()))?;
    usize::try_from(u32::from_le_bytes(bytes)).map_err(|e| invalid(e.to_string()))
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(method: u8, data: &[u8], raw_size: usize) -> Vec<u8> {
        let mut body = vec![method];
        body.extend(u32::try_from(data.len() + HEADER).unwrap().to_le_bytes());
        body.extend(u32::try_from(raw_size).unwrap().to_le_bytes());
        body.extend(data);
        let mut block = cityhash_102_128(&body).rotate_left(64).to_le_bytes().to_vec();
        block.extend(body);
        block
    }

    fn read(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut raw = Vec::new();
        BlockReader::new(bytes).read_to_end(&mut raw).map(|_| raw)
    }

    #[test]
    fn every_method_gives_the_raw_bytes_back() {
        let raw = b"0123456789".repeat(1000);
        let mut body = block(0x82, &lz4_flex::block::compress(&raw), raw.len());
        body.extend(block(0x90, &zstd::bulk::compress(&raw, 1).unwrap(), raw.len()));
        body.extend(block(0x02, &raw, raw.len()));
        assert_eq!(read(&body).unwrap(), raw.repeat(3));
    }

    #[test]
    fn damage_and_truncation_are_errors() {
        let whole = block(0x02, b"abcdef", 6);
        for end in 1..whole.len() {
            assert!(read(&whole[..end]).is_err(), "cut at {end}");
        }
        for at in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged).is_err(), "flipped at {at}");
        }
        assert!(read(&block(0x02, b"abc", RAW_SIZE_MAX + 1)).is_err());
        assert!(read(&block(0x55, b"abc", 3)).is_err());
    }
}
