//! Writing files so that they are there after a crash.
//!
//! Owns every write, sync, rename and removal of the store in memory. Does not
//! own what is written. Reading is left to whoever reads.
//!
//! Invariant: nothing is written past these few functions, so a test that lets
//! them fail one by one has been everywhere.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The file system.
#[derive(Clone, Default)]
pub(super) struct Files {
    #[cfg(test)]
    pub(super) faults: Option<std::sync::Arc<super::tests::faults::Faults>>,
}

/// A file that is written from front to back.
pub(super) struct Output {
    file: File,
    path: PathBuf,
    files: Files,
}

/// What is done to a file, for tests that let it fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    Create(&'a Path),
    Write(&'a Path, &'a [u8]),
    Overwrite(&'a Path),
    Truncate(&'a Path, u64),
    Sync(&'a Path),
    Rename(&'a Path, &'a Path),
    Remove(&'a Path),
    SyncFolder(&'a Path),
}

impl Files {
    /// Creates a file that is not there yet.
    pub(super) fn create(&self, path: &Path) -> io::Result<Output> {
        self.step(Step::Create(path))?;
        let file = OpenOptions::new().write(true).create_new(true).open(path)?;
        Ok(Output { file, path: path.into(), files: self.clone() })
    }

    /// Opens a file to go on behind its first `len` bytes; what follows them is cut off.
    pub(super) fn reopen(&self, path: &Path, len: u64) -> io::Result<Output> {
        let mut file = OpenOptions::new().write(true).open(path)?;
        if file.metadata()?.len() != len {
            self.step(Step::Truncate(path, len))?;
            file.set_len(len)?;
            file.sync_all()?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Output { file, path: path.into(), files: self.clone() })
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Step::Rename(from, to))?;
        std::fs::rename(from, to)
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.step(Step::Remove(path))?;
        std::fs::remove_file(path)
    }

    /// Makes the names in `folder` durable.
    pub(super) fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.step(Step::SyncFolder(folder))?;
        File::open(folder)?.sync_all()
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests let it fail")]
    fn step(&self, _: Step<'_>) -> io::Result<()> {
        Ok(())
    }

    #[cfg(test)]
    fn step(&self, step: Step<'_>) -> io::Result<()> {
        self.faults.as_ref().map_or(Ok(()), |faults| faults.step(step))
    }
}

impl Output {
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.files.step(Step::Write(&self.path, bytes))?;
        self.file.write_all(bytes)
    }

    /// Replaces the first bytes of the file.
    pub(super) fn overwrite(&self, bytes: &[u8]) -> io::Result<()> {
        self.files.step(Step::Overwrite(&self.path))?;
        self.file.write_all_at(bytes, 0)
    }

    /// Makes the content durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.files.step(Step::Sync(&self.path))?;
        #[cfg(test)]
        if self.files.faults.is_some() {
            // the faults say what a loss of power leaves
            return Ok(());
        }
        self.file.sync_data()
    }
}
