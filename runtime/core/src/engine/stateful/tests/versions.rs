//! What the engine promises of versions, by examples: orders refer to their user
//! as they were then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{
    ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::datatypes::DataType as Arrow;

use super::*;
use crate::change::testing::{Event, change_batch};
use crate::change::{Op, Wire, row_field};
use crate::data_type::DataType;
use crate::spec::{
    AsOf, ColumnSource, InputColumn, MissingPolicy, Options, Spec, Target, TargetColumn, TargetKind,
};
use crate::star::TargetTable;
use crate::table::SourceTable;

/// A transform that passes on the columns that it reads.
fn passing(name: &str, kind: TargetKind, columns: &[(&str, DataType)]) -> Spec {
    let inputs = columns.iter().map(|(name, data_type)| InputColumn {
        name: (*name).into(),
        data_type: data_type.clone(),
        nullable: false,
        read: true,
        options: Options::new(),
    });
    let passed = columns.iter().enumerate().map(|(place, (name, data_type))| TargetColumn {
        name: (*name).into(),
        data_type: data_type.clone(),
        nullable: false,
        source: ColumnSource::Input(place),
        tracked: kind == TargetKind::Scd2 && place > 0,
        options: Options::new(),
    });
    Spec {
        name: name.into(),
        version: "1".into(),
        source: SourceTable::new("shop", name),
        columns: inputs.collect(),
        lookups: Vec::new(),
        targets: vec![Target {
            table: name.into(),
            kind,
            columns: passed.collect(),
            key: vec!["id".into()],
            as_of: Vec::new(),
            options: Options::new(),
        }],
        options: Options::new(),
    }
}

fn users() -> Spec {
    passing("users", TargetKind::Scd2, &[("id", DataType::Int64), ("name", DataType::Text)])
}

fn orders(missing: MissingPolicy) -> Spec {
    let columns = [("id", DataType::Int64), ("user_id", DataType::Int64), ("at", DataType::TimestampTz)];
    let mut spec = passing("orders", TargetKind::Latest, &columns);
    let target = &mut spec.targets[0];
    target.columns.push(TargetColumn {
        name: "user_key".into(),
        data_type: DataType::Uint64,
        nullable: missing == MissingPolicy::Nulls,
        source: ColumnSource::AsOf(0),
        tracked: false,
        options: Options::new(),
    });
    let key = vec!["user_id".into()];
    target.as_of.push(AsOf { dimension: "users".into(), key, at: "at".into(), missing });
    spec
}

fn of_module(specs: &[Spec], module: &str) -> Vec<StatefulTransform> {
    let transform = |spec: &Spec| StatefulTransform {
        spec: spec.clone(),
        module: module.into(),
        tables: spec.targets.iter().map(|target| TargetTable::new(spec, target, 1)).collect(),
    };
    specs.iter().map(transform).collect()
}

/// Passes columns on, unless it is to give nothing.
struct Pass {
    specs: Vec<Spec>,
    gives_nothing: AtomicBool,
}

impl Transforms for Pass {
    fn apply(&self, transform: usize, rows: usize, inputs: &[ArrayRef]) -> Result<Applied, String> {
        if self.gives_nothing.load(Ordering::Relaxed) {
            return Ok(Applied::default());
        }
        let columns = self.specs[transform].targets[0].columns.iter().map(|column| match column.source {
            ColumnSource::Input(place) => Arc::clone(&inputs[place]),
            _ => new_null_array(&Arrow::UInt64, rows),
        });
        let origin = (0..u32::try_from(rows).expect("few rows")).collect();
        let rows = AppliedRows { target: 0, origin, columns: columns.collect() };
        Ok(Applied { outputs: vec![rows], errors: Vec::new() })
    }
}

struct Shop {
    transforms: Vec<StatefulTransform>,
    pass: Pass,
    engine: Engine,
    state: MapState,
    warehouse: Warehouse,
    epoch: u64,
    offset: i64,
}

fn settings() -> Settings {
    Settings { page_rows: 10, ..Settings::default() }
}

impl Shop {
    fn new(missing: MissingPolicy) -> Self {
        let specs = vec![orders(missing), users()];
        let transforms = of_module(&specs, "m1");
        let state = MapState::default();
        let engine = ready(&transforms, settings(), &state);
        let pass = Pass { specs, gives_nothing: AtomicBool::new(false) };
        Self { transforms, pass, engine, state, warehouse: Warehouse::default(), epoch: 0, offset: 0 }
    }

