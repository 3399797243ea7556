//! From what the fold holds to batches of current rows.
//!
//! Owns the filling in of values that were not sent. A value comes with the type
//! with which it was sent, so rows of one wire schema may leave in several
//! batches.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, ListBuilder, RecordBatch, StringBuilder};
use arrow::datatypes::{FieldRef, Int8Type, Int32Type, Int64Type, SchemaRef};

use super::held::{ColumnId, Kept, Source};
use super::store::RowRef;
use super::{Fold, with_fields};
use crate::change::{ChangeBatch, meta};

/// Rows of a batch given out.
const BATCH_ROWS: usize = 8192;

/// A live row on its way out.
struct Outgoing<'a> {
    offset: i64,
    kept: &'a Kept,
    /// Found values of columns that were not sent: column of the row's own batch,
    /// and where the value is.
    filled: Vec<(usize, (RowRef, usize))>,
}

/// Rows that can stand in one batch: one schema, one partition.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    schema: usize,
    topic: String,
    partition: i32,
}

impl Fold {
    /// The current rows, each as its last event with the columns filled in that
    /// were not sent. What could not be found stays null and named in
    /// `_unavailable`: the fold began after it was sent. There is no `_before`.
    #[must_use]
    pub fn rows(&self) -> Vec<ChangeBatch> {
        self.batches_of(self.live().map(|row| &row.kept))
    }

    /// Rows as [`Fold::rows`] gives them.
    pub(super) fn batches_of<'a>(&'a self, rows: impl Iterator<Item = &'a Kept>) -> Vec<ChangeBatch> {
        let mut schemas: Vec<SchemaRef> = Vec::new();
        let mut groups: BTreeMap<Group, Vec<Outgoing<'_>>> = BTreeMap::new();
        let mut of_batch: HashMap<u32, usize> = HashMap::new();
        for kept in rows {
            let batch = self.store.batch(kept.row);
            let (filled, replaced) = self.fill(kept, batch);
            let schema = if replaced.is_empty() {
                *of_batch.entry(kept.row.batch).or_insert_with(|| number(&mut schemas, batch.schema_ref()))
            } else {
                number(&mut schemas, &with_fields(batch.schema_ref(), &replaced))
            };
            let (topic, partition, offset) = place(batch, kept.row.row as usize);
            let group = groups.entry(Group { schema, topic, partition }).or_default();
            group.push(Outgoing { offset, kept, filled });
        }
        let mut out = Vec::new();
        for (group, mut rows) in groups {
            rows.sort_unstable_by_key(|row| row.offset);
            for chunk in rows.chunks(BATCH_ROWS) {
                out.push(self.batch_of(&schemas[group.schema], chunk));
            }
        }
        out
    }

    /// Where the unsent values of a row are, and the fields that thereby change.
    #[expect(clippy::type_complexity, reason = "two lists that one caller takes apart at once")]
    fn fill(
        &self,
        kept: &Kept,
        batch: &RecordBatch,
    ) -> (Vec<(usize, (RowRef, usize))>, Vec<(usize, FieldRef)>) {
        let (mut filled, mut replaced) = (Vec::new(), Vec::new());
        for (column, source) in &kept.held {
            let name = &self.names[column.0];
            let Some(from) = self.resolve(*source, *column) else { continue };
            let source_batch = self.store.batch(from);
            let (Ok(own), Ok(there)) =
                (batch.schema_ref().index_of(name), source_batch.schema_ref().index_of(name))
            else {
                continue;
            };
            let (own_field, field) =
                (&batch.schema_ref().fields()[own], &source_batch.schema_ref().fields()[there]);
            if own_field != field {
                replaced.push((own, Arc::clone(field)));
            }
            filled.push((own, (from, there)));
        }
        (filled, replaced)
    }

    /// Follows links to the row that the value of `column` was sent with.
    fn resolve(&self, mut source: Source, column: ColumnId) -> Option<RowRef> {
        // each link is followed at most once: a circle has no value in it
        for _ in 0..=self.links.len() {
            let link = match source {
                Source::Row(row) => return Some(row),
                Source::Nowhere => return None,
                Source::Link(index) => self.links.get(index),
            };
            let current = || {
                let row = self.keyed.get(link.old_key.as_ref()?)?;
                (!self.truncates.cover(row.lsn, row.ts_us)).then_some(&row.kept)
            };
            let old = match (&link.old, link.deleted) {
                (Some(old), _) => old,
                // the delete half is still to come: the old key's row so far
                (None, false) => current()?,
                (None, true) => return None,
            };
            source = old.source(column);
        }
        None
    }

    fn batch_of(&self, schema: &SchemaRef, rows: &[Outgoing<'_>]) -> ChangeBatch {
        let columns = (0..schema.fields().len()).map(|column| -> ArrayRef {
            if schema.field(column).name() == meta::UNAVAILABLE
                && rows.iter().any(|row| !row.kept.held.is_empty())
            {
                return self.still_unavailable(rows);
            }
            self.store.column(rows.iter().map(|row| {
                let filled = row.filled.iter().find(|(own, _)| *own == column);
                filled.map_or((row.kept.row, column), |(_, from)| *from)
            }))
        });
        let batch = RecordBatch::try_new(Arc::clone(schema), columns.collect());
        ChangeBatch::try_new(batch.expect("columns of this schema"))
            .expect("distinct events of one partition")
    }

    fn still_unavailable(&self, rows: &[Outgoing<'_>]) -> ArrayRef {
        let mut list = ListBuilder::new(StringBuilder::new());
        for row in rows {
            let batch = self.store.batch(row.kept.row);
            let mut any = false;
            for (column, _) in &row.kept.held {
                let name = &self.names[column.0];
                let found =
                    row.filled.iter().any(|(own, _)| batch.schema_ref().field(*own).name() == &**name);
                if !found {
                    list.values().append_value(name);
                    any = true;
                }
            }
            list.append(any);
        }
        Arc::new(list.finish())
    }
}

fn number(schemas: &mut Vec<SchemaRef>, schema: &SchemaRef) -> usize {
    let same = |known: &SchemaRef| Arc::ptr_eq(known, schema) || known == schema;
    schemas.iter().position(same).unwrap_or_else(|| {
        schemas.push(Arc::clone(schema));
        schemas.len() - 1
    })
}

/// Topic, partition and offset of a row.
fn place(batch: &RecordBatch, row: usize) -> (String, i32, i64) {
    let column = |name: &str| batch.column_by_name(name).expect("every change batch has it");
    let topics = column(meta::TOPIC).as_dictionary::<Int8Type>();
    let code = usize::try_from(topics.keys().value(row)).expect("codes are not negative");
    (
        topics.values().as_string::<i32>().value(code).to_owned(),
        column(meta::PARTITION).as_primitive::<Int32Type>().value(row),
        column(meta::OFFSET).as_primitive::<Int64Type>().value(row),
    )
}
