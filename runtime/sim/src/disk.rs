//! The disk under a process's row state.
//!
//! Owns what a store keeps over a crash: its commits, each with what was known
//! to be sent when it was made. What is told to it between two commits is lost.
//! (That the real stores keep to this through any loss of power is shown by
//! their own tests, step by step.)

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::BinaryArray;
use dabi_core::engine::state::testing::MapState;
use dabi_core::engine::state::{Commit, Committed, Members, Space, State, StateError, StateSize, Unsent};
use dabi_core::version::Epoch;

/// What is durable; `None` where no store was made. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<Option<MapState>>>);

/// A store as the process that has opened it sees it.
pub(crate) struct Store {
    memory: MapState,
    disk: Disk,
}

impl Disk {
    /// Opens the store, or makes it.
    pub(crate) fn open(&self) -> Store {
        let mut durable = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Store { memory: durable.get_or_insert_default().clone(), disk: self.clone() }
    }

    /// Takes away what is on it.
    pub(crate) fn lose(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl State for Store {
    fn read(&self, space: Space, keys: &BinaryArray) -> Result<BinaryArray, StateError> {
        self.memory.read(space, keys)
    }

    fn members(&self, space: Space, groups: &BinaryArray, limit: usize) -> Result<Members, StateError> {
        self.memory.members(space, groups, limit)
    }

    fn page(
        &self,
        space: Space,
        group: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<BinaryArray, StateError> {
        self.memory.page(space, group, after, limit)
    }

    fn keys(&self, space: Space, after: Option<&[u8]>, limit: usize) -> Result<BinaryArray, StateError> {
        self.memory.keys(space, after, limit)
    }

    fn commit(&mut self, commit: &Commit) -> Result<(), StateError> {
        self.memory.commit(commit)?;
        *self.disk.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(self.memory.clone());
        Ok(())
    }

    fn sent(&mut self, epoch: Epoch) -> Result<(), StateError> {
        self.memory.sent(epoch)
    }

    fn committed(&self) -> Option<Committed> {
        self.memory.committed()
    }

    fn unsent(&self) -> Result<Vec<Unsent>, StateError> {
        self.memory.unsent()
    }

    fn size(&self) -> StateSize {
        self.memory.size()
    }
}