    fn event(&mut self, op: Op, ts_us: i64) -> Event {
        self.offset += 1;
        let tx = Some(ts_us.to_string());
        Event { ts_us: Some(ts_us), lsn: Some(ts_us * 10), tx, ..Event::new(op, self.offset) }
    }

    /// What became of a user at a time.
    fn user(&mut self, op: Op, ts_us: i64, id: i64, name: &str) -> Commands {
        self.user_at(op, (ts_us, ts_us * 10), id, name)
    }

    fn user_at(&mut self, op: Op, (ts_us, lsn): (i64, i64), id: i64, name: &str) -> Commands {
        let names: ArrayRef = Arc::new(StringArray::from(vec![name]));
        let columns = vec![ints("id", vec![id]), (row_field("name", Arrow::Utf8, Wire::Typed, None), names)];
        let event = Event { lsn: Some(lsn), ..self.event(op, ts_us) };
        self.apply(&[change_batch(
            &SourceTable::new("shop", "users"),
            &["id"],
            columns,
            ("users", 0),
            &[event],
        )])
    }

    /// Orders of user 1, all made at one time.
    fn orders(&mut self, ids: std::ops::Range<i64>, at_us: i64) -> Commands {
        let len = ids.clone().count();
        let at: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![at_us; len]).with_timezone("UTC"));
        let at = (row_field("at", at.data_type().clone(), Wire::Typed, None), at);
        let columns = vec![ints("id", ids.clone().collect()), ints("user_id", vec![1; len]), at];
        let events: Vec<Event> = ids.map(|_| self.event(Op::Create, 1)).collect();
        self.apply(&[change_batch(
            &SourceTable::new("shop", "orders"),
            &["id"],
            columns,
            ("orders", 0),
            &events,
        )])
    }

    fn apply(&mut self, batches: &[ChangeBatch]) -> Commands {
        let commands = self.try_apply(batches).expect("events that fit");
        self.state.commit(&commands.commit).expect("a map never fails");
        self.warehouse.store(&self.transforms, &commands.outbox);
        commands
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

    fn finish_work(&mut self) {
        while self.engine.has_work() {
            self.apply(&[]);
        }
    }

    /// Name, from and to of each version.
    fn versions(&self) -> Vec<String> {
        let view = self.warehouse.view("users__g1");
        let mut rows: Vec<_> =
            view.iter().map(|row| (row[3].clone(), row[1].clone(), row[4].clone())).collect();
        rows.sort_unstable();
        let second =
            |time: &str| time.rsplit('.').next().map(|micros| micros.trim_start_matches('0').to_owned());
        let shown = |(from, name, to): (String, String, String)| {
            let (from, to) =
                (second(&from).filter(|_| from.contains('.')), second(&to).filter(|_| to.contains('.')));
            format!("{name} {} {}", from.unwrap_or_else(|| "0".into()), to.unwrap_or_else(|| "∞".into()))
        };
        rows.into_iter().map(shown).collect()
    }

    /// The names that orders refer to.
    fn names(&self) -> Vec<String> {
        let versions = self.warehouse.view("users__g1");
        let name = |key: &String| {
            let version = versions.iter().find(|row| row[2] == *key);
            version.map_or_else(|| key.clone(), |row| row[1].clone())
        };
        self.warehouse.view("orders__g1").iter().map(|row| name(&row[3])).collect()
    }
}

fn ints(name: &str, values: Vec<i64>) -> (arrow::datatypes::Field, ArrayRef) {
    (row_field(name, Arrow::Int64, Wire::Typed, None), Arc::new(Int64Array::from(values)))
}

fn sent(commands: &Commands) -> usize {
    commands.outbox.inserts.iter().flat_map(|insert| &insert.batches).map(RecordBatch::num_rows).sum()
}

#[test]
fn a_version_that_comes_late_corrects_who_refers_to_it() {
    let mut shop = Shop::new(MissingPolicy::Hold);
    shop.orders(100..101, 15);
    assert_eq!(shop.engine.progress().held["orders"], 1);
    shop.user(Op::Create, 10, 1, "Ada");
    shop.user(Op::Update, 20, 1, "Countess");
    assert_eq!(
        (shop.versions(), shop.names()),
        (vec!["Ada 0 20".into(), "Countess 20 ∞".into()], vec!["Ada".to_owned()])
    );
    shop.user(Op::Update, 12, 1, "Lovelace");
    assert_eq!(shop.versions(), ["Ada 0 12", "Lovelace 12 20", "Countess 20 ∞"]);
    assert_eq!(shop.names(), ["Lovelace"]);
    shop.user(Op::Delete, 14, 1, "");
    assert_eq!(shop.versions(), ["Ada 0 12", "Lovelace 12 14", "Countess 20 ∞"]);
    assert_eq!((shop.names().len(), shop.engine.progress().held["orders"]), (0, 1));
}

