use super::*;

/// Lines with a lookup of their order, and one of its user through it.
fn lines(edit: impl FnOnce(&mut Vec<Lookup>)) -> Spec {
    let lookup = |name: &str, on: &str, key: &str, column: &str| Lookup {
        name: name.into(),
        table: format!("shop.{name}s").parse().unwrap(),
        key: vec![key.into()],
        on: vec![on.into()],
        columns: vec![input(column, DataType::Int64)],
        missing: MissingPolicy::Hold,
    };
    let mut spec = spec(|_| {});
    spec.lookups =
        vec![lookup("order", "order_id", "id", "number"), lookup("user", "order.user_id", "user_id", "rank")];
    edit(&mut spec.lookups);
    spec
}

/// `id` of the target is passed on from input column `position`.
fn passing(mut spec: Spec, position: usize) -> Spec {
    spec.targets[0].columns[0].source = ColumnSource::Input(position);
    spec
}

#[test]
fn a_chain_names_an_earlier_lookup_and_need_not_ask_for_the_column() {
    let spec = lines(|_| {});
    assert_eq!(spec.validate(), Ok(()));
    let references = |lookup: &Lookup| -> Vec<(Option<usize>, String)> {
        spec.references(lookup).into_iter().map(|r| (r.lookup, r.column.to_owned())).collect()
    };
    assert_eq!(references(&spec.lookups[0]), [(None, "order_id".to_owned())]);
    assert_eq!(references(&spec.lookups[1]), [(Some(0), "user_id".to_owned())]);
    // A column of the source may have a point in its name, where no lookup has it.
    let dotted = lines(|lookups| lookups[0].on = vec!["a.b".into()]);
    assert_eq!(dotted.references(&dotted.lookups[0]), [Reference { lookup: None, column: "a.b" }]);
    assert_eq!(dotted.validate(), Ok(()));
}

#[test]
fn what_makes_no_sense_is_refused_by_name() {
    let refused = |edit: fn(&mut Vec<Lookup>), expected: &[&str]| assert_fault(&lines(edit), expected);
    refused(|l| l.swap(0, 1), &["lookup user", "order.user_id", "order does not come before it"]);
    refused(|l| l[0].on = vec!["order.id".into()], &["lookup order", "order does not come before it"]);
    refused(|l| l[0].on = vec!["_op".into()], &["lookup order is found by _op", "column of shop.orders"]);
    refused(|l| l[1].on = vec!["order.".into()], &["lookup user", "names no column"]);
    refused(|l| l[0].on.push("x".into()), &["the key of shop.orders is (id)", "(order_id, x)"]);
    refused(|l| (l[0].on, l[0].key) = (vec![], vec![]), &["lookup order has no key", "shop.orders"]);
    refused(|l| l[1].name = "_user".into(), &["lookup _user", "starts with a letter"]);
    refused(|l| l[1].name = "order.user".into(), &["lookup order.user", "letters, digits and _"]);
    refused(|l| l[0].columns[0].name = "_ts".into(), &["lookup order", "_ts is of a change"]);
    refused(
        |l| {
            let twice = l[0].columns[0].clone();
            l[0].columns.push(twice);
        },
        &["lookup order, column number is declared twice"],
    );
    let two_keys = |l: &mut Vec<Lookup>| {
        l[0].key = vec!["id".into(), "id".into()];
        l[0].on = vec!["a".into(), "b".into()];
    };
    refused(two_keys, &["its key (id, id) names a column twice"]);
    let two_rows = |l: &mut Vec<Lookup>| {
        l[1].key = vec!["id".into(), "rank".into()];
        l[1].on = vec!["order.user_id".into(), "rank".into()];
    };
    refused(two_rows, &["lookup user is found by columns of several rows (order.user_id, rank)"]);
    // Its second fault: no chain can tell which of the two is meant.
    let same = lines(|l| l[1].name = "order".into());
    assert!(same.validate().unwrap_err().to_string().contains("lookup order is declared twice"));
}

#[test]
fn built_in_tables_are_known_with_their_columns() {
    let mut spec = spec(|_| {});
    spec.source = "dabi.weather".parse().unwrap();
    assert_fault(&spec, &["there is no table dabi.weather", "dabi.calendar"]);
    spec.source = "dabi.calendar".parse().unwrap();
    assert_fault(&spec, &["dabi.calendar has no column id; it has date, year"]);
}

#[test]
fn a_row_that_may_be_missing_makes_its_columns_nullable() {
    let nulls = |position: usize| {
        let spec = lines(|lookups| lookups[position].missing = MissingPolicy::Nulls);
        spec.inputs().map(|input| input.can_be_null).collect::<Vec<_>>()
    };
    assert_eq!(lines(|_| {}).inputs().map(|input| input.can_be_null).collect::<Vec<_>>(), [false; 3]);
    // What is found through a row that may be missing may be missing too.
    assert_eq!(nulls(0), [false, true, true]);
    assert_eq!(nulls(1), [false, false, true]);
}

#[test]
fn passed_columns_are_held_against_the_lookup_that_they_are_of() {
    assert_eq!(passing(lines(|_| {}), 2).validate(), Ok(()));
    assert_fault(&passing(lines(|_| {}), 3), &["passes on input column 3, but there are 3"]);
    let text = passing(lines(|l| l[1].columns[0].data_type = DataType::Text), 2);
    assert_fault(&text, &["target f, column id is int64, but passes on user.rank, which is read as text"]);
    let missing = passing(lines(|l| l[0].missing = MissingPolicy::Nulls), 1);
    assert_fault(&missing, &["column id is non-null, but passes on order.number, which may be null"]);
}

#[test]
fn a_lookup_needs_row_state() {
    let reasons = lines(|_| {}).stateful_reasons(Some(&["id"]));
    assert_eq!(reasons, ["it looks up shop.orders as order", "it looks up shop.users as user"]);
}
