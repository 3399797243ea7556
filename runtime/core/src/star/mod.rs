//! The star: what a target becomes in ClickHouse, as data.
//!
//! Owns names, columns, types, DDL, keys of versions and changes, and which values ClickHouse
//! can hold. Does not own sending any of it (`warehouse`), nor which rows there
//! are (`engine`).
//!
//! Invariants: writers name the physical table of a generation, readers its
//! view; the sorting key holds what identifies a row, or deletes would leave
//! ghosts.

mod change_key;
mod clickhouse_type;
mod ddl;
mod range;
mod read_back;
mod version_key;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType as Arrow, Field, Schema, SchemaRef, TimeUnit};

use crate::data_type::DataType;
use crate::spec::{AutomaticColumn, Options, Spec, Target};

pub use change_key::{change_keys, has_changes_known_by_place};
pub use clickhouse_type::ClickHouseType;
pub use ddl::{Alteration, ExistingColumn, ExistingTable, Refusal, quote};
pub use range::OutOfRange;
pub(crate) use range::holds_day;
pub use read_back::READ_SETTINGS;
pub use version_key::{Unversionable, version_keys};

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
    nullable: bool,
    options: Options,
}

impl StarColumn {
    fn new(name: &str, data_type: &DataType, nullable: bool, options: Options) -> Self {
        let sql_type = ClickHouseType::of(data_type, nullable, &options);
        Self { name: name.to_owned(), sql_type, nullable, options }
    }

    fn automatic(column: &AutomaticColumn) -> Self {
        let comment = Options::from([("comment".to_owned(), column.comment.to_owned())]);
        Self::new(column.name, &column.data_type, column.nullable, comment)
    }

    fn insert_field(&self) -> Field {
        let field = Field::new(&self.name, self.sql_type.insert_type(), self.nullable);
        match self.sql_type.first_label() {
            Some(label) => field.with_metadata(HashMap::from([(FILLER_KEY.to_owned(), label.to_owned())])),
            None => field,
        }
    }
}

impl TargetTable {
    /// Generation `generation` of `target`.
    #[must_use]
    pub fn new(spec: &Spec, target: &Target, generation: u32) -> Self {
        let declared = target.columns.iter().map(|column| {
            StarColumn::new(&column.name, &column.data_type, column.nullable, column.options.clone())
        });
        let added = target.kind.automatic_columns().iter().map(StarColumn::automatic);
        let columns: Vec<StarColumn> = declared.chain(added).collect();
        let mut fields: Vec<Field> = columns.iter().map(StarColumn::insert_field).collect();
        fields.extend(hidden_fields());
        Self {
            view: target.table.clone(),
            generation,
            columns,
            key: target.identity().into_iter().map(str::to_owned).collect(),
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

    /// The number of its generation.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Names of the columns that readers see, in their order.
    pub fn column_names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|column| column.name.as_str())
    }

    /// Names of the columns that identify a row: the declared key, and of the
    /// columns that dabi adds those that say which version or change it is.
    #[must_use]
    pub fn key(&self) -> &[String] {
        &self.key
    }

    /// The Arrow schema of an insert: the target's columns in their order, those
    /// that dabi adds for its kind, then `_version`, `_deleted`, `_lsn`, `_ts`.
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
