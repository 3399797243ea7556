//! A file system that fails, and what a loss of power leaves of it.
//!
//! Owns what is known to be durable. Does not own the tests (`crashes`).
//!
//! After the step that fails nothing works any more. Then everything that was not
//! synced may be lost: the ends of files, whole or in parts, and the names of
//! those whose folder was not synced.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use fastrand::Rng;

use super::super::files::{Files, Step};

/// Which step fails.
pub(in crate::state) struct Faults(Mutex<Inner>);

struct Inner {
    /// Steps until one fails.
    left: usize,
    /// The length of each file that was written, and how much of it is durable.
    files: BTreeMap<PathBuf, (u64, u64)>,
    /// Names that are not durable yet, the latest last.
    names: Vec<Name>,
}

enum Name {
    Created(PathBuf),
    Renamed(PathBuf, PathBuf),
}

impl Faults {
    /// All steps work, but for the one that follows `steps` of them, and all after that one.
    pub(super) fn after(steps: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inner { left: steps, files: BTreeMap::new(), names: Vec::new() })))
    }

    pub(super) fn files(self: &Arc<Self>) -> Files {
        Files { faults: Some(Arc::clone(self)) }
    }

    /// Has a step failed?
    pub(super) fn struck(&self) -> bool {
        self.0.lock().unwrap().left == 0
    }

    pub(in crate::state) fn step(&self, step: Step<'_>) -> io::Result<()> {
        let inner = &mut *self.0.lock().unwrap();
        if inner.left == 0 {
            return Err(io::Error::other("the disk is gone"));
        }
        inner.left -= 1;
        if inner.left > 0 {
            return inner.note(step);
        }
        if let Step::Write(path, bytes) = step {
            let part = &bytes[..bytes.len() / 2];
            OpenOptions::new().append(true).open(path)?.write_all(part)?;
            inner.note(Step::Write(path, part))?;
        }
        Err(io::Error::from(io::ErrorKind::StorageFull))
    }

    /// Takes away what a loss of power takes, as the dice fall.
    pub(super) fn lose(&self, rng: &mut Rng) {
        let inner = &mut *self.0.lock().unwrap();
        for (path, (len, durable)) in &inner.files {
            let file = OpenOptions::new().write(true).open(path).unwrap();
            let left = rng.u64(*durable..=*len);
            file.set_len(left).unwrap();
            if rng.bool() && left > *durable {
                // a page in the middle was not written
                let hole = usize::try_from(rng.u64(0..left - durable)).unwrap();
                file.write_all_at(&vec![0; hole], rng.u64(*durable..=left - hole as u64)).unwrap();
            }
        }
        while let Some(name) = inner.names.pop() {
            match name {
                Name::Created(path) if rng.bool() => std::fs::remove_file(path).unwrap(),
                Name::Renamed(from, to) if rng.bool() => std::fs::rename(to, from).unwrap(),
                // names are written in order: one that is durable makes the earlier ones so
                _ => break,
            }
        }
    }
}

impl Inner {
    fn note(&mut self, step: Step<'_>) -> io::Result<()> {
        match step {
            Step::Create(path) => {
                self.files.insert(path.into(), (0, 0));
                self.names.push(Name::Created(path.into()));
            }
            Step::Write(path, bytes) => self.lengths(path)?.0 += bytes.len() as u64,
            Step::Truncate(path, len) => *self.lengths(path)? = (len, len),
            Step::Sync(path) => {
                let (len, durable) = self.lengths(path)?;
                *durable = *len;
            }
            Step::Rename(from, to) => {
                if let Some(lengths) = self.files.remove(from) {
                    self.files.insert(to.into(), lengths);
                }
                self.names.push(Name::Renamed(from.into(), to.into()));
            }
            Step::Remove(path) => _ = self.files.remove(path),
            Step::SyncFolder(_) => self.names.clear(),
            Step::Overwrite(_) => {}
        }
        Ok(())
    }

    fn lengths(&mut self, path: &Path) -> io::Result<&mut (u64, u64)> {
        if !self.files.contains_key(path) {
            let len = std::fs::metadata(path)?.len();
            self.files.insert(path.into(), (len, len));
        }
        Ok(self.files.get_mut(path).expect("it was just put there"))
    }
}
