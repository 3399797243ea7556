//! What the engine promises beside the right star, by examples: orders look up
//! their users.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, UInt32Array};
use arrow::compute::take;
use arrow::datatypes::DataType as Arrow;

use super::*;
use crate::change::testing::{Event, change_batch};
use crate::change::{Op, Wire, row_field};
use crate::data_type::DataType;
use crate::engine::state::StateSize;
use crate::spec::{
    ColumnSource, InputColumn, Lookup, MissingPolicy, Options, Spec, Target, TargetColumn, TargetKind,
};
use crate::star::TargetTable;
use crate::table::SourceTable;

fn input(name: &str, data_type: DataType) -> InputColumn {
    InputColumn { name: name.into(), data_type, nullable: false, read: true, options: Options::new() }
}

/// Orders with the name of their user, under `key`.
fn f_orders(module: &str, key: &str, missing: MissingPolicy) -> StatefulTransform {
    let column = |name: &str, data_type: DataType, place: usize| TargetColumn {
        name: name.into(),
        data_type,
        nullable: false,
        source: ColumnSource::Input(place),
        tracked: false,
        options: Options::new(),
    };
    let mut columns = vec![column("name", DataType::Text, 2)];
    columns.push(if key == "id" {
        column("id", DataType::Int64, 0)
    } else {
        column(key, DataType::Int64, 1)
    });
    let target = Target {
        table: "f_orders".into(),
        kind: TargetKind::Latest,
        columns,
        key: vec![key.into()],
        as_of: Vec::new(),
        options: Options::new(),
    };
    let spec = Spec {
        name: "f_orders".into(),
        version: "1".into(),
        source: SourceTable::new("shop", "orders"),
        columns: vec![input("id", DataType::Int64), input("user_id", DataType::Int64)],
        lookups: vec![Lookup {
            name: "user".into(),
            table: SourceTable::new("shop", "users"),
            key: vec!["id".into()],
            on: vec!["user_id".into()],
            columns: vec![input("name", DataType::Text)],
            missing,
        }],
        targets: vec![target.clone()],
        options: Options::new(),
    };
    let tables = vec![TargetTable::new(&spec, &target, 1)];
    StatefulTransform { spec, module: module.into(), tables }
}

/// Passes columns on, unless it is broken.
#[derive(Default)]
struct Pass {
    columns: Vec<usize>,
    broken: AtomicBool,
    /// Does it refuse every row?
    refuses: AtomicBool,
}

impl Transforms for Pass {
    fn apply(&self, _: usize, rows: usize, inputs: &[ArrayRef]) -> Result<Applied, String> {
        if self.broken.load(Ordering::Relaxed) {
            return Err("it traps".into());
        }
        let origin: Vec<u32> = (0..u32::try_from(rows).expect("few rows")).collect();
        if self.refuses.load(Ordering::Relaxed) {
            let error = |row| AppliedError { row, code: "no".into(), message: "not today".into() };
            return Ok(Applied { outputs: Vec::new(), errors: origin.into_iter().map(error).collect() });
        }
        let all = UInt32Array::from(origin.clone());
        let columns = self.columns.iter().map(|place| take(&inputs[*place], &all, None).expect("in range"));
        let rows = AppliedRows { target: 0, origin, columns: columns.collect() };
        Ok(Applied { outputs: vec![rows], errors: Vec::new() })
    }
}

struct Shop {
    engine: Engine,
    state: MapState,
    pass: Pass,
    warehouse: Warehouse,
    transform: StatefulTransform,
    epoch: u64,
    offset: Cell<i64>,
}

fn settings() -> Settings {
    Settings { page_rows: 10, ..Settings::default() }
}

