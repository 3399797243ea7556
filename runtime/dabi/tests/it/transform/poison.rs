//! Rows that break a module stand alone in the end; the others go on.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::StringArray;
use dabi::transform::{InputBatch, Module, PoisonBudget, Runtime, Settings, Worker};

use super::{guest, load, settings};
use crate::support::sample;

fn limited(settings: Settings) -> Module {
    load(&Runtime::new(settings).unwrap(), "echo")
}

/// A batch in which some rows ask for trouble.
fn batch_with(module: &Module, rows: usize, actions: &[(usize, &str)]) -> InputBatch {
    let mut batch = sample::batch(module.spec(), rows, 1);
    let mut all = vec![""; rows];
    for (row, action) in actions {
        all[*row] = action;
    }
    let position = module.spec().columns.iter().position(|column| column.name == "action").unwrap();
    batch.columns[position] = Arc::new(StringArray::from(all));
    batch
}

/// Which rows became errors, by code, and that all others became output.
fn check(rows: usize, actions: &[(usize, &str)], expected: &[(u32, &str)]) {
    let module = guest("echo");
    let budget = PoisonBudget::new(&module);
    let input = batch_with(&module, rows, actions);
    let applied = Worker::new(module).apply_isolating(&input, &budget).unwrap();
    let mut errors: Vec<_> = applied.errors.iter().map(|error| (error.row, error.code.as_str())).collect();
    errors.sort_unstable();
    assert_eq!(errors, expected);
    let origins: Vec<u32> = applied.outputs.iter().flat_map(|output| output.origin.clone()).collect();
    let others: Vec<u32> =
        (0..u32::try_from(rows).unwrap()).filter(|row| !expected.iter().any(|(bad, _)| bad == row)).collect();
    assert_eq!(origins, others, "in order, each once");
    for output in &applied.outputs {
        assert!(output.columns.iter().all(|column| column.len() == output.origin.len()));
    }
}

#[test]
fn a_row_that_panics_stands_alone() {
    check(1_000, &[(0, "panic")], &[(0, "trap")]);
    check(1_000, &[(617, "panic"), (999, "panic")], &[(617, "trap"), (999, "trap")]);
    check(1, &[(0, "panic")], &[(0, "trap")]);
}

#[test]
fn a_row_that_loops_for_ever_stands_alone() {
    check(64, &[(40, "loop")], &[(40, "timeout")]);
}

#[test]
fn a_row_that_takes_all_memory_stands_alone_and_is_told_apart_from_a_panic() {
    check(64, &[(5, "hoard"), (6, "panic")], &[(5, "memory"), (6, "trap")]);
}

#[test]
fn refused_rows_cost_no_retry() {
    let module = guest("echo");
    let budget = PoisonBudget::new(&module);
    let input = batch_with(&module, 4, &[(1, "refuse"), (2, "skip")]);
    let applied = Worker::new(module).apply_isolating(&input, &budget).unwrap();
    assert_eq!((applied.errors[0].row, applied.errors[0].code.as_str()), (1, "refused"));
    assert_eq!(applied.outputs[0].origin, [0, 3]);
    assert_eq!(budget.poison_rows(), 0);
}

#[test]
fn too_many_bad_rows_in_one_epoch_stop_the_transform() {
    let module = limited(Settings { poison_rows_max: 3, ..settings() });
    let budget = PoisonBudget::new(&module);
    let bad = batch_with(&module, 32, &[(1, "panic"), (9, "panic"), (30, "panic")]);
    let mut worker = Worker::new(module);
    assert_eq!(worker.apply_isolating(&bad, &budget).unwrap().errors.len(), 3);
    let stopped = worker.apply_isolating(&bad, &budget).unwrap_err();
    assert_eq!(stopped.transform, "echo");
    assert!(stopped.reason.starts_with("more than 3 rows of one epoch broke it"), "{stopped}");

    let next_epoch = PoisonBudget::new(worker.module());
    assert_eq!(worker.apply_isolating(&bad, &next_epoch).unwrap().errors.len(), 3);
}

#[test]
fn too_long_a_search_for_bad_rows_stops_the_transform() {
    let module = limited(Settings { retry_time_max: Duration::from_millis(50), ..settings() });
    let budget = PoisonBudget::new(&module);
    let stopped = Worker::new(module.clone())
        .apply_isolating(&batch_with(&module, 8, &[(3, "loop")]), &budget)
        .unwrap_err();
    assert!(stopped.reason.contains("took more than 50ms"), "{stopped}");
}
