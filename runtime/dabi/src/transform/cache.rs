//! Compiled code on disk.
//!
//! Invariant: a file is used only if it is byte for byte what this program
//! wrote there: each begins with the SHA-256 of the rest, and is renamed into
//! place whole. Whoever may write the folder can run code as dabi; keep it
//! dabi's own. A cache that fails costs time, never correctness: the caller
//! logs and compiles.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

/// More compiled modules than this are not kept; the oldest go first.
const FILES_MAX: usize = 64;
const HASH_BYTES: usize = 32;

pub(super) struct CompileCache {
    dir: PathBuf,
}

impl CompileCache {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The compiled form of `component`, if it is here and whole.
    pub(super) fn get(&self, engine: &Engine, component: &[u8]) -> Option<Component> {
        let file = fs::read(self.path(engine, component)).ok()?;
        let (hash, code) = file.split_at_checked(HASH_BYTES)?;
        if Sha256::digest(code).as_slice() != hash {
            return None;
        }
        // SAFETY: the bytes are what `put` wrote, by their hash, and the folder
        // is only dabi's to write; wasmtime itself checks that the code was
        // compiled by this version with these settings.
        unsafe { Component::deserialize(engine, code) }.ok()
    }

    /// Keeps the compiled form of `component`.
    pub(super) fn put(&self, engine: &Engine, component: &[u8], compiled: &Component) -> io::Result<()> {
        let code = compiled.serialize().map_err(io::Error::other)?;
        fs::create_dir_all(&self.dir)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
        file.write_all(&Sha256::digest(&code))?;
        file.write_all(&code)?;
        file.persist(self.path(engine, component))?;
        self.prune()
    }

    fn path(&self, engine: &Engine, component: &[u8]) -> PathBuf {
        let mut compatibility = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut compatibility);
        let hash = super::module::ModuleHash::of(component);
        self.dir.join(format!("{hash}-{:016x}.cwasm", compatibility.finish()))
    }

    fn prune(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            files.push((modified.unwrap_or(SystemTime::UNIX_EPOCH), entry.path()));
        }
        files.sort();
        let surplus = files.len().saturating_sub(FILES_MAX);
        files.into_iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }
}
