//! The fold: what "the source tables at a position" means. Engine, lake reader
//! and verify share it.
//!
//! Owns these rules:
//! - The last event of a key in partition order wins, whatever its LSN: after a
//!   restart a connector sends events again, in order, so a redelivery moves the
//!   fold back and forth and ends right.
//! - A delete acts on its own key only. So does each half of a key change.
//! - A truncate removes what [`Truncate::covers`] says, whichever comes first. So
//!   does a snapshot that is taken again, of the rows that it has not read
//!   (`snapshots`).
//! - A column that was not sent keeps the value that the key held, or after a
//!   key change the value that the old key held.
//! - Without a usable key every insert or read is a row, and an update or delete
//!   matches nothing.
//!
//! Does not own the order of partitions: events of different partitions may come
//! interleaved in any way. A raised partition count is the source's barrier.
//!
//! Invariant: the rows depend on the events applied, not on the interleaving of
//! partitions.

pub(crate) mod every;
pub(crate) mod held;
pub(crate) mod key;
pub(crate) mod primary;
mod rows;
mod snapshots;
mod store;
#[cfg(test)]
mod tests;
mod truncate;
mod truncates;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, ListArray, RecordBatch, StringArray};
use arrow::datatypes::{Schema, SchemaRef};

use crate::change::{ChangeBatch, Op, meta};
use crate::position::{Offset, Position, TopicPartition};
use crate::table::SourceTable;
use held::{ColumnId, Held, Kept, LinkId, Links, Source};
use key::{Key, key_of, key_of_header};
pub use snapshots::Resnapshot;
use store::{RowRef, RowStore};
pub use truncate::Truncate;
pub use truncates::Truncates;

/// Events that were given to the wrong fold, or in the wrong order.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// Events of another table.
    #[error("events of {found} were given to the fold of {expected}")]
    Table {
        /// The table folded.
        expected: SourceTable,
        /// The table of the batch.
        found: SourceTable,
    },
    /// Events that were applied already, or that come before others.
    #[error("{partition}: offset {found} was given to the fold after offset {done} was done")]
    Order {
        /// Where.
        partition: TopicPartition,
        /// The next offset that may come.
        done: Offset,
        /// The one that came.
        found: Offset,
    },
}

/// What a fold could not do with the events as they were sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FoldReport {
    /// Updates and deletes without a usable key: no row could be matched.
    pub unmatched: u64,
    /// Rows that were kept under no key: the table has none, or it was null.
    pub keyless: u64,
}

/// The current rows of one source table.
#[derive(Debug)]
pub struct Fold {
    table: SourceTable,
    position: Position,
    store: RowStore,
    columns: HashMap<Arc<str>, ColumnId>,
    names: Vec<Arc<str>>,
    keyed: HashMap<Key, Row>,
    keyless: Vec<Row>,
    links: Links,
    truncates: Truncates,
    unmatched: u64,
}

/// What a key holds.
#[derive(Debug)]
struct Row {
    kept: Kept,
    lsn: Option<i64>,
    ts_us: Option<i64>,
}

impl Fold {
    /// The fold of no events.
    #[must_use]
    pub fn new(table: SourceTable) -> Self {
        Self {
            table,
            position: Position::default(),
            store: RowStore::default(),
            columns: HashMap::new(),
            names: Vec::new(),
            keyed: HashMap::new(),
            keyless: Vec::new(),
            links: Links::default(),
            truncates: Truncates::default(),
            unmatched: 0,
        }
    }

