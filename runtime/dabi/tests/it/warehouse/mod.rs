//! The warehouse on the real engine.

mod embedded;
mod epochs;
mod faults;
mod history;
mod star;
mod takeover;
mod types;

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, UInt8Array, UInt64Array,
};
use dabi::pipeline::Status;
use dabi::warehouse::{EncodedRows, Warehouse, WarehouseError, WarehouseSettings};
use dabi_core::data_type::DataType;
use dabi_core::spec::{ColumnSource, Options, Spec, Target, TargetColumn, TargetKind};
use dabi_core::star::TargetTable;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::support::block_on;

fn settings(url: &str, folder: &TempDir) -> WarehouseSettings {
    WarehouseSettings {
        url: url.to_owned(),
        database: "star".to_owned(),
        user: "default".to_owned(),
        password: String::new(),
        embedded_path: folder.path().to_owned(),
    }
}

/// A warehouse on an engine of its own.
struct Fixture {
    warehouse: Warehouse,
    status: Status,
    never: CancellationToken,
    folder: TempDir,
}

impl Fixture {
    fn start() -> Self {
        let (folder, status, never) =
            (tempfile::tempdir().unwrap(), Status::default(), CancellationToken::new());
        let warehouse =
            block_on(Warehouse::connect(&settings("embedded", &folder), status.clone(), &never)).unwrap();
        Self { warehouse, status, never, folder }
    }

    fn ensure(&self, table: &TargetTable) -> Result<(), WarehouseError> {
        let table = std::slice::from_ref(table);
        block_on(self.warehouse.ensure_tables(table, &self.never))?;
        block_on(self.warehouse.show_tables(table, &self.never))
    }

    #[track_caller]
    fn execute(&self, sql: &str) {
        block_on(self.warehouse.execute(sql, "set up a test", &self.never)).unwrap();
    }

    /// The rows of a question, as JSON arrays in text.
    #[track_caller]
    fn rows(&self, sql: &str) -> Vec<serde_json::Value> {
        block_on(self.warehouse.rows(sql, "answer a test", &self.never)).unwrap()
    }

    #[track_caller]
    fn count(&self, sql: &str) -> u64 {
        self.rows(&format!("SELECT count() AS n FROM {sql}"))[0]["n"].as_u64().unwrap()
    }

    #[track_caller]
    fn insert(&self, table: &TargetTable, rows: RecordBatch, token: &str) {
        self.try_insert(&table.physical_name(), rows, token, &self.never).unwrap();
    }

    fn try_insert(
        &self,
        table: &str,
        rows: RecordBatch,
        token: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let rows = EncodedRows::new(table, &[rows])?.expect("one batch");
        block_on(self.warehouse.insert(table, rows, token, stop))
    }
}

fn column(name: &str, data_type: DataType) -> TargetColumn {
    TargetColumn {
        name: name.to_owned(),
        data_type,
        nullable: false,
        source: ColumnSource::Computed,
        tracked: false,
        options: Options::new(),
    }
}

/// The first generation of a target `f` with these columns and the key `id`.
fn table(columns: Vec<TargetColumn>, options: Options) -> TargetTable {
    let target = Target {
        table: "f".into(),
        kind: TargetKind::Latest,
        columns,
        key: vec!["id".into()],
        as_of: Vec::new(),
        options,
    };
    let spec = Spec {
        name: "test".into(),
        version: "1".into(),
        source: "shop.orders".parse().unwrap(),
        columns: Vec::new(),
        lookups: Vec::new(),
        targets: vec![target.clone()],
        options: Options::new(),
    };
    TargetTable::new(&spec, &target, 1)
}

/// A target with an id and a text.
fn notes() -> TargetTable {
    table(vec![column("id", DataType::Int64), column("note", DataType::Text)], Options::new())
}

/// A row of [`notes`] with its hidden columns.
struct Note {
    id: i64,
    version: u64,
    deleted: bool,
    lsn: Option<i64>,
    ts: Option<i64>,
}

fn note(id: i64, version: u64) -> Note {
    Note { id, version, deleted: false, lsn: None, ts: None }
}

fn batch(rows: &[Note]) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.id))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| format!("note\n\n{}", row.version)))),
        Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.version))),
        Arc::new(UInt8Array::from_iter_values(rows.iter().map(|row| u8::from(row.deleted)))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|row| row.lsn))),
        Arc::new(TimestampMicrosecondArray::from_iter(rows.iter().map(|row| row.ts)).with_timezone("UTC")),
    ];
    RecordBatch::try_new(notes().insert_schema(), columns).unwrap()
}
