//! The star: what a target becomes in ClickHouse, as data.
//!
//! Owns names, columns, types, DDL, and which values ClickHouse can hold. Does
//! not own sending any of it (`warehouse`), nor which rows there are (`engine`).
//!
//! Invariants: writers name the physical table of a generation, readers its
//! view; the sorting key is the target's key, or deletes would leave ghosts.

mod clickhouse_type;
mod ddl;
mod range;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType as Arrow, Field, Schema, SchemaRef, TimeUnit};

use crate::spec::{Options, Spec, Target};

pub use clickhouse_type::ClickHouseType;
pub use ddl::{Alteration, ExistingColumn, ExistingTable, Refusal, quote};
pub use range::OutOfRange;

/// Hidden column: the version that ReplacingMergeTree keeps the highest of.
pub const VERSION: &str = "_version";
/// Hidden column: 1 for a tombstone.
pub const DELETED: &str = "_deleted";
/// Hidden column: LSN of the row's last event, for truncates.
pub const LSN: &str = "_lsn";
/// Hidden column: commit time of the row's last event, for truncates.
pub const TS: &str = "_ts";

/// Field metadata of an insert's column: a text that the column can hold, where
/// an empty one is none.
pub(crate) const FILLER_KEY: &str = "dabi.filler";

/// One generation of a target's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetTable {
    view: String,
    generation: u32,
    columns: Vec<StarColumn>,
    key: Vec<String>,
    options: Options,
    transform: String,
    insert_schema: SchemaRef,
}

/// A column of a target as ClickHouse has it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct StarColumn {
    name: String,
    sql_type: ClickHouseType,
    options: Options,
}

impl TargetTable {
    /// Generation `generation` of `target`.
    #[must_use]
    pub fn new(spec: &Spec, target: &Target, generation: u32) -> Self {
        let columns: Vec<StarColumn> = target
            .columns
            .iter()
            .map(|column| StarColumn {
                name: column.name.clone(),
                sql_type: ClickHouseType::of(&column.data_type, column.nullable, &column.options),
                options: column.options.clone(),
            })
            .collect();
        let mut fields: Vec<Field> = columns
            .iter()
            .zip(&target.columns)
            .map(|(column, declared)| {
                let field = Field::new(&column.name, column.sql_type.insert_type(), declared.nullable);
                match column.sql_type.first_label() {
                    Some(label) => {
                        field.with_metadata(HashMap::from([(FILLER_KEY.to_owned(), label.to_owned())]))
                    }
                    None => field,
                }
            })
            .collect();
        fields.extend(hidden_fields());
        Self {
            view: target.table.clone(),
            generation,
            columns,
            key: target.key.clone(),
            options: target.options.clone(),
            transform: spec.name.clone(),
            insert_schema: Arc::new(Schema::new(fields)),
        }
    }

    /// The view that readers query.
    #[must_use]
    pub fn view_name(&self) -> &str {
        &self.view
    }

    /// The table that writers name: `<target>__g<generation>`.
    #[must_use]
    pub fn physical_name(&self) -> String {
        format!("{}__g{}", self.view, self.generation)
    }

    /// Names of the columns that identify a row.
    #[must_use]
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// The Arrow schema of an insert: the target's columns in their order, then
    /// `_version`, `_deleted`, `_lsn`, `_ts`.
    #[must_use]
    pub fn insert_schema(&self) -> SchemaRef {
        Arc::clone(&self.insert_schema)
    }
}

fn hidden_fields() -> [Field; 4] {
    [
        Field::new(VERSION, Arrow::UInt64, false),
        Field::new(DELETED, Arrow::UInt8, false),
        Field::new(LSN, Arrow::Int64, true),
        Field::new(TS, Arrow::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
    ]
}

#[cfg(test)]
mod tests;
