use arrow::array::{AsArray, Date32Array, Int64Array};
use arrow::datatypes::{DataType as Arrow, Int64Type, UInt8Type};
use dabi_core::change::testing::{Event, change_batch};
use dabi_core::change::{Op, Wire, row_field};
use dabi_core::data_type::DataType;
use dabi_core::spec::{InputColumn, Options, TargetKind};
use dabi_core::star::DELETED;
use dabi_core::table::SourceTable;
use dabi_core::version::{Epoch, Term};

use super::*;
use crate::transform::{ApplyFailure, ModuleHash, Program, Running, Settings, TargetRows};

/// Gives the key alone to one target, the key and the day to the other.
struct KeyAndDay;

impl Program for KeyAndDay {
    fn start(&self, _: std::time::Duration) -> Result<Box<dyn Running>, ApplyFailure> {
        Ok(Box::new(Self))
    }
}

impl Running for KeyAndDay {
    fn apply(
        &mut self,
        _: &Spec,
        input: &InputBatch,
        _: std::time::Duration,
    ) -> Result<Applied, ApplyFailure> {
        let rows = |target, columns: &[usize]| TargetRows {
            target,
            origin: (0..row_number(input.rows)).collect(),
            columns: columns.iter().map(|column| Arc::clone(&input.columns[*column])).collect(),
        };
        Ok(Applied { outputs: vec![rows(0, &[0]), rows(1, &[0, 1])], errors: Vec::new() })
    }
}

fn spec(kind: TargetKind) -> Spec {
    let input = |name: &str, data_type| InputColumn {
        name: name.into(),
        data_type,
        nullable: false,
        read: true,
        options: Options::new(),
    };
    let column = |name: &str, data_type, source| TargetColumn {
        name: name.into(),
        data_type,
        nullable: false,
        source: ColumnSource::Input(source),
        tracked: false,
        options: Options::new(),
    };
    let target = |table: &str, columns| Target {
        table: table.into(),
        kind,
        columns,
        key: vec!["id".into()],
        as_of: Vec::new(),
        options: Options::new(),
    };
    let id = || column("id", DataType::Int64, 0);
    Spec {
        name: "orders".into(),
        version: "1".into(),
        source: SourceTable::new("shop", "orders"),
        columns: vec![input("id", DataType::Int64), input("day", DataType::Date)],
        lookups: Vec::new(),
        targets: vec![
            target("orders", vec![id()]),
            target("order_days", vec![id(), column("day", DataType::Date, 1)]),
        ],
        options: Options::new(),
    }
}

/// Orders with these days since 1970, counted from 0.
fn orders(days: &[i32]) -> ChangeBatch {
    let events: Vec<Event> = (0..).zip(days).map(|(offset, _)| Event::new(Op::Create, offset)).collect();
    let ids: Int64Array = (0..).zip(days).map(|(id, _)| Some(id)).collect();
    let columns: Vec<(arrow::datatypes::Field, ArrayRef)> = vec![
        (row_field("id", Arrow::Int64, Wire::Typed, None), Arc::new(ids)),
        (row_field("day", Arrow::Date32, Wire::Typed, None), Arc::new(Date32Array::from(days.to_vec()))),
    ];
    change_batch(&SourceTable::new("shop", "orders"), &["id"], columns, ("orders", 0), &events)
}

/// The keys of the rows of a target: live ones, and tombstones.
fn keys(rows: &[RecordBatch]) -> (Vec<i64>, Vec<i64>) {
    let of = |deleted| {
        let marked = rows.iter().flat_map(move |batch| {
            let column = |name| batch.column_by_name(name).expect("the insert has it");
            let ids = column("id").as_primitive::<Int64Type>().values().to_vec();
            let marks = column(DELETED).as_primitive::<UInt8Type>().values().to_vec();
            ids.into_iter().zip(marks).filter(move |(_, mark)| *mark == deleted).map(|(id, _)| id)
        });
        marked.collect::<Vec<i64>>()
    };
    (of(0), of(1))
}

#[test]
fn an_event_with_a_value_that_one_target_cannot_hold_has_no_row_in_any() {
    for kind in [TargetKind::Latest, TargetKind::Append] {
        let module = Module::running(
            Box::new(KeyAndDay),
            spec(kind),
            ModuleHash::of(b"key and day"),
            Settings::default(),
        );
        let mut transform = LiveTransform::new("orders".into(), module, Metrics::new());
        // ClickHouse has no such day as the second.
        let output = transform.evaluate(&[orders(&[1, -900_000, 2])], Version::new(Term(1), Epoch(1)));
        let output = output.expect("columns that are there");
        for rows in &output.rows {
            assert_eq!(keys(rows), (vec![0, 2], vec![1]), "{kind:?}");
        }
        let [failure] = output.failures.as_slice() else { panic!("{:?}", output.failures) };
        assert_eq!((failure.code.as_str(), failure.stage), ("out-of-range", Stage::Star));
    }
}
