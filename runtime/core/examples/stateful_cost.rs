//! What an event costs in the stateful engine: `order_products` looks up `orders`.
//!
//! `cargo run --release -p dabi-core --features testing --example stateful_cost [rows]`
//!
//! Prints microseconds per event for the engine itself, for the store below it (a
//! plain map: not what a real one costs) and for the transform (columns passed
//! on), by kind of epoch.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BinaryArray, Int64Array, StringArray};
use arrow::datatypes::DataType as Arrow;
use dabi_core::change::testing::{Event, change_batch};
use dabi_core::change::{ChangeBatch, Op, Wire, row_field};
use dabi_core::data_type::DataType;
use dabi_core::engine::state::testing::MapState;
use dabi_core::engine::state::{Commit, Committed, Members, Space, State, StateError, StateSize, Unsent};
use dabi_core::engine::stateful::{
    Applied, AppliedRows, Engine, EpochEvents, Opened, Settings, StatefulTransform, Transforms,
};
use dabi_core::position::Position;
use dabi_core::spec::{
    ColumnSource, InputColumn, Lookup, MissingPolicy, Options, Spec, Target, TargetColumn, TargetKind,
};
use dabi_core::star::TargetTable;
use dabi_core::table::SourceTable;
use dabi_core::version::{Epoch, Term};

const EPOCH_ROWS: i64 = 10_000;
const LINES_PER_ORDER: i64 = 10;

/// Counts the time that passes in the store.
#[derive(Default)]
struct Timed {
    state: MapState,
    nanos: AtomicU64,
}

impl Timed {
    fn time<T>(&self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = work();
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        done
    }
}

