//! Where a store stands: the last commit, and the outboxes that are not sent yet.
//!
//! Owns which epoch may follow which, and which outboxes are kept. Does not own
//! how either is made durable.
//!
//! Invariant: outboxes are kept until they are known to be sent, oldest first; an
//! epoch that sends nothing has none.

use std::collections::VecDeque;

use dabi_core::engine::state::{Commit, Committed, Unsent};
use dabi_core::version::{Epoch, Version};

/// Where a store stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) committed: Option<Committed>,
    /// Everything up to here is in the warehouse.
    pub(super) sent: Version,
    pub(super) unsent: VecDeque<Unsent>,
}

impl Standing {
    /// Why `commit` may not follow, if so.
    pub(super) fn refusal(&self, commit: &Commit) -> Option<String> {
        let last = self.committed.as_ref()?;
        let follows =
            commit.term > last.term || (commit.term, commit.epoch) == (last.term, last.epoch.next());
        (!follows).then(|| format!("epoch {} of term {} is the last one", last.epoch, last.term))
    }

    /// An epoch is committed, and everything up to `sent` was known to be sent then.
    pub(super) fn pass(&mut self, version: Version, sent: Version, meta: Vec<u8>, outbox: Vec<u8>) {
        let (term, epoch) = (version.term(), version.epoch());
        self.keep(Unsent { term, epoch, outbox });
        self.committed = Some(Committed { term, epoch, meta });
        self.drop_sent(sent);
    }

    /// Keeps what an epoch sends, if anything.
    pub(super) fn keep(&mut self, unsent: Unsent) {
        if !unsent.outbox.is_empty() {
            self.unsent.push_back(unsent);
        }
    }

    /// Everything up to `epoch` of the last commit's term is sent.
    pub(super) fn sent(&mut self, epoch: Epoch) {
        if let Some(last) = &self.committed {
            self.drop_sent(Version::new(last.term, epoch));
        }
    }

    /// Memory held.
    pub(super) fn held_bytes(&self) -> usize {
        let meta = self.committed.as_ref().map_or(0, |last| last.meta.len());
        meta + self.unsent.iter().map(|unsent| unsent.outbox.len()).sum::<usize>()
    }

    fn drop_sent(&mut self, sent: Version) {
        self.sent = self.sent.max(sent);
        while self.unsent.front().is_some_and(|first| Version::new(first.term, first.epoch) <= self.sent) {
            self.unsent.pop_front();
        }
    }
}