    /// Applies the events of `batch`, which follow those of its partition that
    /// were applied before.
    ///
    /// # Errors
    /// If they are of another table or were applied before; nothing is changed.
    pub fn apply(&mut self, batch: &ChangeBatch) -> Result<(), FoldError> {
        if *batch.table() != self.table {
            return Err(FoldError::Table { expected: self.table.clone(), found: batch.table().clone() });
        }
        let span = batch.span();
        match self.position.get(batch.topic(), batch.partition()) {
            Some(done) if span.from < done => {
                let partition = TopicPartition::new(Arc::clone(batch.topic()), batch.partition());
                return Err(FoldError::Order { partition, done, found: span.from });
            }
            _ => self.position.set(batch.topic(), batch.partition(), span.to),
        }
        self.truncates.learn([batch]);
        let number = self.store.push(without_before(batch));
        let extras = Extras::of(batch);
        for (row, op) in batch.ops().enumerate() {
            let at =
                RowRef { batch: number, row: u32::try_from(row).expect("a batch has fewer than 2^32 rows") };
            match op {
                Op::Truncate => {}
                Op::Delete => self.delete(batch, row, &extras),
                Op::Create | Op::Read | Op::Update => self.put(batch, row, op, at, &extras),
            }
        }
        self.let_go();
        Ok(())
    }

    /// Removes what `truncates` cover, which all events of the table have told; for
    /// a fold of some of them.
    pub fn remove(&mut self, truncates: &Truncates) {
        self.truncates.merge(truncates);
    }

    /// Removes what a snapshot that is taken again has not read; for a fold of some
    /// of its events.
    pub fn end_snapshot(&mut self, snapshot: &Resnapshot) {
        self.truncates.end_snapshot(snapshot);
    }

    /// The next offset of each partition.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// How many rows the table has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live().count()
    }

    /// Has the table no row?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live().next().is_none()
    }

    /// What the events did not allow.
    #[must_use]
    pub fn report(&self) -> FoldReport {
        FoldReport { unmatched: self.unmatched, keyless: self.keyless.len() as u64 }
    }

    fn put(&mut self, batch: &ChangeBatch, row: usize, op: Op, at: RowRef, extras: &Extras<'_>) {
        let key = key_of(batch, row);
        let held = self.held(batch, row, key.as_deref(), extras);
        let Truncate { lsn, ts_us } = Truncate::at(batch, row);
        let entry = Row { kept: Kept { row: at, held }, lsn, ts_us };
        match key {
            Some(key) => drop(self.keyed.insert(key, entry)),
            None if op == Op::Update => self.unmatched += 1,
            None => self.keyless.push(entry),
        }
    }

    /// Where the columns are that the event was sent without.
    fn held(&mut self, batch: &ChangeBatch, row: usize, key: Option<&[u8]>, extras: &Extras<'_>) -> Held {
        let unsent = extras.unavailable(row);
        if unsent.is_empty() {
            return Held::default();
        }
        let link = extras.oldkey(row).map(|header| {
            let old_key = key_of_header(batch, batch.key(), header);
            let id = link_id(batch, row, extras, || Some((old_key.clone()?, key?.into())));
            self.links.created(id, old_key)
        });
        let before = key.and_then(|key| self.keyed.get(key));
        let mut held = Vec::with_capacity(unsent.len());
        for name in unsent {
            let column = column_id(&mut self.columns, &mut self.names, &name);
            let source = match (link, before) {
                (Some(link), _) => Source::Link(link),
                (None, Some(before)) => before.kept.source(column),
                (None, None) => Source::Nowhere,
            };
            held.push((column, source));
        }
        held.into()
    }

    fn delete(&mut self, batch: &ChangeBatch, row: usize, extras: &Extras<'_>) {
        let Some(key) = key_of(batch, row) else {
            self.unmatched += 1;
            return;
        };
        let old = self.keyed.remove(&key);
        if let Some(header) = extras.newkey(row) {
            let id = link_id(batch, row, extras, || Some((key, key_of_header(batch, batch.key(), header)?)));
            self.links.deleted(id, old.map(|row| row.kept));
        }
    }

    /// The rows that no truncate covers.
    fn live(&self) -> impl Iterator<Item = &Row> {
        let all = self.keyed.values().chain(&self.keyless);
        all.filter(|row| !self.truncates.cover(row.lsn, row.ts_us))
    }

    /// Lets go of rows that nothing refers to, once they are many.
    fn let_go(&mut self) {
        if !self.store.crowded() {
            return;
        }
        let truncates = &self.truncates;
        self.keyed.retain(|_, row| !truncates.cover(row.lsn, row.ts_us));
        self.keyless.retain(|row| !truncates.cover(row.lsn, row.ts_us));
        let rows = self.keyed.values_mut().chain(&mut self.keyless).map(|row| &mut row.kept);
        let mut references: Vec<&mut RowRef> = Vec::new();
        for kept in rows.chain(self.links.kept_mut()) {
            references.push(&mut kept.row);
            references.extend(kept.held.iter_mut().filter_map(|(_, source)| match source {
                Source::Row(row) => Some(row),
                Source::Link(_) | Source::Nowhere => None,
            }));
        }
        self.store.renew(&mut references);
    }
}

