//! `dabi.calendar` in the engine: its days come by themselves, once, and go
//! when they are no longer of the span.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType as Arrow;

use super::*;
use crate::calendar::{self, Span};
use crate::change::testing::{Event, change_batch};
use crate::change::{Op, Wire, row_field};
use crate::data_type::DataType;
use crate::spec::{
    ColumnSource, InputColumn, Lookup, MissingPolicy, Options, Spec, Target, TargetColumn, TargetKind,
};
use crate::star::TargetTable;
use crate::table::SourceTable;

fn input(name: &str, data_type: DataType) -> InputColumn {
    InputColumn { name: name.into(), data_type, nullable: false, read: true, options: Options::new() }
}

/// A transform that passes on all of its columns, under its first.
fn passing(
    name: &str,
    source: SourceTable,
    columns: Vec<InputColumn>,
    lookups: Vec<Lookup>,
) -> StatefulTransform {
    let inputs = columns.iter().chain(lookups.iter().flat_map(|lookup| &lookup.columns));
    let passed = inputs.enumerate().map(|(place, input)| TargetColumn {
        name: input.name.clone(),
        data_type: input.data_type.clone(),
        nullable: false,
        source: ColumnSource::Input(place),
        tracked: false,
        options: Options::new(),
    });
    let target = Target {
        table: name.into(),
        kind: TargetKind::Latest,
        columns: passed.collect(),
        key: vec![columns[0].name.clone()],
        as_of: Vec::new(),
        options: Options::new(),
    };
    let spec = Spec {
        name: name.into(),
        version: "1".into(),
        source,
        columns,
        lookups,
        targets: vec![target.clone()],
        options: Options::new(),
    };
    let tables = vec![TargetTable::new(&spec, &target, 1)];
    StatefulTransform { spec, module: "m".into(), tables }
}

fn dim_date() -> StatefulTransform {
    let columns = vec![input("date", DataType::Date), input("weekday_name", DataType::Text)];
    passing("dim_date", calendar::table(), columns, Vec::new())
}

/// Orders with the name of their day.
fn f_orders() -> StatefulTransform {
    let day = Lookup {
        name: "day".into(),
        table: calendar::table(),
        key: vec!["date".into()],
        on: vec!["placed_on".into()],
        columns: vec![input("weekday_name", DataType::Text)],
        missing: MissingPolicy::Hold,
    };
    let columns = vec![input("id", DataType::Int64), input("placed_on", DataType::Date)];
    passing("f_orders", SourceTable::new("shop", "orders"), columns, vec![day])
}

struct Pass;

impl Transforms for Pass {
    fn apply(&self, _: usize, rows: usize, inputs: &[ArrayRef]) -> Result<Applied, String> {
        let origin: Vec<u32> = (0..u32::try_from(rows).expect("few rows")).collect();
        let all = UInt32Array::from(origin.clone());
        let columns = inputs.iter().map(|column| take(column, &all, None).expect("in range")).collect();
        Ok(Applied { outputs: vec![AppliedRows { target: 0, origin, columns }], errors: Vec::new() })
    }
}

struct World {
    transforms: Vec<StatefulTransform>,
    state: MapState,
    warehouse: Warehouse,
    epoch: u64,
}

impl World {
    fn new(transforms: Vec<StatefulTransform>) -> Self {
        Self { transforms, state: MapState::default(), warehouse: Warehouse::default(), epoch: 0 }
    }

    fn open(&self, (from, to): (&str, &str)) -> Engine {
        let settings = Settings { page_rows: 10, calendar: Span::parse(from, to).expect("a span") };
        ready(&self.transforms, settings, &self.state)
    }

    /// Applies `batches`, then what is left; gives the rows that were sent.
    fn run(&mut self, engine: &mut Engine, batches: &[ChangeBatch]) -> usize {
        let mut rows = self.apply(engine, batches);
        while engine.has_work() {
            rows += self.apply(engine, &[]);
        }
        rows
    }

    fn apply(&mut self, engine: &mut Engine, batches: &[ChangeBatch]) -> usize {
        let mut position = Position::default();
        for batch in batches {
            position.set(batch.topic(), batch.partition(), batch.span().to);
        }
        self.epoch += 1;
        let events = EpochEvents { term: Term(1), epoch: Epoch(self.epoch), batches, position: &position };
        let commands = engine.apply(&events, &self.state, &Pass).expect("events that fit");
        self.state.commit(&commands.commit).expect("a map never fails");
        self.warehouse.store(&self.transforms, &commands.outbox);
        let inserts = commands.outbox.inserts.iter().flat_map(|insert| &insert.batches);
        inserts.map(arrow::array::RecordBatch::num_rows).sum()
    }

