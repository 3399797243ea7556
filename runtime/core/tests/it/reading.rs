//! Every value of the captures, read as the type that a transform would declare.

use std::collections::BTreeMap;
use std::fmt::Write;

use dabi_core::reading::read_column;
use dabi_fixtures::{VARIANTS, tables};

use crate::support::change_batches;

/// Rows that cannot be read, by column and reason, with how often.
fn faults(variant: &str) -> String {
    let mut faults: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for table in tables() {
        for batch in change_batches(variant, table.name) {
            let sent = batch.ops().map(|op| op.letter() != "t").collect();
            for column in &table.columns {
                let declared = column.pg_type.input_column(column.name);
                match read_column(&batch, 0, &declared, &sent) {
                    Err(error) => *faults.entry((table.name, error.to_string())).or_default() += 1,
                    Ok(reading) => {
                        assert_eq!(*reading.array.data_type(), declared.data_type.arrow());
                        for fault in reading.faults {
                            let what = format!("{}: {}", fault.code, fault.message);
                            *faults.entry((table.name, what)).or_default() += 1;
                        }
                    }
                }
            }
        }
    }
    let mut text = String::new();
    for ((table, what), rows) in faults {
        let _ = writeln!(text, "{rows:4} × {table}: {what}");
    }
    text
}

#[test]
fn what_cannot_be_read_is_known() {
    for variant in VARIANTS {
        insta::assert_snapshot!(format!("faults_{variant}"), faults(variant));
    }
}