/// The meta columns that few events have a value in.
pub(crate) struct Extras<'a> {
    unavailable: &'a ListArray,
    newkey: &'a StringArray,
    oldkey: &'a StringArray,
    tx: &'a StringArray,
}

impl<'a> Extras<'a> {
    pub(crate) fn of(batch: &'a ChangeBatch) -> Self {
        Self {
            unavailable: batch.meta(meta::UNAVAILABLE).as_list(),
            newkey: batch.meta(meta::NEWKEY).as_string(),
            oldkey: batch.meta(meta::OLDKEY).as_string(),
            tx: batch.meta(meta::TX).as_string(),
        }
    }

    pub(crate) fn unavailable(&self, row: usize) -> Vec<Arc<str>> {
        if self.unavailable.is_null(row) {
            return Vec::new();
        }
        self.unavailable.value(row).as_string::<i32>().iter().flatten().map(Arc::from).collect()
    }

    pub(crate) fn newkey(&self, row: usize) -> Option<&'a str> {
        self.newkey.is_valid(row).then(|| self.newkey.value(row))
    }

    pub(crate) fn tx(&self, row: usize) -> Option<&'a str> {
        self.tx.is_valid(row).then(|| self.tx.value(row))
    }

    pub(crate) fn oldkey(&self, row: usize) -> Option<&'a str> {
        self.oldkey.is_valid(row).then(|| self.oldkey.value(row))
    }
}

/// What names the key change in `row` on both of its halves; `keys` are its old
/// and new key.
pub(crate) fn link_id(
    batch: &ChangeBatch,
    row: usize,
    extras: &Extras<'_>,
    keys: impl FnOnce() -> Option<(Key, Key)>,
) -> LinkId {
    let Truncate { lsn, ts_us } = Truncate::at(batch, row);
    let tx = extras.tx(row).map(Into::into);
    let keys = if lsn.is_none() { keys() } else { None };
    LinkId { lsn, ts_us, tx, keys }
}

fn column_id(
    columns: &mut HashMap<Arc<str>, ColumnId>,
    names: &mut Vec<Arc<str>>,
    name: &Arc<str>,
) -> ColumnId {
    *columns.entry(Arc::clone(name)).or_insert_with(|| {
        names.push(Arc::clone(name));
        ColumnId(names.len() - 1)
    })
}

/// The columns of a current row: it has no before-image.
fn without_before(batch: &ChangeBatch) -> RecordBatch {
    let batch = batch.record_batch();
    let Ok(before) = batch.schema_ref().index_of(meta::BEFORE) else { return batch.clone() };
    let mut batch = batch.clone();
    drop(batch.remove_column(before));
    batch
}

/// The fields of `schema` with some replaced.
fn with_fields(schema: &SchemaRef, replaced: &[(usize, arrow::datatypes::FieldRef)]) -> SchemaRef {
    if replaced.is_empty() {
        return Arc::clone(schema);
    }
    let mut fields = schema.fields().to_vec();
    for (index, field) in replaced {
        fields[*index] = Arc::clone(field);
    }
    Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()))
}
