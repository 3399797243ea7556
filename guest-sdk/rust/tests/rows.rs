//! What the macros make of two structs and a function.

use dabi_sdk::bindings::types::{
    Batch, Column, ColumnData, ColumnSource, DataType, ListColumn, ScalarType, Spec, Values, VarBytes,
};
use dabi_sdk::prelude::*;
use dabi_sdk::row;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order<'a> {
    note: Option<&'a str>,
    #[column(name = "type")]
    kind: String,
    #[column(unit = "ms")]
    placed_at: TimestampTz,
    tags: Vec<i32>,
}

/// One row per order,
/// as it is now.
///
/// Not part of the comment.
#[derive(StarRow)]
#[star(table = "f_orders", order = "date_key, id")]
struct FOrder<'a> {
    #[key(from = order_id)]
    id: Passed<i64>,
    #[key]
    date_key: i32,
    #[column(from = "placed_at")]
    ordered_at: Passed<TimestampTz>,
    #[column(decimal = "base64", codec = "ZSTD(3)")]
    total: Passed<Option<Decimal<12, 2>>>,
    /// What the customer wrote.
    #[column(low_cardinality)]
    note: Option<&'a str>,
    tags: Option<Vec<Option<i32>>>,
}

#[dabi_sdk::transform]
fn orders<'a>(order: Order<'a>) -> Result<Option<FOrder<'a>>, RowError> {
    match order.kind.as_str() {
        "draft" => return Ok(None),
        "bad" => return Err(RowError::new("bad-kind", "no such kind")),
        _ => {}
    }
    Ok(Some(FOrder {
        id: passed(),
        date_key: order.placed_at.date().key().ok_or_else(|| RowError::new("no-day", "it has no day"))?,
        ordered_at: passed(),
        total: passed(),
        note: order.note,
        tags: (!order.tags.is_empty()).then(|| order.tags.into_iter().map(Some).chain([None]).collect()),
    }))
}

fn spec() -> Spec {
    row::describe(orders, "orders", "1.0.0")
}

fn texts(values: &[&str]) -> ColumnData {
    let mut bytes = VarBytes { offsets: vec![0], data: Vec::new() };
    for value in values {
        bytes.data.extend_from_slice(value.as_bytes());
        bytes.offsets.push(u32::try_from(bytes.data.len()).expect("a short text"));
    }
    ColumnData::Scalar(Values::VarBytes(bytes))
}

fn batch() -> Batch {
    let day = 86_400_000_000;
    let tags = ListColumn {
        offsets: vec![0, 2, 2, 2, 3],
        elements: Values::S32s(vec![7, 8, 0]),
        validity: Some(vec![0b011]),
    };
    let column = |data| Column { data, validity: None };
    Batch {
        rows: 4,
        columns: vec![
            Column { data: texts(&["hé", "", "x", ""]), validity: Some(vec![0b0111]) },
            column(texts(&["sale", "draft", "bad", "sale"])),
            column(ColumnData::Scalar(Values::S64s(vec![0, day, day, day]))),
            column(ColumnData::ListOf(tags)),
        ],
    }
}

#[test]
fn the_declaration_names_what_is_read_and_what_is_only_passed_on() {
    let spec = spec();
    let inputs: Vec<_> = spec.columns.iter().map(|c| (c.name.as_str(), c.read, c.nullable)).collect();
    assert_eq!(
        inputs,
        [
            ("note", true, true),
            ("type", true, false),
            ("placed_at", true, false),
            ("tags", true, false),
            ("order_id", false, false),
            ("total", false, true),
        ]
    );
    assert_eq!(spec.columns[2].options, [("unit".to_owned(), "ms".to_owned())]);
    assert_eq!(spec.columns[5].options, [("decimal".to_owned(), "base64".to_owned())]);
    assert!(matches!(spec.columns[3].type_, DataType::ListOf(ScalarType::Int32)));
    assert_eq!(spec.source, "shop.orders");

    let target = &spec.targets[0];
    assert_eq!(target.key, ["id", "date_key"]);
    let sources: Vec<_> = target
        .columns
        .iter()
        .map(|column| match column.source {
            ColumnSource::Computed | ColumnSource::AsOf(_) => None,
            ColumnSource::Input(position) => Some(position),
        })
        .collect();
    assert_eq!(sources, [Some(4), None, Some(2), Some(5), None, None]);
}

#[test]
fn doc_comments_and_attributes_become_options() {
    let spec = spec();
    let target = &spec.targets[0];
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        target.options,
        [option("order", "date_key, id"), option("comment", "One row per order, as it is now.")]
    );
    assert_eq!(target.columns[3].options, [option("codec", "ZSTD(3)")]);
    assert_eq!(
        target.columns[4].options,
        [option("low-cardinality", "true"), option("comment", "What the customer wrote.")]
    );
}

#[test]
fn rows_are_kept_left_out_and_refused() {
    // SAFETY: the texts of this batch are UTF-8.
    let applied = unsafe { row::apply(orders, &batch()) }.unwrap();
    let errors: Vec<_> = applied.errors.iter().map(|error| (error.row, error.code.as_str())).collect();
    assert_eq!(errors, [(2, "bad-kind"), (3, "null-element")]);

    let output = &applied.outputs[0];
    assert_eq!(output.origin, [0]);
    let [date_key, note, tags] = output.columns.as_slice() else { panic!("three computed columns") };
    assert!(matches!(&date_key.data, ColumnData::Scalar(Values::S32s(keys)) if *keys == [19_700_101]));
    let ColumnData::Scalar(Values::VarBytes(note)) = &note.data else { panic!("text") };
    assert_eq!((note.offsets.as_slice(), note.data.as_slice()), ([0, 3].as_slice(), "hé".as_bytes()));
    let ColumnData::ListOf(list) = &tags.data else { panic!("list") };
    assert_eq!(
        (list.offsets.as_slice(), list.validity.as_deref()),
        ([0, 3].as_slice(), Some([0b011].as_slice()))
    );
}

#[test]
fn a_batch_of_another_shape_is_refused_whole() {
    let mut batch = batch();
    batch.columns[2].data = ColumnData::Scalar(Values::S32s(vec![0; 4]));
    // SAFETY: the texts of this batch are UTF-8.
    let failure = unsafe { row::apply(orders, &batch) }.unwrap_err();
    assert_eq!(failure.message, "column placed_at is not in the batch in the form that was declared");
}