impl State for Timed {
    fn read(&self, space: Space, keys: &BinaryArray) -> Result<BinaryArray, StateError> {
        self.time(|| self.state.read(space, keys))
    }
    fn members(&self, space: Space, groups: &BinaryArray, limit: usize) -> Result<Members, StateError> {
        self.time(|| self.state.members(space, groups, limit))
    }
    fn page(
        &self,
        space: Space,
        group: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<BinaryArray, StateError> {
        self.time(|| self.state.page(space, group, after, limit))
    }
    fn keys(&self, space: Space, after: Option<&[u8]>, limit: usize) -> Result<BinaryArray, StateError> {
        self.time(|| self.state.keys(space, after, limit))
    }
    fn commit(&mut self, commit: &Commit) -> Result<(), StateError> {
        let started = Instant::now();
        self.state.commit(commit)?;
        let nanos = u64::try_from(started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        Ok(())
    }
    fn sent(&mut self, epoch: Epoch) -> Result<(), StateError> {
        self.state.sent(epoch)
    }
    fn committed(&self) -> Option<Committed> {
        self.state.committed()
    }
    fn unsent(&self) -> Result<Vec<Unsent>, StateError> {
        self.state.unsent()
    }
    fn size(&self) -> StateSize {
        self.state.size()
    }
}

/// Passes every column on.
struct Pass;

impl Transforms for Pass {
    fn apply(&self, _: usize, rows: usize, columns: &[ArrayRef]) -> Result<Applied, String> {
        let origin = (0..u32::try_from(rows).expect("a page")).collect();
        let rows = AppliedRows { target: 0, origin, columns: columns.to_vec() };
        Ok(Applied { outputs: vec![rows], errors: Vec::new() })
    }
}

fn f_order_lines() -> StatefulTransform {
    let input = |name: &str, data_type: &DataType| InputColumn {
        name: name.into(),
        data_type: data_type.clone(),
        nullable: false,
        read: true,
        options: Options::new(),
    };
    let own = [
        ("order_id", DataType::Int64),
        ("product_id", DataType::Int64),
        ("add_to_cart_order", DataType::Int64),
        ("note", DataType::Text),
    ];
    let looked = [("user_id", DataType::Int64), ("order_date", DataType::Int64)];
    let target = Target {
        table: "f_order_lines".into(),
        kind: TargetKind::Latest,
        columns: own
            .iter()
            .chain(&looked)
            .enumerate()
            .map(|(place, (name, data_type))| TargetColumn {
                name: (*name).into(),
                data_type: data_type.clone(),
                nullable: false,
                source: ColumnSource::Input(place),
                tracked: false,
                options: Options::new(),
            })
            .collect(),
        key: vec!["order_id".into(), "product_id".into()],
        as_of: Vec::new(),
        options: Options::new(),
    };
    let spec = Spec {
        name: "f_order_lines".into(),
        version: "1".into(),
        source: SourceTable::new("shop", "order_products"),
        columns: own.iter().map(|(name, data_type)| input(name, data_type)).collect(),
        lookups: vec![Lookup {
            name: "order".into(),
            table: SourceTable::new("shop", "orders"),
            key: vec!["order_id".into()],
            on: vec!["order_id".into()],
            columns: looked.iter().map(|(name, data_type)| input(name, data_type)).collect(),
            missing: MissingPolicy::Hold,
        }],
        targets: vec![target.clone()],
        options: Options::new(),
    };
    let tables = vec![TargetTable::new(&spec, &target, 1)];
    StatefulTransform { spec, module: "m".into(), tables }
}

fn ints(name: &str, values: impl Iterator<Item = i64>) -> (arrow::datatypes::Field, ArrayRef) {
    (row_field(name, Arrow::Int64, Wire::Typed, None), Arc::new(Int64Array::from_iter_values(values)))
}

fn events(offset: i64, rows: i64) -> Vec<Event> {
    (offset..offset + rows).map(|offset| Event { tx: None, ..Event::new(Op::Update, offset) }).collect()
}

fn orders(offset: i64, ids: &[i64], salt: i64) -> ChangeBatch {
    let columns = vec![
        ints("order_id", ids.iter().copied()),
        ints("user_id", ids.iter().map(|id| id % 1000)),
        ints("order_date", ids.iter().map(|id| id + salt)),
    ];
    let rows = i64::try_from(ids.len()).expect("few");
    let table = SourceTable::new("shop", "orders");
    change_batch(&table, &["order_id"], columns, ("orders", 0), &events(offset, rows))
}

fn lines(offset: i64, ids: &[i64], salt: i64) -> ChangeBatch {
    let notes = StringArray::from_iter_values(ids.iter().map(|id| format!("note {} of {id}", id + salt)));
    let columns = vec![
        ints("order_id", ids.iter().map(|id| id / LINES_PER_ORDER)),
        ints("product_id", ids.iter().map(|id| id % LINES_PER_ORDER)),
        ints("add_to_cart_order", ids.iter().map(|id| id + salt)),
        (row_field("note", Arrow::Utf8, Wire::Typed, None), Arc::new(notes) as ArrayRef),
    ];
    let rows = i64::try_from(ids.len()).expect("few");
    let table = SourceTable::new("shop", "order_products");
    change_batch(&table, &["order_id", "product_id"], columns, ("lines", 0), &events(offset, rows))
}

struct Run {
    engine: Engine,
    store: Timed,
    epoch: u64,
    offsets: [i64; 2],
}

impl Run {
    /// Applies one epoch; gives the time of the engine alone.
    fn apply(&mut self, batch: ChangeBatch) -> Duration {
        self.epoch += 1;
        let mut position = Position::default();
        position.set(batch.topic(), batch.partition(), batch.span().to);
        let events =
            EpochEvents { term: Term(1), epoch: Epoch(self.epoch), batches: &[batch], position: &position };
        let in_store = self.store.nanos.load(Ordering::Relaxed);
        let started = Instant::now();
        let commands = self.engine.apply(&events, &self.store, &Pass).expect("events that fit");
        let took = started.elapsed();
        let in_store = Duration::from_nanos(self.store.nanos.load(Ordering::Relaxed) - in_store);
        self.store.commit(&commands.commit).expect("a map");
        self.store.sent(Epoch(self.epoch)).expect("a map");
        took.saturating_sub(in_store)
    }

    fn orders(&mut self, ids: &[i64], salt: i64) -> Duration {
        let batch = orders(self.offsets[0], ids, salt);
        self.offsets[0] += i64::try_from(ids.len()).expect("few");
        self.apply(batch)
    }

    fn lines(&mut self, ids: &[i64], salt: i64) -> Duration {
        let batch = lines(self.offsets[1], ids, salt);
        self.offsets[1] += i64::try_from(ids.len()).expect("few");
        self.apply(batch)
    }
}

fn report(what: &str, rows: i64, engine: Duration) {
    println!("{what:<44} {:>7.2} µs", engine.as_secs_f64() * 1e6 / rows as f64);
}

fn main() {
    let rows: i64 = std::env::args().nth(1).and_then(|rows| rows.parse().ok()).unwrap_or(200_000);
    let opened =
        Engine::open(&[f_order_lines()], Settings::default(), None).expect("a declaration that fits");
    let Opened::Ready(engine) = opened else { unreachable!("a new store") };
    let mut run = Run { engine, store: Timed::default(), epoch: 0, offsets: [0; 2] };
    // A stride that is prime to the number of rows spreads epochs over all keys.
    let spread = |round: i64, of: i64| -> Vec<i64> {
        (0..EPOCH_ROWS).map(|row| (round * EPOCH_ROWS + row) * 7919 % of).collect()
    };
    let order_rows = rows / LINES_PER_ORDER;
    let mut time = Duration::ZERO;
    for from in (0..order_rows).step_by(10_000) {
        let ids: Vec<i64> = (from..(from + EPOCH_ROWS).min(order_rows)).collect();
        time += run.orders(&ids, 0);
    }
    report("insert an order, nobody depends on it", order_rows, time);
    let mut time = Duration::ZERO;
    for round in 0..rows / EPOCH_ROWS {
        time += run.lines(&spread(round, rows), 0);
    }
    report("insert a line", rows, time);
    let mut time = Duration::ZERO;
    for round in 0..rows / EPOCH_ROWS {
        time += run.lines(&spread(round, rows), 1);
    }
    report("update a line", rows, time);
    let mut time = Duration::ZERO;
    for round in 0..rows / EPOCH_ROWS {
        time += run.lines(&spread(round, rows), 1);
    }
    report("the same again, nothing differs", rows, time);
    let mut time = Duration::ZERO;
    let mut epochs = 0;
    for from in (0..order_rows).step_by(1000) {
        let ids: Vec<i64> = (from..(from + 1000).min(order_rows)).collect();
        time += run.orders(&ids, 1);
        while run.engine.has_work() {
            let batch = orders(run.offsets[0], &[0], 1);
            run.offsets[0] += 1;
            time += run.apply(batch);
            epochs += 1;
        }
    }
    report("update an order: each line that depends", rows, time);
    println!("(in {epochs} epochs beside those of the events)");
    println!("store: {:?}, {:.1} s in it", run.store.size(), run.store.nanos.into_inner() as f64 / 1e9);
}
