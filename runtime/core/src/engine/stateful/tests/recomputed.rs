//! What `recompute` says of the same tables: two independent definitions that
//! must agree.

use std::collections::BTreeMap;

use arrow::array::ArrayRef;

use super::super::{Applied, StatefulTransform, Transforms};
use super::model::{Expected, texts};
use crate::change::ChangeBatch;
use crate::fold::Fold;
use crate::recompute::{Recomputation, Stop, TableHistory, TableRows, Tables, Versions, keeps_versions};
use crate::spec::Spec;

/// For each transform; `events` are those of each table, as they came.
pub(super) fn recomputed(
    events: &[Vec<ChangeBatch>],
    transforms: &[StatefulTransform],
    native: &dyn Transforms,
) -> BTreeMap<String, Expected> {
    let none = Versions::default();
    let mut versions = Versions::default();
    for (number, transform) in transforms.iter().enumerate() {
        let (tables, call) = (tables(&transform.spec, events), call(native, number));
        let mut recomputation = Recomputation::new(&transform.spec, &tables, &none, &call);
        while let Some(page) = recomputation.next_page().expect("columns that are there") {
            recomputation.add_versions(&page, |_| true, &mut versions).expect("keys that compare");
        }
    }
    let mut all = BTreeMap::new();
    for (number, transform) in transforms.iter().enumerate() {
        let (spec, name) = (&transform.spec, &transform.spec.name);
        let (tables, call) = (tables(spec, events), call(native, number));
        let mut expected = Expected::default();
        let mut held = 0;
        // Source rows come in the order of their primary keys: the first has a star key.
        let mut given: BTreeMap<(usize, Vec<String>), Vec<String>> = BTreeMap::new();
        let mut recomputation = Recomputation::new(spec, &tables, &versions, &call);
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
                    let key = declared.all_columns().zip(&row);
                    let key = key.filter(|(column, _)| declared.identity().contains(&column.name));
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

fn call(native: &dyn Transforms, number: usize) -> impl Fn(usize, &[ArrayRef]) -> Result<Applied, String> {
    move |rows, columns| native.apply(number, rows, columns)
}

fn tables(spec: &Spec, events: &[Vec<ChangeBatch>]) -> Tables {
    let mut tables = Tables::default();
    for (number, events) in events.iter().enumerate() {
        let table = super::table(number);
        let mut fold = Fold::new(table.clone());
        events.iter().for_each(|batch| fold.apply(batch).expect("in order"));
        if table == spec.source && keeps_versions(spec) {
            tables.history = TableHistory::of(&table, events, &[]);
        }
        tables.rows.insert(table, TableRows::of(&fold));
    }
    tables
}
