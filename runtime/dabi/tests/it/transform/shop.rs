//! The transforms of the fixtures: what they declare, and that dabi can run
//! them without state.

use arrow::array::{Array, AsArray};

use super::guest;
use crate::support::sample;

fn check_stateless(package: &str, target: &str) {
    let module = guest(package);
    let spec = module.spec();
    assert_eq!(spec.stateful_reasons(Some(&["id"])), Vec::<String>::new());
    assert_eq!(spec.targets[0].table, target);
    let input = sample::batch(spec, 100, 3);
    let applied = module.instantiate().unwrap().apply(&input).unwrap();
    let rows: usize = applied.outputs.iter().map(|output| output.origin.len()).sum();
    assert_eq!(rows + applied.errors.len(), 100);
}

#[test]
fn the_transforms_of_the_fixtures_need_no_state() {
    check_stateless("orders", "f_orders");
    check_stateless("customers", "dim_customers");
    check_stateless("type_zoo_full", "zoo");
}

#[test]
fn columns_that_are_only_passed_on_do_not_enter_the_module() {
    let module = guest("orders");
    let read: Vec<&str> = module
        .spec()
        .columns
        .iter()
        .filter(|column| column.read)
        .map(|column| column.name.as_str())
        .collect();
    assert_eq!(read, ["note", "placed_at", "updated_at"]);
}

#[test]
fn customers_without_points_have_none() {
    let module = guest("customers");
    let mut input = sample::batch(module.spec(), 3, 1);
    let points = module.spec().columns.iter().position(|column| column.name == "loyalty_points").unwrap();
    input.columns[points] = arrow::array::new_null_array(input.columns[points].data_type(), 3);
    let applied = module.instantiate().unwrap().apply(&input).unwrap();
    let target = &module.spec().targets[0];
    let points = target.columns.iter().position(|column| column.name == "loyalty_points").unwrap();
    let points = &applied.outputs[0].columns[points];
    assert_eq!(points.null_count(), 0);
    assert_eq!(points.as_primitive::<arrow::datatypes::Int32Type>().values(), &[0, 0, 0]);
}
