//! Every type, there and back.

use dabi::transform::{Applied, InputBatch, Module};
use dabi_core::spec::ColumnSource;

use super::guest;
use crate::support::sample;

/// Each column of the star holds what the input column of its name held.
fn assert_echoes(module: &Module, input: &InputBatch, applied: &Applied) {
    let spec = module.spec();
    assert_eq!(applied.errors, []);
    let [output] = applied.outputs.as_slice() else { panic!("one output for one target") };
    assert_eq!(output.origin, (0..u32::try_from(input.rows).unwrap()).collect::<Vec<_>>());
    for (column, array) in spec.targets[0].columns.iter().zip(&output.columns) {
        let source = match column.source {
            ColumnSource::Input(position) => position,
            ColumnSource::Computed => {
                spec.columns.iter().position(|input| input.name == column.name).unwrap()
            }
            ColumnSource::AsOf(_) => panic!("echo refers to no dimension"),
        };
        assert_eq!(array.data_type(), &column.data_type.arrow(), "{}", column.name);
        assert_eq!(array, &input.columns[source], "{}", column.name);
    }
}

#[test]
fn every_type_comes_back_as_it_went_in() {
    let module = guest("echo");
    let mut instance = module.instantiate().unwrap();
    for (rows, seed) in [(0, 1), (1, 2), (7, 3), (8, 4), (9, 5), (1_000, 6), (10_000, 7)] {
        let input = sample::batch(module.spec(), rows, seed);
        assert_echoes(&module, &input, &instance.apply(&input).unwrap());
    }
}

#[test]
fn slices_that_begin_inside_a_byte_are_realigned() {
    let module = guest("echo");
    let mut instance = module.instantiate().unwrap();
    let whole = sample::batch(module.spec(), 200, 11);
    for (offset, rows) in [(1, 100), (3, 5), (8, 64), (13, 0), (63, 137)] {
        let input = whole.slice(offset, rows);
        assert_echoes(&module, &input, &instance.apply(&input).unwrap());
    }
}

#[test]
fn a_batch_that_is_not_as_declared_does_not_reach_the_module() {
    let module = guest("echo");
    let mut instance = module.instantiate().unwrap();
    let good = sample::batch(module.spec(), 4, 1);

    let mut short = good.clone();
    short.columns.pop();
    let mut swapped = good.clone();
    swapped.columns.swap(0, 1);
    let longer = InputBatch { rows: 5, ..good.clone() };
    for (input, expected) in [
        (short, "columns instead of"),
        (swapped, "column action is Boolean instead of Utf8"),
        (longer, "column action has 4 values for 5 rows"),
    ] {
        let failure = instance.apply(&input).unwrap_err();
        assert_eq!(failure.code(), "bad-input");
        assert!(failure.to_string().contains(expected), "{failure}");
    }
    assert_echoes(&module, &good, &instance.apply(&good).unwrap());
}
