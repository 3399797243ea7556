//! The current rows of a table, found by key.

use std::collections::HashMap;

use arrow::array::{Array, BinaryArray};

use crate::change::ChangeBatch;
use crate::fold::Fold;
use crate::fold::key::keys_of;
use crate::fold::primary::PrimaryOrder;

/// The row `row` of the batch `batch` of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RowPlace {
    /// Which of the table's batches.
    pub batch: usize,
    /// Its row.
    pub row: usize,
}

/// The rows of one table.
#[derive(Debug, Default)]
pub struct TableRows {
    batches: Vec<ChangeBatch>,
    key: Vec<String>,
    order: PrimaryOrder,
    by_key: HashMap<Box<[u8]>, RowPlace>,
}

impl TableRows {
    /// The rows that `fold` has; those without a key cannot be told apart, and
    /// are left out.
    #[must_use]
    pub fn of(fold: &Fold) -> Self {
        let batches = fold.rows();
        let primary = batches.first().map(primary_key).unwrap_or_default();
        let key = batches.first().map(key_names).unwrap_or_default();
        let order = PrimaryOrder::new(&key, &primary);
        let mut by_key = HashMap::new();
        for (batch, rows) in batches.iter().enumerate() {
            let keys = references(rows, &key);
            for row in (0..keys.len()).filter(|row| keys.is_valid(*row)) {
                by_key.insert(keys.value(row).into(), RowPlace { batch, row });
            }
        }
        Self { batches, key, order, by_key }
    }

    /// Rows of which several may have one key, so that none is found by it.
    pub(super) fn without_keys(batches: Vec<ChangeBatch>) -> Self {
        Self { batches, ..Self::default() }
    }

    /// Names of the key's columns, in order; none for a table without rows.
    #[must_use]
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// A row, as a batch of one.
    #[must_use]
    pub fn row(&self, place: RowPlace) -> ChangeBatch {
        self.batches[place.batch].slice(place.row, 1)
    }

    /// The row of a key.
    #[must_use]
    pub fn find(&self, key: &[u8]) -> Option<RowPlace> {
        self.by_key.get(key).copied()
    }

    /// The order in which its rows are compared.
    pub(super) fn order(&self) -> &PrimaryOrder {
        &self.order
    }

    pub(super) fn batches(&self) -> &[ChangeBatch] {
        &self.batches
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.by_key.keys().map(AsRef::as_ref)
    }
}

/// Names of the key's columns in the order in which they stand in keys.
pub(super) fn key_names(batch: &ChangeBatch) -> Vec<String> {
    let mut names = primary_key(batch);
    names.sort_unstable();
    names
}

/// The same in the order of the primary key.
fn primary_key(batch: &ChangeBatch) -> Vec<String> {
    batch.key().iter().map(|column| batch.row_fields()[*column].name().clone()).collect()
}

/// For each row the values of `columns` as a key; null where one is null, or
/// where there is no such column.
pub(super) fn references(batch: &ChangeBatch, columns: &[String]) -> BinaryArray {
    let fields = batch.row_fields();
    let position = |name: &String| fields.iter().position(|field| field.name() == name);
    match columns.iter().map(position).collect::<Option<Vec<usize>>>() {
        Some(positions) if !positions.is_empty() => keys_of(batch, &positions),
        _ => BinaryArray::new_null(batch.num_rows()),
    }
}
