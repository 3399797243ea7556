//! The disk under a process's row state.
//!
//! Owns what a store keeps over a crash: its commits, each with what was known
//! to be sent when it was made. What is told to it between two commits is lost.
//! (That the real stores keep to this through any loss of power is shown by
//! their own tests, step by step.)

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::BinaryArray;
use dabi_core::engine::state::testing::MapState;
use dabi_core::engine::state::{Commit, Committed, Members, Space, State, StateError, StateSize, Unsent};
use dabi_core::version::Epoch;

/// What is durable after each of the last commits, the newest at the end; nothing
/// where no store was made. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Disk(Arc<Mutex<VecDeque<MapState>>>);

/// Commits that a copy from before may lack.
const KEPT_MAX: usize = 6;

/// A store as the process that has opened it sees it.
pub(crate) struct Store {
    memory: MapState,
    disk: Disk,
}

impl Disk {
    /// Opens the store, or makes it.
    pub(crate) fn open(&self) -> Store {
        let mut durable = self.lock();
        if durable.is_empty() {
            durable.push_back(MapState::default());
        }
        let memory = durable.back().cloned().unwrap_or_default();
        Store { memory, disk: self.clone() }
    }

    /// Takes away what is on it.
    pub(crate) fn lose(&self) {
        self.lock().clear();
    }

    /// Puts a copy from before the last `commits` in its place.
    pub(crate) fn go_back(&self, commits: usize) {
        let mut durable = self.lock();
        let left = durable.len().saturating_sub(commits).max(1);
        durable.truncate(left);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<MapState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut durable = self.disk.lock();
        durable.push_back(self.memory.clone());
        if durable.len() > KEPT_MAX {
            durable.pop_front();
        }
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
