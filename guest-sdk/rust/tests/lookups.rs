//! Rows beside a row, and rows of several tables out of one.

use dabi_sdk::bindings::types::{
    Batch, Column, ColumnData, ColumnSource, InputColumn, MissingPolicy, Spec, Target, TargetKind, Values,
    VarBytes,
};
use dabi_sdk::prelude::*;
use dabi_sdk::row;

#[derive(SourceRow)]
#[source(table = "shop.users", key = "id")]
struct User<'a> {
    country: Option<&'a str>,
}

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order<'a> {
    ordered_at: TimestampTz,
    #[lookup(on = "user_id", missing = "reject")]
    user: User<'a>,
}

#[derive(SourceRow)]
#[source(table = "shop.stock", key = "warehouse_id, product_id")]
struct Stock;

#[derive(SourceRow)]
#[source(table = "shop.lines")]
struct Line<'a> {
    pieces: i32,
    #[lookup(on = "order_id")]
    order: Option<Order<'a>>,
    #[lookup(on = "warehouse_id, product_id")]
    stock: Stock,
}

#[derive(StarRow)]
#[star(table = "f_lines")]
struct FLine<'a> {
    #[key]
    id: Passed<i64>,
    #[column(from = "stock.shelf")]
    shelf: Passed<String>,
    #[column(from = "order.ordered_at")]
    ordered_at: Passed<Option<TimestampTz>>,
    #[column(from = "order.user.name")]
    user_name: Passed<Option<String>>,
    has_order: bool,
    country: Option<&'a str>,
}

#[derive(StarRow)]
#[star(table = "f_pieces")]
struct FPiece {
    #[key]
    id: Passed<i64>,
    #[key]
    piece: i32,
    #[column(from = "order.user.name")]
    user_name: Passed<Option<String>>,
}

type Rows<'a> = (FLine<'a>, Vec<FPiece>);

#[dabi_sdk::transform]
fn lines<'a>(line: Line<'a>) -> Result<Option<Rows<'a>>, RowError> {
    if line.pieces < 0 {
        return Err(RowError::new("negative", "fewer than no pieces"));
    }
    if line.pieces == 0 {
        return Ok(None);
    }
    let row = FLine {
        id: passed(),
        shelf: passed(),
        ordered_at: passed(),
        user_name: passed(),
        has_order: line.order.is_some(),
        country: line.order.and_then(|order| order.user.country),
    };
    let piece = |piece| FPiece { id: passed(), piece, user_name: passed() };
    Ok(Some((row, (0..line.pieces).map(piece).collect())))
}

fn spec() -> Spec {
    row::describe(lines, "lines", "1")
}

fn inputs(columns: &[InputColumn]) -> Vec<(&str, bool, bool)> {
    columns.iter().map(|column| (column.name.as_str(), column.read, column.nullable)).collect()
}

fn sources(target: &Target) -> Vec<Option<u32>> {
    let source = |column: &dabi_sdk::bindings::types::TargetColumn| match column.source {
        ColumnSource::Input(position) => Some(position),
        ColumnSource::Computed | ColumnSource::AsOf(_) => None,
    };
    target.columns.iter().map(source).collect()
}

#[test]
fn lookups_are_laid_out_from_the_row_outwards() {
    let spec = spec();
    let names = |names: &[String]| names.join(", ");
    let lookups: Vec<_> = spec
        .lookups
        .iter()
        .map(|l| (l.name.as_str(), l.table.as_str(), names(&l.key), names(&l.on), l.missing))
        .collect();
    let both = || "warehouse_id, product_id".to_owned();
    assert_eq!(
        lookups,
        [
            ("order", "shop.orders", "order_id".into(), "order_id".into(), MissingPolicy::Nulls),
            ("order_user", "shop.users", "id".into(), "order.user_id".into(), MissingPolicy::Reject),
            ("stock", "shop.stock", both(), both(), MissingPolicy::Hold),
        ]
    );
    assert_eq!(inputs(&spec.columns), [("pieces", true, false), ("id", false, false)]);
    assert_eq!(inputs(&spec.lookups[0].columns), [("ordered_at", true, false)]);
    assert_eq!(inputs(&spec.lookups[1].columns), [("country", true, true), ("name", false, true)]);
    assert_eq!(inputs(&spec.lookups[2].columns), [("shelf", false, false)]);
}