#[test]
fn what_comes_again_says_nothing_new() {
    let mut shop = Shop::new(MissingPolicy::Nulls);
    shop.orders(100..101, 15);
    for time in 0..2 {
        let all = [(10, "Ada"), (20, "Countess"), (30, "Countess")];
        let rows: usize = all.iter().map(|(at, name)| sent(&shop.user(Op::Update, *at, 1, name))).sum();
        assert_eq!(rows > 0, time == 0, "{rows} rows");
    }
    assert_eq!(shop.versions(), ["Ada 0 20", "Countess 20 ∞"]);
}

/// Versions go by commit time all the same; whoever reads them is told.
#[test]
fn a_commit_clock_that_steps_back_is_told_once() {
    let mut shop = Shop::new(MissingPolicy::Nulls);
    let table = SourceTable::new("shop", "users");
    let mut told = |at, id, name| {
        shop.user_at(Op::Update, at, id, name).report.clock.get(&table).map(|s| (s.events, s.largest_us))
    };
    assert_eq!(told((20, 100), 1, "Ada"), None);
    assert_eq!(told((15, 200), 1, "Lovelace"), Some((1, 5)));
    // It comes again; of another row nothing is known.
    assert_eq!(told((15, 200), 1, "Lovelace"), None);
    assert_eq!(told((3, 300), 2, "Bob"), None);
    assert_eq!(told((30, 400), 1, "Countess"), None);
    shop.finish_work();
    let of_ada: Vec<String> =
        shop.versions().into_iter().filter(|version| !version.starts_with("Bob")).collect();
    assert_eq!(of_ada, ["Lovelace 0 20", "Ada 20 30", "Countess 30 ∞"]);
}

#[test]
fn a_new_version_reaches_who_refers_to_it_page_by_page() {
    let mut shop = Shop::new(MissingPolicy::Nulls);
    shop.orders(100..200, 15);
    let first = shop.user(Op::Create, 10, 1, "Ada");
    assert_eq!((first.report.evaluated, shop.engine.progress().jobs), (11, 1));
    shop.finish_work();
    assert_eq!(shop.names(), vec!["Ada"; 100]);
    // One version ends and one begins; no order was made since.
    let second = shop.user(Op::Update, 20, 1, "Countess");
    assert_eq!(sent(&second), 2);
    shop.finish_work();
    assert_eq!(shop.names(), vec!["Ada"; 100]);
}

/// Rows that are gone have versions too, of which only their history knows.
#[test]
fn another_module_makes_versions_of_rows_that_are_gone() {
    let mut shop = Shop::new(MissingPolicy::Nulls);
    shop.pass.gives_nothing.store(true, Ordering::Relaxed);
    shop.user(Op::Create, 10, 1, "Ada");
    shop.user(Op::Delete, 20, 1, "");
    shop.pass.gives_nothing.store(false, Ordering::Relaxed);
    shop.transforms = of_module(&shop.pass.specs, "m2");
    shop.engine = ready(&shop.transforms, settings(), &shop.state);
    shop.finish_work();
    assert_eq!(shop.versions(), ["Ada 0 20"]);
}

#[test]
fn declarations_without_sense_are_refused_with_the_remedy() {
    let refused = |specs: &[Spec]| {
        let opened = Engine::open(&of_module(specs, "m"), settings(), None);
        opened.expect_err("it makes no sense").to_string()
    };
    insta::assert_snapshot!(refused(&[orders(MissingPolicy::Nulls)]));
    let mut both = users();
    both.targets.extend(orders(MissingPolicy::Reject).targets);
    insta::assert_snapshot!(refused(&[both]));
    let mut mixed = passing("changes", TargetKind::Append, &[("id", DataType::Int64)]);
    mixed.targets.extend(passing("current", TargetKind::Latest, &[("id", DataType::Int64)]).targets);
    insta::assert_snapshot!(refused(&[mixed]));
}

#[test]
fn versions_are_kept_by_the_primary_key() {
    let mut shop = Shop::new(MissingPolicy::Nulls);
    let columns = vec![ints("id", vec![1]), ints("tenant", vec![1])];
    let event = shop.event(Op::Create, 1);
    let batch =
        change_batch(&SourceTable::new("shop", "users"), &["id", "tenant"], columns, ("users", 0), &[event]);
    insta::assert_snapshot!(shop.try_apply(&[batch]).expect_err("another key"));
}
