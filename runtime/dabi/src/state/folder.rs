//! The folder of a store.
//!
//! Owns whose store it is, that only one process has it, how far it came at
//! least, and that a store which cannot be used is put aside. Does not own the
//! the log's and checkpoints' files (`logged`) or fjall's (`lsm`).
//!
//! Invariants: without its `store` file a folder is no store; that file is
//! written last and put aside first, so half of a store is never taken for one.

use std::fs::{File, OpenOptions, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dabi_core::engine::state::StateError;
use dabi_core::version::Version;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::bytes::Reader;
use super::fault::{Fault, failed};
use super::files::{Files, Output};
use super::frame::Chain;
use super::{Identity, StoreKind};

const LOCK: &str = "lock";
const STORE: &str = "store";
const MARK: &str = "mark";
const CONDEMNED: &str = "condemned";
const ASIDE: &str = "aside";
const FORMAT: u32 = 1;
/// How long the lock is waited for: who had it may be just ending.
const LOCK_PATIENCE: Duration = Duration::from_secs(2);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Tells one store from all others, so that files are not mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct StoreId(u64);

impl StoreId {
    /// For a store that is made new.
    pub(super) fn new() -> Self {
        Self(RandomState::new().hash_one(std::process::id()))
    }

    /// What the first frame of each of its files follows.
    pub(super) fn chain(self) -> Chain {
        Chain(self.0)
    }
}

/// What the `store` file says.
#[derive(Serialize, Deserialize)]
struct Label {
    format: u32,
    kind: StoreKind,
    identity: Identity,
    store: StoreId,
}

/// The folder of a store, locked.
pub(super) struct Folder {
    path: PathBuf,
    files: Files,
    /// Released when it is closed, by the system if need be.
    _lock: File,
}

impl Folder {
    /// Locks the folder, which is created if need be.
    pub(super) fn lock(path: &Path, files: Files) -> Result<Self, StateError> {
        let action = format!("open {}", path.display());
        let fail = |error: &dyn std::fmt::Display| failed(&action, error);
        std::fs::create_dir_all(path).map_err(|error| fail(&error))?;
        let lock = OpenOptions::new().create(true).truncate(false).write(true).open(path.join(LOCK));
        let lock = lock.map_err(|error| fail(&error))?;
        let patience = Instant::now() + LOCK_PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(Self { path: path.into(), files, _lock: lock }),
                Err(TryLockError::WouldBlock) if Instant::now() < patience => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::WouldBlock) => {
                    return Err(fail(
                        &"another process has it; stop that one, or give each pipeline a [state] dir of its own",
                    ));
                }
                Err(TryLockError::Error(error)) => return Err(fail(&error)),
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn files(&self) -> &Files {
        &self.files
    }

    /// The store in it, if there is one.
    pub(super) fn store(&self, kind: StoreKind, identity: &Identity) -> Result<Option<StoreId>, Fault> {
        let path = self.path.join(STORE);
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let is_empty = self.names()?.is_empty();
                return if is_empty { Ok(None) } else { Err(Fault::io("read", &path, &error)) };
            }
            Err(error) => return Err(Fault::io("read", &path, &error)),
        };
        if let Ok(reason) = std::fs::read_to_string(self.path.join(CONDEMNED)) {
            return Err(Fault::Damaged(reason));
        }
        let label = Reader::new(&text).u64().zip(text.get(8..)).filter(|(sum, text)| xxh3_64(text) == *sum);
        let label = label.and_then(|(_, text)| serde_json::from_slice::<Label>(text).ok());
        let Some(label) = label.filter(|label| label.format == FORMAT) else {
            return Err(Fault::damaged(&path, "damaged, or of another version of dabi"));
        };
        if label.identity != *identity {
            let Identity { pipeline, lake } = label.identity;
            return Err(Fault::Damaged(format!("it belongs to pipeline {pipeline} with lake {lake}")));
        }
        if label.kind != kind {
            return Err(Fault::Damaged("it was kept by the other kind of store".to_owned()));
        }
        Ok(Some(label.store))
    }

    /// The store is made: from now on the folder has one.
    pub(super) fn found(&self, kind: StoreKind, identity: &Identity, store: StoreId) -> io::Result<()> {
        let label = Label { format: FORMAT, kind, identity: identity.clone(), store };
        let text = serde_json::to_vec(&label)?;
        let draft = self.path.join("store.tmp");
        let mut output = self.files.create(&draft)?;
        output.write(&[&xxh3_64(&text).to_le_bytes(), &*text].concat())?;
        output.sync()?;
        self.files.rename(&draft, &self.path.join(STORE))?;
        self.files.sync_folder(&self.path)
    }

    /// The store is damaged, as was found while it was in use.
    pub(super) fn condemn(&self, reason: &str) -> io::Result<()> {
        std::fs::write(self.path.join(CONDEMNED), reason)
    }

    /// Puts what is in the folder aside, in place of what was put aside before.
    pub(super) fn put_aside(&self) -> Result<PathBuf, Fault> {
        let aside = self.path.join(ASIDE);
        let mut names = self.names()?;
        names.sort_by_key(|name| name != STORE);
        let put = || {
            match std::fs::remove_dir_all(&aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => std::fs::create_dir(&aside)?,
            }
            for name in &names {
                self.files.rename(&self.path.join(name), &aside.join(name))?;
            }
            self.files.sync_folder(&self.path)
        };
        put().map_err(|error: io::Error| Fault::io("put aside what is in", &self.path, &error))?;
        Ok(aside)
    }

    /// Bytes of all files of the store.
    pub(super) fn disk_bytes(&self) -> u64 {
        fn sum(path: &Path) -> u64 {
            let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
            let bytes = entries.map(|entry| match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => sum(&entry.path()),
                Ok(metadata) => metadata.len(),
                // removed meanwhile
                Err(_) => 0,
            });
            bytes.sum()
        }
        sum(&self.path)
    }

    /// The names of the store's files and folders.
    pub(super) fn names(&self) -> Result<Vec<String>, Fault> {
        let entries = std::fs::read_dir(&self.path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let entries = entries.map_err(|error| Fault::io("list", &self.path, &error))?;
        let names = entries.iter().map(|entry| entry.file_name().to_string_lossy().into_owned());
        Ok(names.filter(|name| name != LOCK && name != ASIDE).collect())
    }
}

