//! Decode, fold, read: the tables that PostgreSQL held in the end.

use dabi_core::fold::Fold;
use dabi_core::table::SourceTable;
use dabi_fixtures::{EXCEPTIONS, Truth, VARIANTS, idle, read, tables, unexcused};

use crate::support::change_batches;

#[test]
fn the_fold_is_what_the_source_held() {
    let mut failures = String::new();
    for variant in VARIANTS {
        for table in tables() {
            let mut fold = Fold::new(SourceTable::new("shop", table.name));
            for batch in change_batches(variant, table.name) {
                fold.apply(&batch).expect("the batches are in order");
            }
            let rows: Vec<_> = fold.rows().iter().map(|rows| read(rows, &table)).collect();
            let differences = Truth::load(table.name).differences(&rows, &table.all_columns());
            for difference in unexcused(variant, table.name, &differences, EXCEPTIONS) {
                failures += &format!("{variant} {}: {difference}\n", table.name);
            }
            for exception in idle(variant, table.name, &differences, EXCEPTIONS) {
                failures += &format!(
                    "{variant} {}, column {}: nothing is left to excuse: {}\n",
                    table.name, exception.column, exception.reason
                );
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
}
