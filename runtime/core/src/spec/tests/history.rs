use super::*;
use crate::change::Op;

/// A target of this kind with key `id`, and a lookup `aisle` if it is wanted.
fn of_kind(kind: TargetKind, with_lookup: bool, edit: impl FnOnce(&mut Target)) -> Spec {
    let mut spec = spec(|target| {
        target.kind = kind;
        edit(target);
    });
    if with_lookup {
        spec.lookups.push(Lookup {
            name: "aisle".into(),
            table: "shop.aisles".parse().unwrap(),
            key: vec!["id".into()],
            on: vec!["aisle_id".into()],
            columns: vec![input("aisle", DataType::Text)],
            missing: MissingPolicy::Hold,
        });
    }
    spec
}

fn scd2(edit: impl FnOnce(&mut Target)) -> Spec {
    of_kind(TargetKind::Scd2, true, edit)
}

#[test]
fn a_row_is_identified_by_the_key_and_what_dabi_adds() {
    let identity = |kind| {
        let spec = of_kind(kind, false, |_| {});
        assert_eq!(spec.validate(), Ok(()));
        spec.targets[0].identity().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(identity(TargetKind::Latest), ["id"]);
    assert_eq!(identity(TargetKind::Scd2), ["id", "valid_from"]);
    assert_eq!(identity(TargetKind::Append), ["id", "change_key"]);
}

#[test]
fn what_is_tracked_is_of_the_row_itself() {
    let tracked = |column: usize, source| {
        scd2(|target| {
            target.columns[column].tracked = true;
            target.columns[column].source = source;
        })
    };
    assert_eq!(tracked(2, ColumnSource::Computed).validate(), Ok(()));
    assert_fault(&tracked(0, ColumnSource::Input(0)), &["key column id is tracked"]);
    assert_fault(&tracked(2, ColumnSource::Input(1)), &["status is tracked, but passes on aisle.aisle"]);
    let latest = spec(|target| target.columns[2].tracked = true);
    assert_fault(&latest, &["column status is tracked, which is for scd2 targets"]);
}

#[test]
fn versions_have_the_key_of_the_source_row() {
    let computed = scd2(|target| target.columns[0].source = ColumnSource::Computed);
    assert_fault(&computed, &["its key column id is not passed on", "primary key"]);
    let mut float = scd2(|target| target.columns[0].data_type = DataType::Float64);
    float.columns[0].data_type = DataType::Float64;
    assert_fault(&float, &["key column id is float64", "version keys"]);
}

#[test]
fn names_of_added_columns_are_taken() {
    for (kind, name) in [(TargetKind::Scd2, "is_current"), (TargetKind::Append, "change_key")] {
        let named = |kind| of_kind(kind, false, |target| target.columns[2].name = name.into());
        assert_fault(&named(kind), &[&format!("dabi adds the column {name} itself; rename yours")]);
        assert_eq!(named(TargetKind::Latest).validate(), Ok(()));
    }
}

#[test]
fn changes_are_kept_as_they_were() {
    assert_eq!(of_kind(TargetKind::Append, false, |_| {}).validate(), Ok(()));
    let looking_up = of_kind(TargetKind::Append, true, |_| {});
    assert_fault(&looking_up, &["keeps each change as it was, but lookup aisle shows what changes later"]);
}

#[test]
fn added_columns_may_order_and_partition() {
    let with = |name: &str, value: &str| {
        scd2(|target| drop(target.options.insert(name.into(), value.into()))).validate().is_ok()
    };
    assert!(with("partition", "toYYYYMM(valid_from)") && with("order", "valid_from, id"));
    assert!(with("ttl", "valid_from + INTERVAL 3 YEAR"));
    assert!(!with("partition", "toYYYYMM(valid_to)") && !with("order", "valid_to, id"));
    assert!(!with("ttl", "valid_to + INTERVAL 3 YEAR"));
}

#[test]
fn which_changes_are_kept_can_be_said() {
    let kept = |ops: Option<&str>| {
        let spec = of_kind(TargetKind::Append, false, |target| {
            target.options.extend(ops.map(|ops| ("ops".to_owned(), ops.to_owned())));
        });
        let letters = Op::ALL.into_iter().filter(|op| spec.targets[0].keeps(*op)).map(Op::letter).collect();
        spec.validate().map(|()| letters)
    };
    assert_eq!(kept(None), Ok("cud".to_owned()));
    assert_eq!(kept(Some("r, d")), Ok("dr".to_owned()));
    for none in ["", "c,,u", "c, c", "t", "inserts"] {
        assert!(
            kept(Some(none)).is_err_and(|error| error.to_string().contains("list some of c, u, d and r"))
        );
    }
    let latest = of_kind(TargetKind::Latest, false, |t| drop(t.options.insert("ops".into(), "c".into())));
    assert_fault(&latest, &["option ops says which changes an append target keeps"]);
}

#[test]
fn a_module_that_keeps_changes_is_called_with_every_one_that_is_kept() {
    let called = |spec: &Spec| -> String {
        Op::ALL.into_iter().filter(|op| spec.is_called_for(*op)).map(Op::letter).collect()
    };
    assert_eq!(called(&of_kind(TargetKind::Latest, false, |_| {})), "cur");
    let mut changes = of_kind(TargetKind::Append, false, |_| {});
    assert_eq!(called(&changes), "cud");
    let mut reads = changes.targets[0].clone();
    reads.table = "reads".into();
    reads.options.insert("ops".into(), "r".into());
    changes.targets.push(reads);
    assert_eq!(called(&changes), "cudr");
}

#[test]
fn history_needs_row_state() {
    let reasons = |kind| of_kind(kind, false, |_| {}).stateful_reasons(Some(&["id"]));
    assert_eq!(reasons(TargetKind::Latest), [""; 0]);
    assert_eq!(reasons(TargetKind::Scd2), ["target f keeps every version of a row"]);
}

#[test]
fn changes_alone_need_no_row_state() {
    let mut spec = of_kind(TargetKind::Append, false, |t| {
        drop(t.options.insert("order".into(), "change_key, id".into()));
    });
    assert_eq!(spec.stateful_reasons(Some(&["id", "line"])), [""; 0], "the change is part of the key");
    spec.targets.push(Target { table: "g".into(), kind: TargetKind::Latest, ..spec.targets[0].clone() });
    let reasons = spec.stateful_reasons(None);
    assert_eq!(reasons[0], "target f keeps every change, beside targets that do not");
    let computed = of_kind(TargetKind::Append, false, |t| t.columns[0].source = ColumnSource::Computed);
    assert_eq!(
        computed.stateful_reasons(None),
        ["target f: key column id is not passed through from the source"]
    );
}
