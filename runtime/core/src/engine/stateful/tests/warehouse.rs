//! What stands in the warehouse after the rows that an engine sent.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{TimestampMicrosecondType, UInt8Type, UInt64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::super::{Outbox, StatefulTransform};

/// Rows as text, without the hidden columns.
pub(super) type View = BTreeSet<Vec<String>>;

/// The version of a row, and the row if it is live.
type Stored = (u64, Option<Vec<String>>);

/// Physical tables by name, and rows by sorting key.
#[derive(Default)]
pub(super) struct Warehouse {
    tables: BTreeMap<String, BTreeMap<Vec<String>, Stored>>,
    /// Open dead letters: transform and key.
    pub(super) letters: BTreeSet<(String, String)>,
}

impl Warehouse {
    pub(super) fn store(&mut self, transforms: &[StatefulTransform], outbox: &Outbox) {
        for insert in &outbox.inserts {
            let mut seen = BTreeSet::new();
            let sorted_by = sorted_by(transforms, &insert.table);
            for batch in &insert.batches {
                self.insert(&insert.table, &sorted_by, batch, &mut seen);
            }
        }
        for letter in &outbox.raised {
            self.letters.insert((letter.transform.clone(), letter.key.clone()));
        }
        for cleared in &outbox.cleared {
            self.letters.remove(&(cleared.transform.clone(), cleared.key.clone()));
        }
    }

    fn insert(
        &mut self,
        table: &str,
        sorted_by: &[String],
        batch: &RecordBatch,
        seen: &mut BTreeSet<Vec<String>>,
    ) {
        let versions = batch.column_by_name("_version").unwrap().as_primitive::<UInt64Type>();
        let deleted = batch.column_by_name("_deleted").unwrap().as_primitive::<UInt8Type>();
        let shown = |name: &String, row: usize| {
            text(batch.column_by_name(name).expect("a column of the insert"), row)
        };
        let names: Vec<String> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        let visible: Vec<&String> = names.iter().filter(|name| !name.starts_with('_')).collect();
        let stored = self.tables.entry(table.to_owned()).or_default();
        for row in 0..batch.num_rows() {
            let key: Vec<String> = sorted_by.iter().map(|name| shown(name, row)).collect();
            assert!(seen.insert(key.clone()), "{table}: one row of key {key:?} in an epoch");
            let live =
                (deleted.value(row) == 0).then(|| visible.iter().map(|name| shown(name, row)).collect());
            let version = versions.value(row);
            match stored.get(&key) {
                // What is sent again may have been outranked since.
                Some((known, _)) if *known > version => {}
                Some((known, was)) if *known == version => {
                    assert_eq!(*was, live, "{table}: a resend is what was sent");
                }
                _ => drop(stored.insert(key, (version, live))),
            }
        }
    }

    /// What a reader of the view sees.
    pub(super) fn view(&self, table: &str) -> View {
        let rows = self.tables.get(table).into_iter().flat_map(BTreeMap::values);
        rows.filter_map(|(_, row)| row.clone()).collect()
    }
}

fn sorted_by(transforms: &[StatefulTransform], physical: &str) -> Vec<String> {
    let targets =
        transforms.iter().flat_map(|transform| transform.spec.targets.iter().zip(&transform.tables));
    let (target, _) =
        targets.into_iter().find(|(_, table)| table.physical_name() == physical).expect("known");
    let order: Vec<String> = target.order_columns().map(str::to_owned).collect();
    let identity = target.identity().into_iter().map(str::to_owned).collect();
    if order.is_empty() { identity } else { order }
}

/// A value, as a test compares it.
pub(super) fn text(column: &ArrayRef, row: usize) -> String {
    let options = FormatOptions::default().with_null("∅");
    let plain: ArrayRef = match column.as_primitive_opt::<TimestampMicrosecondType>() {
        Some(times) => Arc::new(times.clone().with_timezone_opt(None::<Arc<str>>)),
        None => Arc::clone(column),
    };
    ArrayFormatter::try_new(plain.as_ref(), &options).expect("shown").value(row).to_string()
}
