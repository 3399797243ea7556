//! What is refused, what is a warning, and what is let through.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampMillisecondArray};
use arrow::datatypes::{DataType as Arrow, TimeUnit};

use super::*;
use crate::change::testing::{Event, change_batch};
use crate::change::{ChangeBatch, Op, Wire, row_field};
use crate::data_type::DataType;
use crate::spec::{ColumnSource, InputColumn, Options, Spec, Target, TargetColumn, TargetKind};
use crate::table::SourceTable;

fn connector(settings: &[(&str, &str)]) -> Vec<(Severity, String)> {
    let config: BTreeMap<String, String> =
        settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    let findings = judge_connector("shop", &config);
    for finding in &findings {
        assert!(finding.place.starts_with("connector shop, ") && !finding.remedy.is_empty(), "{finding}");
    }
    let setting = |finding: Finding| (finding.severity, finding.place["connector shop, ".len()..].to_owned());
    findings.into_iter().map(setting).collect()
}

fn found(severity: Severity, settings: &[&str]) -> Vec<(Severity, String)> {
    settings.iter().map(|setting| (severity, (*setting).to_owned())).collect()
}

const GOOD: [(&str, &str); 3] = [
    ("skipped.operations", "none"),
    ("value.converter", "org.apache.kafka.connect.json.JsonConverter"),
    ("value.converter.replace.null.with.default", "false"),
];

#[test]
fn a_connector_that_loses_nothing_is_let_through() {
    assert_eq!(connector(&GOOD), []);
    assert_eq!(connector(&[("skipped.operations", "none"), ("time.precision.mode", "adaptive")]), []);
}

#[test]
fn what_a_connector_loses_is_told_with_its_setting() {
    use Severity::{Refused, Warning};
    let with = |more: &[(&str, &str)]| connector(&[&GOOD[..], more].concat());
    assert_eq!(with(&[("time.precision.mode", "connect")]), found(Refused, &["time.precision.mode"]));
    assert_eq!(with(&[("decimal.handling.mode", "double")]), found(Refused, &["decimal.handling.mode"]));
    assert_eq!(with(&[("skipped.operations", "t")]), found(Warning, &["skipped.operations"]));
    assert_eq!(with(&[("skipped.operations", "t, d")]), found(Refused, &["skipped.operations"]));
    assert_eq!(with(&[("message.key.columns", "a.b:c")]), found(Warning, &["message.key.columns"]));
    // Its default is to skip truncates.
    assert_eq!(connector(&[]), found(Warning, &["skipped.operations"]));
    assert_eq!(
        connector(&[GOOD[0], GOOD[1]]),
        found(Warning, &["value.converter.replace.null.with.default"])
    );
}

#[test]
fn a_flattened_row_needs_what_the_envelope_had() {
    let with = |more: &[(&str, &str)]| {
        let flatten = [
            ("transforms", "other, unwrap"),
            ("transforms.other.type", "org.example.Other"),
            ("transforms.unwrap.type", "io.debezium.transforms.ExtractNewRecordState"),
        ];
        connector(&[&GOOD[..], &flatten, more].concat())
    };
    let (deletes, fields) =
        ("transforms.unwrap.delete.tombstone.handling.mode", "transforms.unwrap.add.fields");
    assert_eq!(with(&[]), [(Severity::Refused, deletes.to_owned()), (Severity::Warning, fields.to_owned())]);
    assert_eq!(with(&[(deletes, "rewrite"), (fields, "op,source.ts_ms,lsn")]), []);
    let older = "transforms.unwrap.delete.handling.mode";
    assert_eq!(with(&[(older, "rewrite"), (fields, "op,ts_ms")]), found(Severity::Warning, &[fields]));
}

fn input(name: &str, data_type: DataType) -> InputColumn {
    InputColumn { name: name.into(), data_type, nullable: true, read: true, options: Options::new() }
}

/// Passes `id` on as its key, and asks for `columns`.
fn spec(columns: Vec<InputColumn>) -> Spec {
    let mut own = vec![InputColumn { nullable: false, ..input("id", DataType::Int64) }];
    own.extend(columns);
    let key = TargetColumn {
        name: "id".into(),
        data_type: DataType::Int64,
        nullable: false,
        source: ColumnSource::Input(0),
        tracked: false,
        options: Options::new(),
    };
    let target = Target {
        table: "f_orders".into(),
        kind: TargetKind::Latest,
        columns: vec![key],
        key: vec!["id".into()],
        as_of: Vec::new(),
        options: Options::new(),
    };
    Spec {
        name: "f_orders".into(),
        version: "1".into(),
        source: SourceTable::new("shop", "orders"),
        columns: own,
        lookups: Vec::new(),
        targets: vec![target],
        options: Options::new(),
    }
}

