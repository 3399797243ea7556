//! The state store: what the stateful engine remembers.
//!
//! Owns how it is kept: an epoch log (`logged`) over entries in memory (`memory`)
//! or on disk (`lsm`), and when what is found on disk cannot be used. Does not own what the
//! bytes mean (`dabi_core::engine`), or whether a whole store is older than the
//! warehouse: who opens it compares [`State::committed`].
//!
//! Invariant: a store that opens holds exactly what was committed last. Anything
//! else is put aside, with the reason, and an empty store takes its place, to be
//! loaded from the lake.

mod bytes;
mod change;
mod fault;
mod files;
mod folder;
mod frame;
mod logged;
mod lsm;
mod memory;
mod settings;
mod standing;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use dabi_core::engine::state::{State, StateError};
use serde::{Deserialize, Serialize};

use self::fault::Fault;
use self::files::Files;
use self::folder::Folder;
use self::logged::{Entries, LoggedState};
use self::lsm::Lsm;
use self::memory::Memory;
pub use self::settings::{StateSettings, StoreKind};

/// One part in so many of the memory is fjall's cache; the rest is the system's,
/// for the same files.
const DISK_CACHE_SHARE: u64 = 4;

/// Whose state it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The pipeline's name.
    pub pipeline: String,
    /// What tells its lake from every other.
    pub lake: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// Nothing: the store is new.
    New,
    /// What was committed last.
    Recovered {
        /// How long it took.
        took: Duration,
        /// Outboxes that are not known to be in the warehouse.
        unsent: usize,
    },
    /// Something that cannot be used. The store is new, to be loaded from the
    /// lake under a higher term.
    Rebuild {
        /// Why.
        reason: String,
        /// Where what was found is now, until the next time.
        aside: PathBuf,
    },
}

/// Opens the store of `identity`, or makes it.
///
/// # Errors
/// If another process has it, or the system refuses to read or write it. Damage
/// is no error but [`Opened::Rebuild`].
pub fn open(settings: &StateSettings, identity: &Identity) -> Result<(Box<dyn State>, Opened), StateError> {
    open_with(settings, identity, Files::default())
}

/// Gives up what the store of `settings` holds, whatever it is: the next
/// [`open`] puts it aside and makes a new one.
///
/// # Errors
/// If another process has it, or the system refuses to write.
pub fn condemn(settings: &StateSettings, reason: &str) -> Result<(), StateError> {
    let folder = Folder::lock(&settings.dir, Files::default())?;
    folder.condemn(reason).map_err(|error| StateError {
        action: format!("give up {}", settings.dir.display()),
        cause: error.to_string(),
    })
}

fn open_with(
    settings: &StateSettings,
    identity: &Identity,
    files: Files,
) -> Result<(Box<dyn State>, Opened), StateError> {
    let folder = Folder::lock(&settings.dir, files)?;
    let (memory_bytes, log_bytes_min) = (settings.memory_bytes(), settings.log_bytes_min);
    match settings.store {
        StoreKind::Memory => open_entries::<Memory>(folder, identity, &memory_bytes, log_bytes_min),
        StoreKind::Disk => {
            let cache_bytes = memory_bytes / DISK_CACHE_SHARE;
            open_entries::<Lsm>(folder, identity, &cache_bytes, log_bytes_min)
        }
    }
}

fn open_entries<E: Entries + 'static>(
    folder: Folder,
    identity: &Identity,
    settings: &E::Settings,
    log_bytes_min: u64,
) -> Result<(Box<dyn State>, Opened), StateError> {
    let began = Instant::now();
    let create = |folder| LoggedState::<E>::create(folder, identity, settings, log_bytes_min).map(Box::new);
    let (fault, folder) = match folder.store(E::KIND, identity) {
        Ok(None) => return Ok((create(folder)?, Opened::New)),
        Ok(Some(id)) => match LoggedState::<E>::open(folder, id, settings, log_bytes_min) {
            Ok(state) => {
                let unsent = state.unsent()?.len();
                return Ok((Box::new(state), Opened::Recovered { took: began.elapsed(), unsent }));
            }
            Err(fault) => fault,
        },
        Err(fault) => (fault, folder),
    };
    match fault {
        Fault::Failed(error) => Err(error),
        Fault::Damaged(reason) => {
            let aside = folder.put_aside().map_err(Fault::into_error)?;
            Ok((create(folder)?, Opened::Rebuild { reason, aside }))
        }
    }
}