#[test]
fn passed_columns_count_through_the_lookups_of_all_tables() {
    let spec = spec();
    let [lines, pieces] = spec.targets.as_slice() else { panic!("two targets") };
    assert_eq!(sources(lines), [Some(1), Some(5), Some(2), Some(4), None, None]);
    assert_eq!(sources(pieces), [Some(1), None, Some(4)]);
}

fn column(data: Values, validity: Option<u8>) -> Column {
    Column { data: ColumnData::Scalar(data), validity: validity.map(|bits| vec![bits]) }
}

fn texts(values: &[&str], validity: u8) -> Column {
    let mut bytes = VarBytes { offsets: vec![0], data: Vec::new() };
    for value in values {
        bytes.data.extend_from_slice(value.as_bytes());
        bytes.offsets.push(u32::try_from(bytes.data.len()).expect("a short text"));
    }
    column(Values::VarBytes(bytes), Some(validity))
}

/// Of these lines the second has no order, and the user of the third no country.
fn batch(pieces: [i32; 3]) -> Batch {
    let ordered_at = column(Values::S64s(vec![0, -1, 0]), Some(0b101));
    Batch {
        rows: 3,
        columns: vec![column(Values::S32s(pieces.into()), None), ordered_at, texts(&["it", "", ""], 0b001)],
    }
}

#[test]
fn a_row_that_was_not_found_is_none_and_one_of_nulls_is_not() {
    // SAFETY: the texts of this batch are UTF-8.
    let applied = unsafe { row::apply(lines, &batch([1, 1, 1])) }.unwrap();
    let [has_order, country] = applied.outputs[0].columns.as_slice() else { panic!("two computed columns") };
    assert!(matches!(&has_order.data, ColumnData::Scalar(Values::Bits(bits)) if *bits == [0b101]));
    assert_eq!(country.validity, Some(vec![0b001]));
}

#[test]
fn one_row_gives_rows_of_several_tables_or_of_none() {
    // SAFETY: the texts of this batch are UTF-8.
    let applied = unsafe { row::apply(lines, &batch([2, 0, -1])) }.unwrap();
    let [lines, pieces] = applied.outputs.as_slice() else { panic!("an output per table") };
    assert_eq!((lines.target, pieces.target), (0, 1));
    assert_eq!((lines.origin.as_slice(), pieces.origin.as_slice()), (&[0][..], &[0, 0][..]));
    assert!(matches!(&pieces.columns[0].data, ColumnData::Scalar(Values::S32s(pieces)) if *pieces == [0, 1]));
    let refused: Vec<_> = applied.errors.iter().map(|error| (error.row, error.code.as_str())).collect();
    assert_eq!(refused, [(2, "negative")]);
}

#[test]
fn a_batch_without_the_columns_of_a_lookup_is_refused_whole() {
    let mut batch = batch([1, 1, 1]);
    batch.columns.pop();
    // SAFETY: the texts of this batch are UTF-8.
    let failure = unsafe { row::apply(lines, &batch) }.unwrap_err();
    assert_eq!(failure.message, "column country is not in the batch in the form that was declared");
}

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Change<'a> {
    #[column(name = "_op")]
    op: &'a str,
}

/// One row per change of an order.
#[derive(StarRow)]
#[star(table = "order_changes", kind = "append")]
struct OrderChange {
    #[key]
    order_id: Passed<i64>,
    #[column(from = "_ts")]
    changed_at: Passed<TimestampTz>,
    #[column(from = "_before.status")]
    status_before: Passed<Option<String>>,
    is_new: bool,
}

#[dabi_sdk::transform]
fn order_changes(change: Change) -> [OrderChange; 1] {
    let is_new = matches!(change.op, "c" | "r");
    [OrderChange { order_id: passed(), changed_at: passed(), status_before: passed(), is_new }]
}

#[test]
fn a_change_may_be_asked_for_what_it_was() {
    let spec = row::describe(order_changes, "order_changes", "1");
    assert_eq!(spec.targets[0].kind, TargetKind::Append);
    assert_eq!(
        inputs(&spec.columns),
        [
            ("_op", true, false),
            ("order_id", false, false),
            ("_ts", false, false),
            ("_before.status", false, true)
        ]
    );
    assert!(order_changes(Change { op: "c" })[0].is_new);
}