/// How far the store came at least: written after each commit, never synced.
///
/// A crash of the process leaves it exact, a loss of power leaves an earlier
/// one. So it never promises too much, and a store that ends before it has lost
/// what was durable.
pub(super) struct Mark(Output);

impl Mark {
    /// Of a store that is made new.
    pub(super) fn create(folder: &Folder) -> io::Result<Self> {
        let mut output = folder.files.create(&folder.path.join(MARK))?;
        output.write(&mark(Version::default(), Chain::default()))?;
        output.sync()?;
        Ok(Self(output))
    }

    /// The one of a store that is there, and what it says.
    pub(super) fn open(folder: &Folder) -> Result<(Self, Version, Chain), Fault> {
        let path = folder.path.join(MARK);
        let fault = |error| Fault::io("open", &path, &error);
        let mut bytes = [0; 24];
        File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, 0)).map_err(fault)?;
        let mut reader = Reader::new(&bytes);
        let fields = reader.u64().map(Version).zip(reader.u64().map(Chain));
        let Some((version, chain)) = fields.filter(|(version, chain)| mark(*version, *chain) == bytes) else {
            return Err(Fault::damaged(&path, "damaged"));
        };
        let output = folder.files.reopen(&path, bytes.len() as u64).map_err(fault)?;
        Ok((Self(output), version, chain))
    }

    /// `version` is durable.
    pub(super) fn set(&self, version: Version, chain: Chain) -> io::Result<()> {
        self.0.overwrite(&mark(version, chain))
    }
}

fn mark(version: Version, chain: Chain) -> [u8; 24] {
    let mut bytes = [0; 24];
    let (fields, sum) = bytes.split_at_mut(16);
    fields[..8].copy_from_slice(&version.0.to_le_bytes());
    fields[8..].copy_from_slice(&chain.0.to_le_bytes());
    sum.copy_from_slice(&xxh3_64(fields).to_le_bytes());
    bytes
}
