//! The rows that a transform is called with.
//!
//! Owns what is evaluated for a source key: its current row, and for targets that
//! keep versions every row that it ever had. Does not own what is joined to them
//! (`join`), nor what they come to (`evaluate`).

use std::borrow::Cow;

use arrow::array::BinaryArray;

use super::changes::Found;
use super::entries::{Moment, in_time};
use super::join::Tables;
use super::plan::TransformPlan;
use super::record::Head;
use super::timeline::Emptied;
use crate::engine::state::StateError;

/// What the store has of some source keys.
pub(super) struct FoundSources<'a> {
    current: Option<Found<'a>>,
    histories: Option<Found<'a>>,
}

/// Source rows, key by key; of a key in the order of time, the current one last.
#[derive(Default)]
pub(super) struct Sources<'a> {
    pub(super) rows: Vec<SourceRow<'a>>,
    /// What happened to keys of which versions are kept; in the same order.
    pub(super) happened: Vec<Happened>,
}

/// A row.
pub(super) struct SourceRow<'a> {
    /// Position of its key among those asked for.
    pub(super) key: u32,
    /// Is it what the key was at a commit, rather than what it is now?
    pub(super) is_history: bool,
    pub(super) record: Cow<'a, [u8]>,
}

/// An entry of a key's history.
pub(super) struct Happened {
    pub(super) key: u32,
    pub(super) head: Head,
    /// Number of the row that it left, if it left one.
    pub(super) row: Option<u32>,
}

impl<'a> FoundSources<'a> {
    /// # Errors
    /// If the store fails.
    pub(super) fn find(
        plan: &TransformPlan,
        tables: &Tables<'a>,
        keys: &BinaryArray,
    ) -> Result<Self, StateError> {
        let rows = &tables.rows[plan.relation];
        let current = plan.keeps_current().then(|| rows.find(tables.state, keys));
        let histories = plan.keeps_versions().then(|| rows.find_histories(tables.state, keys));
        Ok(Self { current: current.transpose()?, histories: histories.transpose()?.flatten() })
    }

    /// The rows of so many keys, of a table that was emptied so often.
    pub(super) fn sources(&self, keys: usize, emptied: &Emptied) -> Sources<'_> {
        let mut sources = Sources { rows: Vec::with_capacity(keys), happened: Vec::new() };
        for (key, index) in (0_u32..).zip(0..keys) {
            if let Some(entries) = self.histories.as_ref().and_then(|found| found.get(index)) {
                sources.push_history(key, entries, emptied);
            }
            if let Some(record) = self.current.as_ref().and_then(|found| found.get(index)) {
                sources.rows.push(SourceRow { key, is_history: false, record: Cow::Borrowed(record) });
            }
        }
        sources
    }
}

impl<'a> Sources<'a> {
    /// What nobody can have seen, because its transaction went on, is left out.
    fn push_history(&mut self, key: u32, entries: &'a [u8], emptied: &Emptied) {
        let mut moments = in_time(entries).into_iter().peekable();
        while let Some(Moment { head, row }) = moments.next() {
            let next = moments.peek().map(|next| next.head.ts_us);
            let row = row.filter(|_| emptied.leave(head.ts_us, head.lsn, next));
            let number = u32::try_from(self.rows.len()).expect("fewer than 2^32 rows");
            self.happened.push(Happened { key, head, row: row.is_some().then_some(number) });
            self.rows.extend(row.map(|record| SourceRow { key, is_history: true, record }));
        }
    }
}
