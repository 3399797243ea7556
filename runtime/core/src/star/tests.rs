use std::sync::Arc;

use arrow::array::{ArrayRef, Date32Array, ListArray, StringArray, TimestampMicrosecondArray};
use arrow::buffer::OffsetBuffer;

use super::*;
use crate::spec::{ColumnSource, TargetColumn, TargetKind};

fn column(name: &str, data_type: DataType, options: &[(&str, &str)]) -> TargetColumn {
    TargetColumn {
        name: name.to_owned(),
        data_type,
        nullable: false,
        source: ColumnSource::Computed,
        tracked: false,
        options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    }
}

/// Generation 1 of `target`.
fn table(target: &Target) -> TargetTable {
    let spec = Spec {
        name: "orders".into(),
        version: "1".into(),
        source: "shop.orders".parse().unwrap(),
        columns: Vec::new(),
        lookups: Vec::new(),
        targets: vec![target.clone()],
        options: Options::new(),
    };
    TargetTable::new(&spec, target, 1)
}

fn of_kind(kind: TargetKind, options: &[(&str, &str)]) -> TargetTable {
    table(&Target {
        table: "dim_users".into(),
        kind,
        columns: vec![column("user_id", DataType::Int64, &[]), column("name", DataType::Text, &[])],
        key: vec!["user_id".into()],
        as_of: Vec::new(),
        options: options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
    })
}

fn orders() -> TargetTable {
    let note = TargetColumn {
        nullable: true,
        ..column("note", DataType::Text, &[("comment", "the customer's words")])
    };
    let target = Target {
        table: "f_orders".into(),
        kind: TargetKind::Latest,
        columns: vec![
            column("id", DataType::Int64, &[]),
            column("status", DataType::Text, &[("low-cardinality", "true")]),
            column("tier", DataType::Text, &[("enum", "bronze,silver,'gold'")]),
            column("total", DataType::Decimal { precision: 12, scale: 2 }, &[("codec", "ZSTD(1)")]),
            note,
            column("placed_on", DataType::Date, &[]),
            column("placed_at", DataType::TimestampTz, &[]),
            column("tags", DataType::List(Box::new(DataType::Text)), &[]),
        ],
        key: vec!["id".into()],
        as_of: Vec::new(),
        options: Options::from([("comment".to_owned(), "one row per order".to_owned())]),
    };
    table(&target)
}

fn as_created() -> ExistingTable {
    let columns = [
        ("id", "Int64"),
        ("status", "LowCardinality(String)"),
        ("tier", r"Enum16('bronze' = 1, 'silver' = 2, '\'gold\'' = 3)"),
        ("total", "Decimal(12, 2)"),
        ("note", "Nullable(String)"),
        ("placed_on", "Date32"),
        ("placed_at", "DateTime64(6, 'UTC')"),
        ("tags", "Array(Nullable(String))"),
        ("_version", "UInt64"),
        ("_deleted", "UInt8"),
        ("_lsn", "Nullable(Int64)"),
        ("_ts", "Nullable(DateTime64(6, 'UTC'))"),
    ];
    ExistingTable {
        engine: "ReplacingMergeTree(_version, _deleted) ORDER BY id SETTINGS index_granularity = 8192".into(),
        sorting_key: "id".into(),
        partition_key: String::new(),
        columns: columns
            .map(|(name, sql_type)| ExistingColumn { name: name.into(), sql_type: sql_type.into() })
            .to_vec(),
    }
}

#[test]
fn statements() {
    let table = orders();
    insta::assert_snapshot!(table.create_table_sql("dabi"));
    insta::assert_snapshot!(table.create_view_sql("dabi"));
}

#[test]
fn history_stands_in_added_columns() {
    insta::assert_snapshot!(of_kind(TargetKind::Scd2, &[]).create_table_sql("dabi"));
    insta::assert_snapshot!(of_kind(TargetKind::Scd2, &[]).create_view_sql("dabi"));
    insta::assert_snapshot!(of_kind(TargetKind::Append, &[]).create_table_sql("dabi"));
}

