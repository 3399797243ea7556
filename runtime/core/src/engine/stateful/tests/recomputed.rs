//! What `recompute` says of the same tables: two independent definitions that
//! must agree.

use std::collections::BTreeMap;

use super::super::{StatefulTransform, Transforms};
use super::model::{Expected, texts};
use crate::fold::Fold;
use crate::recompute::{Recomputation, Stop, TableRows, needs_more_than_rows};

/// For each transform of which the current rows say everything.
pub(super) fn recomputed(
    folds: &[Fold],
    transforms: &[StatefulTransform],
    native: &dyn Transforms,
) -> BTreeMap<String, Expected> {
    let tables = folds.iter().enumerate().map(|(number, fold)| (super::table(number), TableRows::of(fold)));
    let tables = tables.collect();
    let mut all = BTreeMap::new();
    for (number, transform) in transforms.iter().enumerate() {
        let (spec, name) = (&transform.spec, &transform.spec.name);
        if (0..spec.targets.len()).any(|target| needs_more_than_rows(spec, target).is_some()) {
            continue;
        }
        let mut expected = Expected::default();
        let call = |rows: usize, columns: &[arrow::array::ArrayRef]| native.apply(number, rows, columns);
        let mut held = 0;
        // Source rows come in the order of their keys: the first has a star key.
        let mut given: BTreeMap<(usize, Vec<String>), Vec<String>> = BTreeMap::new();
        let mut recomputation = Recomputation::new(spec, &tables, &call);
        while let Some(page) = recomputation.next_page().expect("columns that are there") {
            for source in &page.sources {
                match &source.stop {
                    None => {}
                    Some(Stop::Held(_)) => held += 1,
                    Some(Stop::Letter(_)) => {
                        expected.letters.insert((name.clone(), source.shown_key()));
                    }
                }
            }
            for (target, rows) in page.targets.iter().enumerate() {
                let declared = &spec.targets[target];
                for row in 0..rows.rows.num_rows() {
                    let row = texts(rows.rows.columns(), row);
                    let key = declared.columns.iter().zip(&row);
                    let key = key.filter(|(column, _)| declared.key.contains(&column.name));
                    given.entry((target, key.map(|(_, value)| value.clone()).collect())).or_insert(row);
                }
            }
        }
        expected.held.insert(name.clone(), held);
        for table in &transform.tables {
            expected.views.entry(table.physical_name()).or_default();
        }
        for ((target, _), row) in given {
            expected.views.entry(transform.tables[target].physical_name()).or_default().insert(row);
        }
        all.insert(name.clone(), expected);
    }
    all
}