impl Shop {
    fn new(transform: StatefulTransform) -> Self {
        let state = MapState::default();
        let key = if transform.spec.targets[0].key == ["id"] { 0 } else { 1 };
        let pass = Pass { columns: vec![2, key], ..Pass::default() };
        let engine = ready(std::slice::from_ref(&transform), settings(), &state);
        let warehouse = Warehouse::default();
        Self { engine, state, pass, warehouse, transform, epoch: 0, offset: Cell::new(0) }
    }

    fn events(&self, op: Op, rows: usize) -> Vec<Event> {
        let from = self.offset.get();
        let to = from + i64::try_from(rows).expect("few rows");
        self.offset.set(to);
        (from..to).map(|offset| Event::new(op, offset)).collect()
    }

    fn users(&self, op: Op, rows: &[(i64, &str, i64)]) -> ChangeBatch {
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.1)));
        let columns = vec![
            ints("id", rows.iter().map(|row| row.0)),
            (row_field("name", Arrow::Utf8, Wire::Typed, None), names),
            ints("age", rows.iter().map(|row| row.2)),
        ];
        let table = SourceTable::new("shop", "users");
        change_batch(&table, &["id"], columns, ("users", 0), &self.events(op, rows.len()))
    }

    fn orders(&self, op: Op, rows: &[(i64, i64)]) -> ChangeBatch {
        let columns =
            vec![ints("id", rows.iter().map(|row| row.0)), ints("user_id", rows.iter().map(|row| row.1))];
        let table = SourceTable::new("shop", "orders");
        change_batch(&table, &["id"], columns, ("orders", 0), &self.events(op, rows.len()))
    }

    fn try_apply(&mut self, batches: &[ChangeBatch]) -> Result<Commands, EngineError> {
        let mut position = Position::default();
        for batch in batches {
            position.set(batch.topic(), batch.partition(), batch.span().to);
        }
        self.epoch += 1;
        let events = EpochEvents { term: Term(1), epoch: Epoch(self.epoch), batches, position: &position };
        self.engine.apply(&events, &self.state, &self.pass)
    }

    fn apply(&mut self, batches: &[ChangeBatch]) -> Commands {
        let commands = self.try_apply(batches).expect("events that fit");
        self.state.commit(&commands.commit).expect("a map never fails");
        self.warehouse.store(std::slice::from_ref(&self.transform), &commands.outbox);
        commands
    }

    fn view(&self) -> Vec<Vec<String>> {
        self.warehouse.view(&self.transform.tables[0].physical_name()).into_iter().collect()
    }

    fn reopen(&mut self, module: &str) {
        self.transform.module = module.into();
        self.engine = ready(std::slice::from_ref(&self.transform), settings(), &self.state);
    }
}

fn ints(name: &str, values: impl Iterator<Item = i64>) -> (arrow::datatypes::Field, ArrayRef) {
    (row_field(name, Arrow::Int64, Wire::Typed, None), Arc::new(Int64Array::from_iter_values(values)))
}

fn sent(commands: &Commands) -> usize {
    commands.outbox.inserts.iter().flat_map(|insert| &insert.batches).map(RecordBatch::num_rows).sum()
}

#[test]
fn a_change_that_nobody_asks_for_costs_nothing() {
    let mut shop = Shop::new(f_orders("m", "id", MissingPolicy::Hold));
    shop.apply(&[shop.users(Op::Create, &[(1, "Ada", 36)]), shop.orders(Op::Create, &[(10, 1)])]);
    let older = shop.apply(&[shop.users(Op::Update, &[(1, "Ada", 37)])]);
    assert_eq!((older.report.evaluated, sent(&older)), (0, 0));
    let renamed = shop.apply(&[shop.users(Op::Update, &[(1, "Lovelace", 37)])]);
    assert_eq!((renamed.report.evaluated, sent(&renamed)), (1, 1));
    assert_eq!(shop.view(), [["Lovelace", "10"]]);
}

