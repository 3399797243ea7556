use arrow::array::Array;
use arrow::datatypes::Date32Type;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::*;

fn span(from: &str, to: &str) -> Span {
    Span::parse(from, to).unwrap()
}

/// The row of one day, as text.
fn row(batch: &ChangeBatch, row: usize) -> Vec<String> {
    let text = |column: &ArrayRef| {
        ArrayFormatter::try_new(column, &FormatOptions::default()).unwrap().value(row).to_string()
    };
    batch.row_columns().iter().map(text).collect()
}

#[test]
fn a_day_says_what_it_is() {
    let batch = span("2024-12-29", "2025-01-01").changes_from(None).unwrap();
    assert_eq!(
        column_names(),
        batch.row_fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>()
    );
    let sunday = ["2024-12-29", "2024", "4", "12", "29", "364", "2024", "52", "7", "December", "Sunday"];
    assert_eq!(row(&batch, 0), sunday);
    // The first ISO week of 2025 begins in 2024.
    let tuesday = ["2024-12-31", "2024", "4", "12", "31", "366", "2025", "1", "2", "December", "Tuesday"];
    assert_eq!(row(&batch, 2), tuesday);
    assert_eq!(batch.num_rows(), 4);
}

#[test]
fn every_day_of_every_span_is_there_once() {
    let whole = span("1900-01-01", "2299-12-31").changes_from(None).unwrap();
    let days = whole.row_columns()[0].as_primitive::<Date32Type>();
    assert_eq!(days.len(), 146_097);
    assert!(days.values().windows(2).all(|pair| pair[0] + 1 == pair[1]));
    assert!(whole.row_columns().iter().all(|column| column.null_count() == 0));
    assert!(whole.ops().all(|op| op == Op::Read));
    assert_eq!(whole.key(), [0]);
    assert_eq!((whole.span().from.0, whole.span().to.0), (0, 146_097));
    assert_eq!(span("2024-02-29", "2024-02-29").changes_from(None).unwrap().num_rows(), 1);
    assert_eq!(Span::default().to_string(), "2000-01-01 to 2049-12-31");
}

#[test]
fn of_another_span_only_what_differs_changes() {
    let before = span("2024-02-27", "2024-03-01");
    let changes = |after: Span| -> Vec<String> {
        let Some(batch) = after.changes_from(Some(before)) else { return Vec::new() };
        let days = |at| row(&batch, at)[0].clone();
        batch.ops().enumerate().map(|(at, op)| format!("{} {}", op.letter(), days(at))).collect()
    };
    assert_eq!(changes(before), [""; 0]);
    assert_eq!(changes(span("2024-02-29", "2024-03-02")), ["d 2024-02-27", "d 2024-02-28", "r 2024-03-02"]);
    // What lies between them is of neither.
    let apart = changes(span("2024-01-01", "2024-01-01"));
    assert_eq!((apart.len(), apart[0].as_str(), apart[1].as_str()), (5, "r 2024-01-01", "d 2024-02-27"));
}

#[test]
fn a_span_is_stored_as_it_is_set() {
    let stored = serde_json::to_string(&span("2024-02-29", "2024-03-01")).unwrap();
    assert_eq!(stored, r#"{"from":"2024-02-29","to":"2024-03-01"}"#);
    assert_eq!(serde_json::from_str::<Span>(&stored).unwrap(), span("2024-02-29", "2024-03-01"));
}

#[test]
fn what_is_no_span_is_refused_by_name() {
    for (from, to, expected) in [
        ("2024-02-30", "2025-01-01", "\"2024-02-30\" is not a day"),
        ("2024-01-01", "2300-01-01", "\"2300-01-01\" is not a day"),
        ("1899-12-31", "2000-01-01", "\"1899-12-31\" is not a day"),
        ("2024-01-02", "2024-01-01", "ends on 2024-01-01, before it begins on 2024-01-02"),
    ] {
        let error = Span::parse(from, to).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