/// One update of order 1 with a column `value`.
fn update(key: &[&str], value: ArrayRef, connect: Option<&str>, change: impl Fn(&mut Event)) -> ChangeBatch {
    let mut event = Event::new(Op::Update, 7);
    change(&mut event);
    let columns = vec![
        (row_field("id", Arrow::Int64, Wire::Typed, None), Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        (row_field("value", value.data_type().clone(), Wire::Typed, connect), value),
    ];
    let table = SourceTable::new("shop", "orders");
    change_batch(&table, key, columns, ("cdc.shop.orders", 0), &[event])
}

fn text() -> ArrayRef {
    Arc::new(StringArray::from(vec!["x"]))
}

fn check(spec: &Spec, batch: ChangeBatch, severity: Option<Severity>, words: &str) {
    let findings = judge_events(&[spec], &[batch]);
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(findings.len(), usize::from(severity.is_some()), "{shown:?}");
    if let (Some(finding), Some(severity)) = (findings.first(), severity) {
        assert!(finding.severity == severity && shown[0].contains(words), "{shown:?}");
    }
}

#[test]
fn the_first_events_are_held_against_what_is_asked() {
    use Severity::{Refused, Warning};
    let asks_text = spec(vec![input("value", DataType::Text)]);
    let plain = |_: &mut Event| {};
    check(&asks_text, update(&["id"], text(), None, plain), None, "");
    check(&asks_text, update(&[], text(), None, plain), Some(Refused), "give it a primary key");
    let mut keeps = spec(vec![]);
    keeps.targets[0].kind = TargetKind::Append;
    keeps.targets[0].options = [("ops".to_owned(), "c, u".to_owned())].into();
    let of_changes = update(&[], text(), None, plain);
    check(&keeps, of_changes, Some(Warning), "no key: one that is sent again stands twice");
    // The key is more than what the target passes on.
    check(&asks_text, update(&["id", "value"], text(), None, plain), Some(Refused), "whole primary key");

    let unsent = |event: &mut Event| event.unavailable = vec!["value".to_owned()];
    check(&asks_text, update(&["id"], text(), None, unsent), Some(Warning), "REPLICA IDENTITY FULL");
    check(&spec(vec![]), update(&["id"], text(), None, unsent), None, "");

    let bare = |event: &mut Event| (event.lsn, event.ts_us) = (None, None);
    check(&asks_text, update(&["id"], text(), None, bare), Some(Warning), "no commit times and no LSNs");

    let times: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![1]));
    assert_eq!(times.data_type(), &Arrow::Timestamp(TimeUnit::Millisecond, None));
    let connect = Some("org.apache.kafka.connect.data.Timestamp");
    let asks_time = spec(vec![input("value", DataType::Timestamp)]);
    check(&asks_time, update(&["id"], times, connect, plain), Some(Refused), "microseconds are lost");

    let floats: ArrayRef = Arc::new(Float64Array::from(vec![0.1]));
    let asks_decimal = spec(vec![input("value", DataType::Decimal { precision: 12, scale: 2 })]);
    check(&asks_decimal, update(&["id"], floats, None, plain), Some(Refused), "value");

    let asks_before = spec(vec![input("_before.value", DataType::Text)]);
    check(&asks_before, update(&["id"], text(), None, plain), Some(Warning), "before-images");
}

#[test]
fn what_keeps_changes_needs_to_tell_them_apart() {
    let mut keeps = spec(vec![input("value", DataType::Text)]);
    keeps.targets[0].kind = TargetKind::Append;
    let sent = || update(&["id"], text(), None, |_| {});
    check(&keeps, sent(), Some(Severity::Warning), "leave d out of the ops");
    keeps.targets[0].options.insert("ops".into(), "c,u".into());
    check(&keeps, sent(), None, "");
    let findings = judge_events(&[&keeps], &[update(&["id"], text(), None, |event| event.lsn = None)]);
    let shown: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert!(shown.iter().any(|finding| finding.contains("one that is sent again stands twice")), "{shown:?}");
}

#[test]
fn tables_that_nobody_asks_for_are_none_of_our_business() {
    let other = Spec { source: SourceTable::new("shop", "other"), ..spec(vec![]) };
    check(&other, update(&[], text(), None, |_| {}), None, "");
}
