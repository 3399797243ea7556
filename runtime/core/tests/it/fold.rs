//! Decode, fold, read: the tables that PostgreSQL held in the end.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema};
use dabi_core::change::ChangeBatch;
use dabi_core::fold::Fold;
use dabi_core::reading::read_column;
use dabi_core::table::SourceTable;
use dabi_fixtures::{EXCEPTIONS, Table, Truth, idle, tables, unexcused};

use crate::support::change_batches;

/// The rows of the fold, each column read as the source's type.
fn read(rows: &ChangeBatch, table: &Table) -> RecordBatch {
    let every_row = rows.ops().map(|_| true).collect();
    let columns = table.columns.iter().map(|column| {
        let declared = column.pg_type.input_column(column.name);
        let reading = read_column(rows, 0, &declared, &every_row).expect("the types are those of the source");
        (Field::new(column.name, declared.data_type.arrow(), true), reading.array)
    });
    let (fields, arrays): (Vec<_>, Vec<_>) = columns.unzip();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).expect("one value per row")
}

#[test]
fn the_fold_is_what_the_source_held() {
    let mut failures = String::new();
    for variant in ["schema", "plain", "flat", "opt"] {
        for table in tables() {
            let mut fold = Fold::new(SourceTable::new("shop", table.name));
            for batch in change_batches(variant, table.name) {
                fold.apply(&batch).expect("the batches are in order");
            }
            let rows: Vec<RecordBatch> = fold.rows().iter().map(|rows| read(rows, &table)).collect();
            let columns: Vec<_> = table.columns.iter().map(|column| (column.name, column.name)).collect();
            let differences = Truth::load(table.name).differences(&rows, &columns);
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
