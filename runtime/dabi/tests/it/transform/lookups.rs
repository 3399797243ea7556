//! Looked-up rows go in beside their source row, and several rows come out.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int32Type, Int64Type};
use dabi::transform::InputBatch;
use dabi_core::spec::{MissingPolicy, Reference};

use super::guest;

/// Three lines: of a known order, of an unknown one, and of one whose user has no city.
fn batch() -> InputBatch {
    let times = TimestampMicrosecondArray::from(vec![Some(0), None, Some(86_400_000_000)]);
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int32Array::from(vec![2, 0, 1])),
        Arc::new(Int64Array::from(vec![11, 12, 13])),
        Arc::new(times.with_timezone("UTC")),
        Arc::new(StringArray::from(vec![Some("Ada"), None, Some("Bo")])),
        Arc::new(StringArray::from(vec![Some("Rome"), None, None])),
    ];
    InputBatch { rows: 3, columns }
}

#[test]
fn a_declaration_with_lookups_is_understood() {
    let module = guest("lines");
    let spec = module.spec();
    let [order, user] = spec.lookups.as_slice() else { panic!("two lookups") };
    assert_eq!((order.missing, user.missing), (MissingPolicy::Nulls, MissingPolicy::Hold));
    assert_eq!(spec.references(user), [Reference { lookup: Some(0), column: "user_id" }]);
    let inputs: Vec<String> = spec.inputs().map(|input| input.to_string()).collect();
    assert_eq!(inputs, ["count", "id", "order.placed_at", "order_user.name", "order_user.city"]);
    assert_eq!(spec.targets[0].as_of[0].dimension, "dim_users");
    assert_eq!(
        spec.stateful_reasons(Some(&["id"])),
        [
            "it looks up test.orders as order",
            "it looks up test.users as order_user",
            "target f_lines refers to versions of dim_users",
            "target f_pieces: key column piece is not passed through from the source",
        ]
    );
}

#[test]
fn rows_that_were_found_and_rows_that_were_not_go_in() {
    let module = guest("lines");
    let applied = module.instantiate().unwrap().apply(&batch()).unwrap();
    assert_eq!(applied.errors, []);
    let [lines, pieces] = applied.outputs.as_slice() else { panic!("an output per target") };
    assert_eq!((lines.target, &lines.origin), (0, &vec![0, 1, 2]));
    assert_eq!((pieces.target, &pieces.origin), (1, &vec![0, 0, 2]));

    let [_, _, placed_at, user_key, city, name, date_key] = lines.columns.as_slice() else {
        panic!("columns")
    };
    assert_eq!(placed_at, &batch().columns[2]);
    assert_eq!(city, &batch().columns[4]);
    // Nobody knows the versions yet.
    assert_eq!(user_key.null_count(), 3);
    let names: Vec<_> = name.as_string::<i32>().iter().collect();
    assert_eq!(names, [Some("Ada"), None, Some("Bo")]);
    let days: Vec<_> = date_key.as_primitive::<Int32Type>().iter().collect();
    assert_eq!(days, [Some(19_700_101), None, Some(19_700_102)]);

    assert_eq!(pieces.columns[0].as_primitive::<Int64Type>().values(), &[11, 11, 13]);
    assert_eq!(pieces.columns[1].as_primitive::<Int32Type>().values(), &[0, 1, 0]);
}

#[test]
fn a_null_that_no_missing_row_explains_does_not_reach_the_module() {
    let module = guest("lines");
    let mut input = batch();
    input.columns[0] = Arc::new(Int32Array::from(vec![Some(1), None, Some(1)]));
    let failure = module.instantiate().unwrap().apply(&input).unwrap_err();
    assert!(failure.to_string().contains("column count is declared non-null and has 1 nulls"), "{failure}");
}