#[test]
fn what_identifies_a_row_sorts_it() {
    let sorted = |kind, order: &str| {
        let sql = of_kind(kind, &[("order", order)]).create_table_sql("dabi");
        sql.lines().find_map(|line| line.strip_prefix("ORDER BY ")).unwrap_or_default().to_owned()
    };
    assert_eq!(sorted(TargetKind::Latest, "name, user_id"), "(`name`, `user_id`)");
    assert_eq!(sorted(TargetKind::Scd2, "name, user_id"), "(`name`, `user_id`, `valid_from`)");
    assert_eq!(sorted(TargetKind::Scd2, "valid_from, user_id"), "(`valid_from`, `user_id`)");
    assert_eq!(of_kind(TargetKind::Append, &[]).key(), ["user_id", "change_key"]);
    let names: Vec<_> =
        of_kind(TargetKind::Scd2, &[]).insert_schema().fields().iter().map(|f| f.name().clone()).collect();
    let hidden = ["_version", "_deleted", "_lsn", "_ts"];
    let added = ["version_key", "valid_from", "valid_to", "is_current"];
    assert_eq!(names, [&["user_id", "name"][..], &added, &hidden].concat());
}

#[test]
fn a_table_as_created_needs_nothing() {
    assert_eq!(orders().alterations("dabi", &as_created()), Ok(Vec::new()));
}

#[test]
fn a_missing_column_is_added() {
    let mut existing = as_created();
    existing.columns.retain(|column| column.name != "note");
    let added = orders().alterations("dabi", &existing).unwrap();
    insta::assert_snapshot!(added[0].0);
}

#[test]
fn every_difference_is_named_at_once() {
    let mut existing = as_created();
    existing.columns[0].sql_type = "Int32".into();
    existing.sorting_key = "status, id".into();
    existing.partition_key = "id % 8".into();
    existing.engine = "ReplacingMergeTree(_version) PARTITION BY id % 8 ORDER BY (status, id)".into();
    existing.columns.retain(|column| column.name != "_lsn");
    existing.columns.push(ExistingColumn { name: "gone".into(), sql_type: "String".into() });
    insta::assert_snapshot!(orders().alterations("dabi", &existing).unwrap_err().to_string());
}

#[test]
fn values_outside_clickhouse_are_picked_out_row_by_row() {
    let table = orders();
    let fine: ArrayRef = Arc::new(arrow::array::NullArray::new(4));
    let mut columns = vec![fine; 8];
    columns[5] = Arc::new(Date32Array::from(vec![-25_567, 120_529, 120_530, -25_568]));
    columns[6] = Arc::new(TimestampMicrosecondArray::from(vec![0, i64::MAX, 0, 0]).with_timezone("UTC"));
    let rows = |columns: &[ArrayRef]| -> Vec<usize> {
        table.out_of_range(columns).iter().map(|fault| fault.row).collect()
    };
    assert_eq!(rows(&columns), [1, 2, 3]);
    columns[2] = Arc::new(StringArray::from(vec!["lead", "gold", "'gold'", "bronze"]));
    assert_eq!(rows(&columns), [0, 1, 2, 3]);
    let message = &table.out_of_range(&columns)[0].message;
    assert_eq!(message, r#"f_orders.tier: "lead" is none of the labels of its enum"#);
}

#[test]
fn a_list_is_as_bad_as_its_worst_item() {
    let table = orders();
    let days = Date32Array::from(vec![0, 120_530, 0, -30_000, 120_531]);
    let offsets = OffsetBuffer::from_lengths([0, 2, 1, 1, 0, 1]);
    let field = Arc::new(Field::new_list_field(Arrow::Date32, true));
    let lists = ListArray::new(
        field,
        offsets,
        Arc::new(days),
        Some(vec![true, true, true, true, true, false].into()),
    );
    let fine: ArrayRef = Arc::new(arrow::array::NullArray::new(6));
    let mut columns = vec![fine; 8];
    columns[7] = Arc::new(lists.clone());
    let rows = |columns: &[ArrayRef]| -> Vec<usize> {
        table.out_of_range(columns).iter().map(|fault| fault.row).collect()
    };
    assert_eq!(rows(&columns), [1, 3]);
    columns[7] = Arc::new(lists.slice(2, 3));
    assert_eq!(rows(&columns), [1]);
}