    fn view(&self, transform: usize) -> Vec<String> {
        let rows = self.warehouse.view(&self.transforms[transform].tables[0].physical_name());
        rows.iter().map(|row| row.join(" ")).collect()
    }
}

/// Order `id`, placed `placed_on` days after 1970-01-01.
fn order(id: i64, placed_on: i32) -> ChangeBatch {
    let ids: ArrayRef = Arc::new(arrow::array::Int64Array::from(vec![id]));
    let days: ArrayRef = Arc::new(Int32Array::from(vec![placed_on]));
    let columns = vec![
        (row_field("id", Arrow::Int64, Wire::Typed, None), ids),
        // A wire without a schema has a plain number.
        (row_field("placed_on", Arrow::Int32, Wire::Typed, None), days),
    ];
    let table = SourceTable::new("shop", "orders");
    change_batch(&table, &["id"], columns, ("orders", 0), &[Event::new(Op::Create, id)])
}

/// 2024-02-29
const LEAP_DAY: i32 = 19_782;

#[test]
fn the_days_come_once_and_without_any_event() {
    let mut world = World::new(vec![dim_date()]);
    let mut engine = world.open(("2024-02-28", "2024-03-01"));
    assert!(engine.has_work());
    assert_eq!(world.run(&mut engine, &[]), 3);
    assert_eq!(world.view(0), ["2024-02-28 Wednesday", "2024-02-29 Thursday", "2024-03-01 Friday"]);
    // They are on no topic: nobody is asked to read on from there.
    assert!(engine.position().is_empty());
    let mut again = world.open(("2024-02-28", "2024-03-01"));
    assert!(!again.has_work());
    assert_eq!(world.run(&mut again, &[]), 0);
}

#[test]
fn days_are_not_for_those_who_do_not_ask() {
    let orders =
        passing("o", SourceTable::new("shop", "orders"), vec![input("id", DataType::Int64)], Vec::new());
    assert!(!World::new(vec![orders]).open(("2024-01-01", "2024-12-31")).has_work());
}

#[test]
fn an_epoch_that_was_not_committed_has_brought_nothing() {
    let mut world = World::new(vec![dim_date()]);
    let events = EpochEvents { term: Term(1), epoch: Epoch(1), batches: &[], position: &Position::default() };
    let mut lost = world.open(("2024-02-28", "2024-03-01"));
    lost.apply(&events, &world.state, &Pass).expect("events that fit");
    let mut engine = world.open(("2024-02-28", "2024-03-01"));
    assert_eq!(world.run(&mut engine, &[]), 3);
}

#[test]
fn with_another_span_days_go_and_come_and_so_does_what_refers_to_them() {
    let mut world = World::new(vec![dim_date(), f_orders()]);
    let mut engine = world.open(("2024-01-01", "2024-02-29"));
    world.run(&mut engine, &[order(1, LEAP_DAY), order(2, LEAP_DAY + 1)]);
    assert_eq!(world.view(1), ["1 2024-02-29 Thursday"]);
    assert_eq!(engine.progress().held["f_orders"], 1);

    let mut moved = world.open(("2024-03-01", "2024-03-31"));
    assert!(moved.has_work());
    let rows = world.run(&mut moved, &[]);
    assert_eq!(rows, 60 + 31 + 2, "60 days and an order go, 31 days and an order come");
    assert_eq!((world.view(0).len(), world.view(0)[0].as_str()), (31, "2024-03-01 Friday"));
    assert_eq!(world.view(1), ["2 2024-03-01 Friday"]);
}

/// A source may have a schema `dabi` of its own; the calendar is dabi's.
#[test]
fn nobody_else_writes_the_calendar() {
    let mut world = World::new(vec![dim_date()]);
    let mut engine = world.open(("2024-02-28", "2024-03-01"));
    let foreign = Span::parse("1999-12-31", "2000-01-01").expect("a span").changes_from(None).expect("days");
    world.run(&mut engine, &[foreign]);
    assert_eq!(world.view(0).len(), 3);
}
