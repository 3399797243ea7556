//! Entries in memory: a map, and its dump.
//!
//! Owns how a dump is written and loaded. Does not own durability (`logged`).
//!
//! Invariant: a piece of a dump holds changes of one shard, so that all shards
//! are loaded at the same time.

mod arena;
mod groups;
mod list;
mod map;
mod record;
mod shard;
mod table;

use std::fs::File;
use std::path::Path;

use arrow::array::BinaryArray;
use dabi_core::engine::state::{Members, Space, StateSize};
use dabi_core::version::Version;
use rayon::prelude::*;

use self::map::{Map, Walk};
use self::shard::{Hash, SHARDS, Shard};
use super::StoreKind;
use super::bytes::Reader;
use super::change::{self, Changes};
use super::fault::Fault;
use super::frame::{Draft, Frame};
use super::logged::{Base, Entries, column};

/// A piece is read, checked and loaded at once.
const PIECE_BYTES: usize = 256 << 10;

/// Entries in memory.
pub(super) struct Memory {
    map: Map,
    /// More than this it may not hold.
    bytes_max: u64,
}

impl Memory {
    fn shard_sum<T: std::iter::Sum>(&self, of: impl Fn(&Shard) -> T) -> T {
        self.map.shards().iter().map(of).sum()
    }

    fn held_bytes(&self) -> u64 {
        self.shard_sum(Shard::held_bytes) as u64
    }
}

impl Entries for Memory {
    const KIND: StoreKind = StoreKind::Memory;
    const MAY_GO_AHEAD: bool = true;
    type Settings = u64;
    type Walk = Walk;

    fn create(_: &Path, bytes_max: &u64) -> Result<Self, Fault> {
        Ok(Self { map: Map::default(), bytes_max: *bytes_max })
    }

    fn open(_: &Path, bytes_max: &u64, base: Option<&Base>) -> Result<Self, Fault> {
        let map = base.map_or_else(|| Ok(Map::default()), load)?;
        Ok(Self { map, bytes_max: *bytes_max })
    }

    fn through(&self) -> Version {
        Version::default()
    }

    fn refusal(&self) -> Option<String> {
        let held = self.held_bytes();
        (held > self.bytes_max).then(|| {
            format!(
                "it holds {} MiB and may hold {}: raise [state] memory_bytes, or set store = \"disk\" \
                 (slower, and a reload from the lake)",
                held >> 20,
                self.bytes_max >> 20
            )
        })
    }

    fn apply(&mut self, _: Version, changes: &[u8]) -> Result<(), Fault> {
        let applied = self.map.apply(changes);
        applied.ok_or_else(|| Fault::Damaged("an epoch of the log holds no changes".to_owned()))
    }

    fn live_bytes(&self) -> u64 {
        self.shard_sum(Shard::live_bytes) as u64
    }

    fn dump(&self, walk: &mut Walk, bytes: usize) -> Result<Vec<Draft>, Fault> {
        let mut pieces = Vec::new();
        let mut dumped = 0;
        while dumped < bytes && !walk.is_done() {
            let piece = Draft::new(|mut body| {
                body.extend_from_slice(&walk.shard().to_le_bytes());
                let mut changes = Changes::after(body);
                self.map.dump(walk, PIECE_BYTES, &mut changes);
                changes.finish()
            });
            dumped += piece.len();
            pieces.push(piece);
        }
        Ok(pieces)
    }

    fn is_dumped(walk: &Walk) -> bool {
        walk.is_done()
    }

    fn read(&self, space: Space, keys: &BinaryArray) -> Result<BinaryArray, Fault> {
        let values: Vec<Option<&[u8]>> = keys
            .iter()
            .map(|key| {
                let key = key?;
                let hash = Hash::of(key);
                self.map.shard(hash).get(space, hash.tag(), key)
            })
            .collect();
        column(&values)
    }

    fn members(&self, space: Space, groups: &BinaryArray, limit: usize) -> Result<Members, Fault> {
        let (mut places, mut members, mut cut) = (Vec::new(), Vec::new(), Vec::new());
        for (place, group) in (0_u32..).zip(groups) {
            let Some(group) = group else { continue };
            let hash = Hash::of(group);
            let mut all = self.map.shard(hash).members(space, hash.tag(), group, None);
            members.extend(all.by_ref().take(limit).map(Some));
            places.resize(members.len(), place);
            cut.extend(all.next().map(|_| place));
        }
        Ok(Members { groups: places, members: column(&members)?, cut })
    }

    fn page(
        &self,
        space: Space,
        group: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<BinaryArray, Fault> {
        let hash = Hash::of(group);
        let members = self.map.shard(hash).members(space, hash.tag(), group, after);
        column(&members.take(limit).map(Some).collect::<Vec<_>>())
    }

    fn keys(&self, space: Space, after: Option<&[u8]>, limit: usize) -> Result<BinaryArray, Fault> {
        column(&self.map.keys(space, after).take(limit).map(Some).collect::<Vec<_>>())
    }

    fn size(&self) -> StateSize {
        StateSize {
            entries: Some(self.shard_sum(Shard::entry_count)),
            members: Some(self.shard_sum(Shard::member_count)),
            memory_bytes: self.held_bytes(),
            disk_bytes: 0,
        }
    }
}

fn load(base: &Base) -> Result<Map, Fault> {
    let io = |error| Fault::io("read", base.path, &error);
    let mut by_shard: Vec<Vec<&Frame>> = Vec::new();
    by_shard.resize_with(SHARDS, Vec::new);
    for part in base.parts {
        let shard = usize::from(u16::from_le_bytes(part.prefix(base.file).map_err(io)?));
        let parts = by_shard.get_mut(shard);
        parts.ok_or_else(|| Fault::damaged(base.path, format_args!("there is no shard {shard}")))?.push(part);
    }
    let shards = by_shard.into_par_iter().enumerate().map(|(number, parts)| {
        let mut shard = Shard::default();
        for part in parts {
            load_part(&mut shard, number, part, base.file).map_err(io)?.ok_or_else(|| {
                Fault::damaged(base.path, format_args!("a part of shard {number} is damaged"))
            })?;
        }
        Ok(shard)
    });
    Ok(Map::new(shards.collect::<Result<_, Fault>>()?))
}

/// `None` if `part` is damaged, or of another shard than `number`.
fn load_part(shard: &mut Shard, number: usize, part: &Frame, file: &File) -> std::io::Result<Option<()>> {
    let Some(body) = part.body(file)? else { return Ok(None) };
    let mut reader = Reader::new(&body);
    let mut is_here = reader.u16().map(usize::from) == Some(number);
    let mut changes = Vec::new();
    let read = reader.take(reader.len()).and_then(|bytes| {
        change::read(bytes, |change| {
            let hash = Hash::of(change.key);
            is_here &= hash.shard() == number;
            changes.push((hash.tag(), change));
        })
    });
    Ok(read.filter(|()| is_here).map(|()| shard.apply(changes)))
}