/// One user of a hundred orders: paged, shown, and out of the way of other events.
#[test]
fn a_large_fan_out_is_worked_off_page_by_page() {
    let mut shop = Shop::new(f_orders("m", "id", MissingPolicy::Nulls));
    let orders: Vec<(i64, i64)> = (0..100).map(|id| (id, 1)).collect();
    shop.apply(&[shop.users(Op::Create, &[(1, "Ada", 0), (2, "Bob", 0)]), shop.orders(Op::Create, &orders)]);
    let renamed = shop.apply(&[shop.users(Op::Update, &[(1, "Lovelace", 0)])]);
    assert_eq!((renamed.report.evaluated, shop.engine.progress().jobs), (10, 1));
    let with_event = shop.apply(&[shop.orders(Op::Create, &[(1000, 2)])]);
    assert_eq!(with_event.report.evaluated, 11);
    assert!(shop.view().contains(&vec!["Bob".into(), "1000".into()]));
    // A crash goes on from the cursor, and what changes again begins anew.
    shop.reopen("m");
    shop.apply(&[shop.users(Op::Update, &[(1, "Countess", 0)])]);
    let mut epochs = 0;
    while shop.engine.has_work() {
        assert!(shop.apply(&[]).report.evaluated <= 10);
        epochs += 1;
    }
    assert!((9..=11).contains(&epochs), "{epochs} epochs");
    assert_eq!(shop.view().iter().filter(|row| row[0] == "Countess").count(), 100);
}

/// Until the sweep has come to a row that is gone, nobody is given it.
#[test]
fn a_truncated_row_is_gone_at_once() {
    let mut shop = Shop::new(f_orders("m", "id", MissingPolicy::Hold));
    let users: Vec<(i64, &str, i64)> = (0..100).map(|id| (id, "Ada", 0)).collect();
    shop.apply(&[shop.users(Op::Create, &users)]);
    shop.apply(&[shop.users(Op::Truncate, &[(0, "", 0)])]);
    let orders: Vec<(i64, i64)> = (95..100).map(|id| (id, id)).collect();
    shop.apply(&[shop.orders(Op::Create, &orders)]);
    assert!(shop.engine.has_work());
    assert!(shop.view().is_empty(), "{:?}", shop.view());
    while shop.engine.has_work() {
        shop.apply(&[]);
    }
    assert_eq!(shop.engine.progress().held["f_orders"], 5);
}

/// As a date dimension from orders: the row is sent once, whoever gives it, and
/// goes with the last who does.
#[test]
fn a_shared_row_is_sent_once() {
    let mut shop = Shop::new(f_orders("m", "user_id", MissingPolicy::Hold));
    let orders: Vec<(i64, i64)> = (-5..50).map(|id| (id, 1)).collect();
    let first = shop.apply(&[shop.users(Op::Create, &[(1, "Ada", 0)]), shop.orders(Op::Create, &orders)]);
    assert_eq!((sent(&first), first.report.conflicts.len()), (1, 0));
    let gone: Vec<(i64, i64)> = (-5..49).map(|id| (id, 1)).collect();
    let most = shop.apply(&[shop.orders(Op::Delete, &gone)]);
    assert_eq!(sent(&most), 0);
    assert_eq!(shop.view(), [["Ada", "1"]]);
    let last = shop.apply(&[shop.orders(Op::Delete, &[(49, 1)])]);
    assert_eq!((sent(&last), shop.view().len()), (1, 0));
}

/// The row of the smallest source key stands; the others are counted.
#[test]
fn source_rows_that_disagree_are_counted() {
    let mut transform = f_orders("m", "user_id", MissingPolicy::Hold);
    let first = &mut transform.spec.targets[0].columns[0];
    (first.name, first.data_type, first.source) = ("order".into(), DataType::Int64, ColumnSource::Input(0));
    transform.tables = vec![TargetTable::new(&transform.spec, &transform.spec.targets[0], 1)];
    let mut shop = Shop::new(transform);
    shop.pass.columns = vec![0, 1];
    shop.apply(&[shop.users(Op::Create, &[(1, "Ada", 0)])]);
    let both = shop.apply(&[shop.orders(Op::Create, &[(11, 1), (10, 1)])]);
    assert_eq!(both.report.conflicts.into_iter().collect::<Vec<_>>(), [("f_orders".to_owned(), 1)]);
    assert_eq!(shop.view(), [["10", "1"]]);
    let alone = shop.apply(&[shop.orders(Op::Delete, &[(10, 1)])]);
    assert_eq!((alone.report.conflicts.len(), shop.view()), (0, vec![vec!["11".into(), "1".to_owned()]]));
}

