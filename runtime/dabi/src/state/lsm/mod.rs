//! Entries on disk, in fjall, for state that memory does not hold.
//!
//! Owns how entries become fjall's keys. Does not own durability (`logged`):
//! fjall's own journal, which may lose records in silence when it is damaged, is
//! never read.
//!
//! Invariants: the log has every epoch before fjall sees it, and keeps it until
//! a checkpoint, which is done once all that fjall held at its beginning is in
//! sorted files, with checksums; so replaying the log over those files makes it
//! right. Each epoch's number is written with its entries, so files older than
//! the checkpoint are noticed.
//!
//! Keys: a kind (1 byte) and a space (u16, big-endian), then the key, or the
//! length of the group (u32, big-endian), the group, and the member.

use std::io::{self, ErrorKind};
use std::ops::Bound;
use std::path::Path;

use arrow::array::{Array, BinaryArray};
use dabi_core::engine::state::{Members, Space, StateSize};
use dabi_core::version::Version;
use fjall::{Database, Keyspace, KeyspaceCreateOptions};

use super::StoreKind;
use super::change::{self, Change, What};
use super::fault::{Fault, failed};
use super::frame::Draft;
use super::logged::{Base, Entries, column};

const FOLDER: &str = "fjall";
const KEYSPACE: &str = "state";
/// The key of the last epoch that was applied.
const EPOCH: [u8; 1] = [0];
const VALUE: u8 = 1;
const MEMBER: u8 = 2;
/// What fjall can hold in a key.
const KEY_BYTES_MAX: usize = u16::MAX as usize;
/// What fjall collects in memory before it writes a file.
const MEMTABLE_BYTES: u64 = 64 << 20;
/// At most four of them wait to be written, beside the one that is filled.
const MEMTABLES_MAX: u64 = 5;

/// Entries in fjall.
pub(super) struct Lsm {
    database: Database,
    keyspace: Keyspace,
    cache_bytes: u64,
}

/// How far fjall is in writing what it held when the checkpoint began.
#[derive(Default)]
pub(super) enum Flush {
    #[default]
    Due,
    Running,
    Done,
}

impl Lsm {
    fn open_folder(folder: &Path, cache_bytes: u64) -> Result<Self, Fault> {
        let database = Database::builder(folder.join(FOLDER)).cache_size(cache_bytes).open();
        let database = database.map_err(fault("open"))?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let keyspace = database.keyspace(KEYSPACE, options).map_err(fault("open"))?;
        Ok(Self { database, keyspace, cache_bytes })
    }

    fn epoch(&self) -> Result<Version, Fault> {
        let Some(bytes) = self.keyspace.get(EPOCH).map_err(fault("read"))? else {
            return Ok(Version::default());
        };
        let bytes = bytes.as_ref().try_into();
        let bytes = bytes.map_err(|_| Fault::Damaged("fjall holds no epoch where it should".to_owned()))?;
        Ok(Version(u64::from_le_bytes(bytes)))
    }

    /// What follows `prefix` in the keys that begin with it and are greater than
    /// `prefix` and `after`; up to `limit`.
    fn suffixes(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Vec<u8>>, Fault> {
        let start = match after {
            Some(after) => Bound::Excluded([prefix, after].concat()),
            None => Bound::Included(prefix.to_vec()),
        };
        let mut suffixes = Vec::new();
        for entry in self.keyspace.range((start, Bound::Unbounded)) {
            if suffixes.len() == limit {
                break;
            }
            let key = entry.key().map_err(fault("read"))?;
            let Some(suffix) = key.strip_prefix(prefix) else { break };
            suffixes.push(suffix.to_vec());
        }
        Ok(suffixes)
    }
}

impl Entries for Lsm {
    const KIND: StoreKind = StoreKind::Disk;
    // what fjall has seen, a crash of the process leaves there
    const MAY_GO_AHEAD: bool = false;
    /// Bytes of its cache.
    type Settings = u64;
    type Walk = Flush;

    fn create(folder: &Path, cache_bytes: &u64) -> Result<Self, Fault> {
        Self::open_folder(folder, *cache_bytes)
    }

    fn open(folder: &Path, cache_bytes: &u64, base: Option<&Base>) -> Result<Self, Fault> {
        let path = folder.join(FOLDER);
        empty_journal(&path).map_err(|error| Fault::io("open", &path, &error))?;
        let this = Self::open_folder(folder, *cache_bytes)?;
        let (epoch, due) = (this.epoch()?, base.map_or(Version::default(), |base| base.version));
        if epoch < due {
            return Err(Fault::damaged(&path, "older than the checkpoint that goes with it"));
        }
        Ok(this)
    }

    fn through(&self) -> Version {
        // damage shows when it is read for its own sake
        self.epoch().unwrap_or_default()
    }

    fn refusal(&self) -> Option<String> {
        None
    }

