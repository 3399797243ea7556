use super::*;

/// Facts `f` that refer to the version of a day's `dim` in column `dim_key`.
fn facts(edit: impl FnOnce(&mut Target)) -> Spec {
    spec(|target| {
        let computed = |name: &str, data_type| TargetColumn {
            source: ColumnSource::Computed,
            ..super::column(name, data_type)
        };
        target.columns.push(computed("at", DataType::TimestampTz));
        target.columns.push(TargetColumn {
            source: ColumnSource::AsOf(0),
            ..super::column("dim_key", DataType::Uint64)
        });
        target.as_of.push(AsOf {
            dimension: "dim".into(),
            key: vec!["id".into()],
            at: "at".into(),
            missing: MissingPolicy::Hold,
        });
        edit(target);
    })
}

fn dimension(edit: impl FnOnce(&mut Target)) -> Spec {
    let mut spec = spec(|target| {
        (target.table, target.kind) = ("dim".into(), TargetKind::Scd2);
        edit(target);
    });
    spec.name = "dim".into();
    spec
}

/// The fault of `facts` beside `dimension`.
#[track_caller]
fn assert_fault_beside(facts: &Spec, dimension: &Spec, expected: &str) {
    let faults = facts.validate_references(&[facts, dimension]).unwrap_err().to_string();
    assert!(faults.contains(expected), "{faults}");
}

#[test]
fn a_reference_fills_one_column_of_version_keys() {
    let refused = |edit: fn(&mut Target), expected: &[&str]| assert_fault(&facts(edit), expected);
    assert_eq!(facts(|_| {}).validate(), Ok(()));
    assert_eq!(
        facts(|f| (f.columns[4].nullable, f.as_of[0].missing) = (true, MissingPolicy::Nulls)).validate(),
        Ok(())
    );
    refused(
        |f| f.columns[4].data_type = DataType::Int64,
        &["dim_key, which is int64; a version key is a uint64"],
    );
    refused(|f| f.columns[4].nullable = true, &["fills dim_key: it may be null if, and only if"]);
    refused(
        |f| f.as_of[0].missing = MissingPolicy::Nulls,
        &["fills dim_key: it may be null if, and only if"],
    );
    refused(|f| f.columns[4].source = ColumnSource::Computed, &["reference to dim fills no column"]);
    refused(
        |f| {
            let second = TargetColumn { name: "again".into(), ..f.columns[4].clone() };
            f.columns.push(second);
        },
        &["reference to dim fills a second column, again"],
    );
}

#[test]
fn a_reference_names_columns_that_are_known_before() {
    let refused = |edit: fn(&mut Target), expected: &[&str]| assert_fault(&facts(edit), expected);
    refused(
        |f| f.as_of[0].key = vec!["nope".into()],
        &["reference to dim names nope, which is not a column"],
    );
    refused(|f| f.as_of[0].key = vec!["dim_key".into()], &["names dim_key, which is filled by a reference"]);
    refused(|f| f.as_of[0].key = vec![], &["reference to dim has no key"]);
    refused(|f| f.as_of[0].at = "day".into(), &["is at day, which is date, not a time"]);
    refused(|f| f.key.push("dim_key".into()), &["fills dim_key, a key column"]);
    refused(
        |f| f.columns[2].source = ColumnSource::AsOf(1),
        &["status is filled by reference 1, but there are 1"],
    );
}

#[test]
fn a_dimension_refers_to_none_itself() {
    assert_fault(&facts(|f| f.kind = TargetKind::Scd2), &["keeps versions itself"]);
}

#[test]
fn a_reference_is_held_against_its_dimension() {
    let facts = facts(|_| {});
    let dim = dimension(|_| {});
    assert_eq!(dim.validate(), Ok(()));
    assert_eq!(facts.validate_references(&[&facts, &dim]), Ok(()));
    assert_eq!(dim.validate_references(&[&facts, &dim]), Ok(()));
    let absent = dimension(|target| target.table = "other".into());
    assert_fault_beside(&facts, &absent, "target f refers to dim, which no transform fills");
    let latest = dimension(|target| target.kind = TargetKind::Latest);
    assert_fault_beside(&facts, &latest, "which keeps no versions");
    let narrow = dimension(|target| target.columns[0].data_type = DataType::Int32);
    assert_fault_beside(&facts, &narrow, "by id, which is int64, but its key column id is int32");
    let wide = dimension(|target| target.key.push("status".into()));
    assert_fault_beside(&facts, &wide, "by (id), but its key is (id, status)");
}

#[test]
fn a_reference_needs_row_state() {
    assert_eq!(facts(|_| {}).stateful_reasons(Some(&["id"])), ["target f refers to versions of dim"]);
}