#[test]
fn a_dead_letter_names_its_row_and_goes_when_the_row_is_mended() {
    let mut shop = Shop::new(f_orders("m", "id", MissingPolicy::Reject));
    let raised = shop.apply(&[shop.orders(Op::Create, &[(-10, 1)])]).outbox.raised;
    let [letter] = raised.as_slice() else { panic!("one letter: {raised:?}") };
    assert_eq!((letter.key.as_str(), letter.topic.as_str(), letter.offset.0), ("-10", "orders", 0));
    assert_eq!(letter.code, "lookup-missing");
    assert_eq!(
        letter.message,
        "lookup user: there is no row of shop.users for user_id; it is tried again when there is one"
    );
    // The same again says nothing new.
    let again = shop.apply(&[shop.orders(Op::Update, &[(-10, 1)])]);
    assert!(again.outbox.raised.is_empty());
    let mended = shop.apply(&[shop.users(Op::Create, &[(1, "Ada", 0)])]);
    assert_eq!(mended.outbox.cleared.len(), 1);
    assert_eq!((shop.view().len(), shop.engine.progress().letters["f_orders"]), (1, 0));
}

/// A row that is gone when the transform comes back stands in what it gave before.
#[test]
fn a_stopped_transform_catches_up_under_another_module() {
    let mut shop = Shop::new(f_orders("m1", "id", MissingPolicy::Nulls));
    shop.apply(&[shop.users(Op::Create, &[(1, "Ada", 0)]), shop.orders(Op::Create, &[(10, 1), (11, 1)])]);
    shop.pass.broken.store(true, Ordering::Relaxed);
    let stopped = shop.apply(&[shop.orders(Op::Create, &[(12, 1)])]).stopped;
    assert_eq!(stopped, [("f_orders".to_owned(), "it traps".to_owned())]);
    shop.apply(&[shop.orders(Op::Delete, &[(10, 1)])]);
    shop.reopen("m1");
    assert!(!shop.engine.has_work() && shop.engine.progress().stopped.contains_key("f_orders"));
    shop.pass.broken.store(false, Ordering::Relaxed);
    shop.reopen("m2");
    while shop.engine.has_work() {
        shop.apply(&[]);
    }
    assert_eq!(shop.view(), [["Ada", "11"], ["Ada", "12"]]);
    assert!(shop.engine.progress().stopped.is_empty());
}

#[test]
fn a_store_of_other_declarations_is_rebuilt() {
    let mut shop = Shop::new(f_orders("m", "id", MissingPolicy::Hold));
    shop.apply(&[shop.orders(Op::Create, &[(10, 1)])]);
    let mut other = f_orders("m", "id", MissingPolicy::Hold);
    other.spec.lookups[0].columns.push(input("age", DataType::Int64));
    let opened = Engine::open(&[other], settings(), shop.state.committed().as_ref()).expect("it fits");
    let Opened::Rebuild { reason } = opened else { panic!("another layout") };
    insta::assert_snapshot!(reason);
}