    fn apply(&mut self, version: Version, changes: &[u8]) -> Result<(), Fault> {
        let mut batch = self.database.batch();
        let mut longest = 0;
        let read = change::read(changes, |change| {
            let key = key_of(&change);
            longest = longest.max(key.len());
            if key.len() > KEY_BYTES_MAX {
                return;
            }
            match change.what {
                What::Set(value) => batch.insert(&self.keyspace, key, value),
                What::Join(_) => batch.insert(&self.keyspace, key, []),
                What::Remove | What::Leave(_) => batch.remove(&self.keyspace, key),
            }
        });
        read.ok_or_else(|| Fault::Damaged("an epoch of the log holds no changes".to_owned()))?;
        if longest > KEY_BYTES_MAX {
            let cause =
                format!("a key of {longest} bytes; at [state] store = \"disk\" it may have {KEY_BYTES_MAX}");
            return Err(failed("put", &cause).into());
        }
        batch.insert(&self.keyspace, EPOCH, version.0.to_le_bytes());
        batch.commit().map_err(fault("write"))
    }

    fn live_bytes(&self) -> u64 {
        // a checkpoint takes but a flush of what is in memory
        0
    }

    fn dump(&self, walk: &mut Flush, _: usize) -> Result<Vec<Draft>, Fault> {
        *walk = match walk {
            Flush::Due => {
                self.keyspace.rotate_memtable().map_err(fault("flush"))?;
                Flush::Running
            }
            Flush::Running if self.keyspace.sealed_memtable_count() == 0 => Flush::Done,
            Flush::Running => Flush::Running,
            Flush::Done => Flush::Done,
        };
        Ok(Vec::new())
    }

    fn is_dumped(walk: &Flush) -> bool {
        matches!(walk, Flush::Done)
    }

    fn read(&self, space: Space, keys: &BinaryArray) -> Result<BinaryArray, Fault> {
        // in the order of the files, so that neighbours share a block
        let mut order: Vec<usize> = (0..keys.len()).filter(|at| keys.is_valid(*at)).collect();
        order.sort_unstable_by_key(|at| keys.value(*at));
        let mut values = vec![None; keys.len()];
        let mut key = prefix(VALUE, space).to_vec();
        for at in order {
            key.truncate(PREFIX_BYTES);
            key.extend_from_slice(keys.value(at));
            values[at] = self.keyspace.get(&key).map_err(fault("read"))?;
        }
        column(&values)
    }

    fn members(&self, space: Space, groups: &BinaryArray, limit: usize) -> Result<Members, Fault> {
        let (mut places, mut members, mut cut) = (Vec::new(), Vec::new(), Vec::new());
        for (place, group) in (0_u32..).zip(groups) {
            let Some(group) = group else { continue };
            let found = self.suffixes(&group_prefix(space, group), None, limit.saturating_add(1))?;
            cut.extend((found.len() > limit).then_some(place));
            members.extend(found.into_iter().take(limit).map(Some));
            places.resize(members.len(), place);
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
        let members = self.suffixes(&group_prefix(space, group), after, limit)?;
        column(&members.into_iter().map(Some).collect::<Vec<_>>())
    }

    fn keys(&self, space: Space, after: Option<&[u8]>, limit: usize) -> Result<BinaryArray, Fault> {
        let keys = self.suffixes(&prefix(VALUE, space), after, limit)?;
        column(&keys.into_iter().map(Some).collect::<Vec<_>>())
    }

    fn size(&self) -> StateSize {
        StateSize {
            entries: None,
            members: None,
            memory_bytes: self.cache_bytes + MEMTABLE_BYTES * MEMTABLES_MAX,
            disk_bytes: 0,
        }
    }
}

/// Puts an empty journal in place of those that are there: the log has what was
/// only in them, and fjall ends the process over some damage of a journal, and
/// passes over other damage in silence. Without any it would count its writes
/// anew, and take what is older for newer.
fn empty_journal(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "jnl") {
            std::fs::remove_file(path)?;
        }
    }
    std::fs::write(folder.join("0.jnl"), [])
}

const PREFIX_BYTES: usize = 3;

fn prefix(kind: u8, space: Space) -> [u8; PREFIX_BYTES] {
    let [high, low] = space.0.to_be_bytes();
    [kind, high, low]
}

fn group_prefix(space: Space, group: &[u8]) -> Vec<u8> {
    let len = u32::try_from(group.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&prefix(MEMBER, space), &len[..], group].concat()
}

fn key_of(change: &Change<'_>) -> Vec<u8> {
    match change.what {
        What::Set(_) | What::Remove => [&prefix(VALUE, change.space)[..], change.key].concat(),
        What::Join(member) | What::Leave(member) => {
            [&group_prefix(change.space, change.key)[..], member].concat()
        }
    }
}

/// What the system refused may be whole; anything else is damage.
fn fault(action: &'static str) -> impl Fn(fjall::Error) -> Fault {
    move |error| {
        let is_refused = match &error {
            fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
                !is_of_damage(error.kind())
            }
            fjall::Error::Poisoned | fjall::Error::Locked => true,
            _ => false,
        };
        if is_refused {
            return failed(&format!("{action} in fjall"), &error).into();
        }
        Fault::Damaged(format!("fjall: {error}"))
    }
}

/// Does fjall meet it where its files are not what it left?
fn is_of_damage(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotFound
            | ErrorKind::UnexpectedEof
            | ErrorKind::AlreadyExists
            | ErrorKind::InvalidData
            | ErrorKind::InvalidInput
            | ErrorKind::IsADirectory
            | ErrorKind::NotADirectory
    )
}
