mod as_of;
mod history;
mod lookups;

use super::*;

fn column(name: &str, data_type: DataType) -> TargetColumn {
    let (name, source, options) = (name.to_owned(), ColumnSource::Input(0), Options::new());
    TargetColumn { name, data_type, nullable: false, source, tracked: false, options }
}

fn input(name: &str, data_type: DataType) -> InputColumn {
    InputColumn { name: name.into(), data_type, nullable: false, read: true, options: Options::new() }
}

/// The one fault has all of `expected` in it.
#[track_caller]
fn assert_fault(spec: &Spec, expected: &[&str]) {
    let faults = spec.validate().err().map(|error| error.faults).unwrap_or_default();
    let [fault] = faults.as_slice() else { panic!("{faults:#?}") };
    assert!(expected.iter().all(|part| fault.contains(part)), "{fault}");
}

/// A target with key `id`, and the faults that `edit` brings about.
fn faults(edit: impl FnOnce(&mut Target)) -> Vec<String> {
    spec(edit).validate().err().map(|error| error.faults).unwrap_or_default()
}

fn spec(edit: impl FnOnce(&mut Target)) -> Spec {
    let input = input("id", DataType::Int64);
    let mut target = Target {
        table: "f".into(),
        kind: TargetKind::Latest,
        columns: vec![
            column("id", DataType::Int64),
            TargetColumn { source: ColumnSource::Computed, ..column("day", DataType::Date) },
            TargetColumn { source: ColumnSource::Computed, ..column("status", DataType::Text) },
        ],
        key: vec!["id".into()],
        as_of: Vec::new(),
        options: Options::new(),
    };
    edit(&mut target);
    Spec {
        name: "t".into(),
        version: "1".into(),
        source: "shop.orders".parse().unwrap(),
        columns: vec![input],
        lookups: Vec::new(),
        targets: vec![target],
        options: Options::new(),
    }
}

#[track_caller]
fn check_target_option(name: &str, good: &[&str], bad: &[&str]) {
    let with = |value: &str| faults(|target| drop(target.options.insert(name.into(), value.into())));
    for value in good {
        assert_eq!(with(value), [""; 0], "{name} = {value:?}");
    }
    for value in bad {
        assert!(!with(value).is_empty(), "{name} = {value:?} passes");
    }
}

#[track_caller]
fn check_column_option(name: &str, good: &[&str], bad: &[&str]) {
    let with =
        |value: &str| faults(|target| drop(target.columns[2].options.insert(name.into(), value.into())));
    for value in good {
        assert_eq!(with(value), [""; 0], "{name} = {value:?}");
    }
    for value in bad {
        assert!(!with(value).is_empty(), "{name} = {value:?} passes");
    }
}

#[test]
fn options_that_become_sql_have_a_narrow_grammar() {
    check_target_option(
        "order",
        &["id", "day, id"],
        &["", "day", "id, id", "id, nope", "id) ENGINE = Log --"],
    );
    check_target_option(
        "partition",
        &["id", "id % 8", "intHash64(id) % 16", "toYYYYMM( id )"],
        &["", "day", "toYYYYMM(day)", "rand()", "id % 0", "id % x", "now()", "id) ORDER BY (id"],
    );
    check_target_option(
        "ttl",
        &["day + INTERVAL 2 YEAR", "day + interval 30 day"],
        &["day", "id + INTERVAL 1 DAY", "day + INTERVAL 1 DAY TO VOLUME 'x'", "now() + INTERVAL 1 DAY"],
    );
    check_target_option("index", &[], &["id"]);
    check_column_option("codec", &["ZSTD(1)", "Delta, LZ4"], &["", "LZ4)", "ZSTD((1))", "LZ4; DROP", "LZ4'"]);
    check_column_option("low-cardinality", &["true", "false"], &["yes"]);
    check_column_option("enum", &["a", "a, b,c'd"], &["", "a,a", "a,,b"]);
    assert!(!faults(|target| drop(target.columns[0].options.insert("enum".into(), "a".into()))).is_empty());
}

#[test]
fn names_of_dabis_own_tables_are_refused() {
    for name in ["_dabi_epochs", "_f", "f__g1", "1f", "f-g"] {
        assert_eq!(faults(|target| target.table = name.into()).len(), 1, "{name}");
    }
    for name in ["f__g", "f__gx", "f_g1"] {
        assert_eq!(faults(|target| target.table = name.into()), [""; 0], "{name}");
    }
}

#[test]
fn sorting_by_more_than_the_key_needs_row_state() {
    let order = |order: &str| {
        let spec = spec(|target| drop(target.options.insert("order".into(), order.into())));
        spec.stateful_reasons(Some(&["id"]))
    };
    assert_eq!(order("id"), [""; 0]);
    assert_eq!(order("day, id"), ["target f is sorted by day, beside its key"]);
}