#[test]
fn what_events_contradict_stops_the_engine_with_the_remedy() {
    let mut lookup_by_name = f_orders("m", "id", MissingPolicy::Nulls);
    lookup_by_name.spec.lookups[0].key = vec!["name".into()];
    let mut shop = Shop::new(lookup_by_name);
    let error = shop.try_apply(&[shop.users(Op::Create, &[(1, "Ada", 0)])]).expect_err("not the key");
    insta::assert_snapshot!(error);
    let mut shop = Shop::new(f_orders("m", "id", MissingPolicy::Nulls));
    let table = SourceTable::new("shop", "users");
    let columns = || vec![ints("id", [1].into_iter()), ints("age", [2].into_iter())];
    let keyless = change_batch(&table, &[], columns(), ("users", 0), &shop.events(Op::Create, 1));
    insta::assert_snapshot!(shop.try_apply(&[keyless]).expect_err("no key"));
    shop.apply(&[shop.users(Op::Create, &[(1, "Ada", 0)])]);
    let other = change_batch(&table, &["age"], columns(), ("users", 0), &shop.events(Op::Create, 1));
    insta::assert_snapshot!(shop.try_apply(&[other]).expect_err("another key"));
}

#[test]
fn declarations_that_do_not_fit_are_refused() {
    let mut short = f_orders("m", "id", MissingPolicy::Nulls);
    short.spec.lookups[0].on.push("id".into());
    let fault = Engine::open(&[short], settings(), None).expect_err("two columns for one");
    insta::assert_snapshot!(fault);
    let twice = [f_orders("m", "id", MissingPolicy::Nulls), f_orders("m", "id", MissingPolicy::Nulls)];
    insta::assert_snapshot!(Engine::open(&twice, settings(), None).expect_err("one name"));
}

#[test]
fn a_deleted_row_leaves_nothing_in_the_store() {
    let mut shop = Shop::new(f_orders("m", "user_id", MissingPolicy::Hold));
    shop.apply(&[shop.users(Op::Create, &[(1, "Ada", 0)]), shop.orders(Op::Create, &[(10, 1), (11, 2)])]);
    shop.apply(&[shop.users(Op::Delete, &[(1, "Ada", 0)]), shop.orders(Op::Delete, &[(10, 1), (11, 2)])]);
    let none = StateSize { entries: Some(0), members: Some(0), ..StateSize::default() };
    assert_eq!(shop.state.size(), none);
}

#[test]
fn dead_letters_are_tried_again_when_somebody_asks() {
    let mut shop = Shop::new(f_orders("m", "id", MissingPolicy::Nulls));
    let orders: Vec<(i64, i64)> = (0..25).map(|id| (id, 1)).collect();
    shop.pass.refuses.store(true, Ordering::Relaxed);
    let raised = shop.apply(&[shop.users(Op::Create, &[(1, "Ada", 0)]), shop.orders(Op::Create, &orders)]);
    assert_eq!((raised.outbox.raised.len(), shop.view().len()), (25, 0));
    // A letter shows the row with what it looked up.
    let letter = raised.outbox.raised.iter().find(|letter| letter.key == "7").expect("a letter of order 7");
    assert_eq!(letter.row, r#"{"id":7,"user_id":1,"user.name":"Ada"}"#);

    assert_eq!(shop.engine.retry_letters("f_orders"), Some(25));
    assert_eq!(shop.engine.retry_letters("f_nothing"), None);
    // What is still wrong is not told again.
    while shop.engine.has_work() {
        let commands = shop.apply(&[]);
        assert!(commands.report.evaluated <= 10 && commands.outbox.raised.is_empty());
    }
    assert_eq!(shop.warehouse.letters.len(), 25);

    shop.pass.refuses.store(false, Ordering::Relaxed);
    shop.engine.retry_letters("f_orders");
    while shop.engine.has_work() {
        shop.apply(&[]);
    }
    assert_eq!((shop.view().len(), shop.warehouse.letters.len()), (25, 0));
    assert_eq!(shop.engine.progress().letters["f_orders"], 0);
    assert_eq!(shop.engine.retry_letters("f_orders"), Some(0));
    assert!(!shop.engine.has_work());
}
