use proptest::prelude::*;

use super::*;
use crate::fold::Truncate;
use crate::position::{Offset, Topic};

/// Of one topic, by partition.
fn position(partitions: &[(i32, i64)]) -> Position {
    let mut position = Position::default();
    for (partition, next) in partitions {
        position.set(&Topic::from("t"), *partition, Offset(*next));
    }
    position
}

/// What the star says of itself, with the module of each transform.
fn record(partitions: &[(i32, i64)], modules: &[(&str, &str)]) -> EpochRecord {
    let named = |(name, module): &(&str, &str)| ((*name).to_owned(), (*module).to_owned());
    EpochRecord {
        position: position(partitions),
        epoch: Epoch(5),
        modules: modules.iter().map(named).collect(),
        truncates: BTreeMap::from([("shop.orders".to_owned(), truncates())]),
        open_work: vec!["dependents of 3 changed rows".to_owned()],
        ..taken_over(Term(3), None)
    }
}

/// The record by which an owner takes over who goes on with no transform.
fn taken_over(term: Term, last: Option<&EpochRecord>) -> EpochRecord {
    let start = StatelessStart { position: Position::default(), transforms: Vec::new() };
    EpochRecord::takeover("shop", term, last, &start, &[])
}

fn truncates() -> Truncates {
    let at = Truncate { lsn: Some(7), ts_us: Some(70) };
    serde_json::from_value(serde_json::json!({ "known": [at] })).expect("as it is stored")
}

fn running<'a>(source: &'a SourceTable, modules: &[(&'a str, &'a str)]) -> Vec<Running<'a>> {
    modules.iter().map(|(name, module)| Running { name, module, source }).collect()
}

#[test]
fn a_takeover_says_what_was_said_last_and_claims_nothing_else() {
    let last = record(&[(0, 9)], &[("orders", "a")]);
    let taken = taken_over(Term(4), Some(&last));
    assert!(taken.version() > last.version(), "an older owner's next record is not believed");
    assert_eq!(taken, EpochRecord { term: Term(4), epoch: Epoch(0), ..last });
    let first = taken_over(Term(1), None);
    assert_eq!((first.version(), first.position), (Version::new(Term(1), Epoch(0)), Position::default()));
    assert!(first.modules.is_empty() && first.truncates.is_empty() && first.open_work.is_empty());
}

/// Until all of them are through, its rows stand above later ones.
#[test]
fn a_takeover_names_no_module_that_is_given_events_from_before() {
    let source = SourceTable::new("shop", "orders");
    let names = |module, star: &[(i32, i64)]| {
        let last = record(star, &[("orders", "a")]);
        let running = running(&source, &[("orders", module)]);
        let start = stateless(Some(&last), &position(&[(0, 5)]), &running);
        let taken = EpochRecord::takeover("shop", Term(4), Some(&last), &start, &running);
        assert_eq!((taken.version(), &taken.position), (Version::new(Term(4), Epoch(0)), &last.position));
        taken.modules.contains_key("orders")
    };
    assert!(names("a", &[(0, 9)]));
    assert!(!names("b", &[(0, 9)]));
    assert!(!names("a", &[]), "the lake has a partition that the star lacks");
}

/// A star, a lake, the modules that run now: where the star goes on, and which of
/// them (by their place) are brought up from the lake.
#[test]
fn transforms_without_row_state_go_on_or_are_brought_up_from_the_lake() {
    type Places = [(i32, i64)];
    type Case<'a> =
        (&'a str, Option<&'a Places>, &'a Places, &'a [(&'a str, &'a str)], &'a Places, &'a [usize]);
    let nothing: &Places = &[];
    let cases: [Case<'_>; 11] = [
        ("a first start", None, nothing, &[("orders", "a")], nothing, &[0]),
        ("a new warehouse", None, &[(0, 5), (1, 6)], &[("orders", "a")], &[(0, 5), (1, 6)], &[0]),
        ("as it was", Some(&[(0, 9)]), &[(0, 5)], &[("orders", "a")], &[(0, 9)], &[]),
        (
            "as it was, before the lake's first commit",
            Some(&[(0, 9)]),
            nothing,
            &[("orders", "a")],
            &[(0, 9)],
            &[],
        ),
        ("another module", Some(&[(0, 4)]), &[(0, 5)], &[("orders", "b")], &[(0, 4)], &[0]),
        (
            "another, before the lake has caught up",
            Some(&[(0, 9)]),
            &[(0, 5)],
            &[("orders", "b")],
            &[(0, 5)],
            &[0],
        ),
        (
            "another, before the lake's first commit",
            Some(&[(0, 9)]),
            nothing,
            &[("orders", "b")],
            nothing,
            &[0],
        ),
        ("one is new", Some(&[(0, 9)]), &[(0, 5)], &[("orders", "a"), ("parcels", "a")], &[(0, 5)], &[1]),
        (
            "a partition that the star lacks",
            Some(&[(0, 9)]),
            &[(0, 5), (1, 2)],
            &[("orders", "a")],
            &[(0, 5), (1, 2)],
            &[0],
        ),
        (
            "a partition that the lake lacks",
            Some(&[(0, 4), (1, 2)]),
            &[(0, 5)],
            &[("orders", "b")],
            &[(0, 4)],
            &[0],
        ),
        ("none", Some(&[(0, 9)]), &[(0, 5)], &[], &[(0, 9)], &[]),
    ];
    let source = SourceTable::new("shop", "orders");
    for (case, star, lake, modules, expected, replayed) in cases {
        let record = star.map(|star| record(star, &[("orders", "a")]));
        let start = stateless(record.as_ref(), &position(lake), &running(&source, modules));
        assert_eq!(start.position, position(expected), "{case}");
        let bring_up = |index| match replayed.contains(&index) {
            true => BringUp::Replay,
            false => BringUp::GoOn(truncates()),
        };
        assert_eq!(start.transforms, (0..modules.len()).map(bring_up).collect::<Vec<_>>(), "{case}");
    }
}

#[test]
fn truncates_of_another_table_are_not_taken_over() {
    let source = SourceTable::new("shop", "parcels");
    let record = record(&[(0, 9)], &[("parcels", "a")]);
    let start = stateless(Some(&record), &position(&[(0, 5)]), &running(&source, &[("parcels", "a")]));
    assert_eq!(start.transforms, [BringUp::GoOn(Truncates::default())]);
}

#[test]
fn row_state_is_distrusted_where_the_star_says_more_or_nothing() {
    let record = |partitions: &[(i32, i64)]| record(partitions, &[]);
    let taken_over = |last: &EpochRecord| taken_over(Term(4), Some(last));
    let nothing = record(&[]);
    let cases = [
        (&[(0, 9)][..], None, Some("the warehouse does not know this pipeline")),
        (&[(0, 9)], Some(taken_over(&nothing)), Some("the warehouse has nothing of this pipeline")),
        // An epoch without a position is one: its rows are there.
        (&[(0, 9)], Some(nothing), None),
        (&[(0, 9)], Some(record(&[(0, 9)])), None),
        (&[(0, 9)], Some(taken_over(&record(&[(0, 9)]))), None),
        (&[(0, 9), (1, 1)], Some(record(&[(0, 8)])), None),
        (&[(0, 9)], Some(record(&[(0, 10)])), Some("it is older than what the warehouse has")),
        (&[(0, 9)], Some(record(&[(1, 1)])), Some("it is older than what the warehouse has")),
        (&[(0, 9)], Some(taken_over(&record(&[(0, 10)]))), Some("it is older than what the warehouse has")),
    ];
    for (applied, record, expected) in cases {
        assert_eq!(distrust(&position(applied), record.as_ref()), expected, "{applied:?} {record:?}");
    }
}

#[test]
fn the_star_needs_events_from_where_the_first_of_both_kinds_stands() {
    let (low, high) = (position(&[(0, 3), (1, 9)]), position(&[(0, 5), (1, 7), (2, 1)]));
    assert_eq!(star_start(Some(&low), Some(&high)), position(&[(0, 3), (1, 7)]));
    assert_eq!(star_start(Some(&low), None), low);
    assert_eq!(star_start(None, Some(&high)), high);
    assert_eq!(star_start(None, None), Position::default());
}

fn any_position() -> impl Strategy<Value = Position> {
    prop::collection::btree_map(0_i32..3, 0_i64..6, 0..=3)
        .prop_map(|partitions| position(&partitions.into_iter().collect::<Vec<_>>()))
}

proptest! {
    /// The invariant of the module: below the position that is given, each
    /// transform has every event, from before or from the lake.
    #[test]
    fn no_event_is_taken_to_be_in_the_star_that_is_not(
        star in prop::option::of(any_position()),
        lake in any_position(),
        modules in prop::collection::vec(prop::bool::ANY, 1..4),
    ) {
        let names = ["a", "b", "c"];
        let known: Vec<(&str, &str)> = names.iter().map(|name| (*name, "old")).collect();
        let record = star.map(|star| EpochRecord { position: star, ..record(&[], &known) });
        let source = SourceTable::new("shop", "orders");
        let of = |(name, is_old): (&'static str, &bool)| (name, if *is_old { "old" } else { "new" });
        let now: Vec<(&str, &str)> = names.into_iter().zip(&modules).map(of).collect();
        let start = stateless(record.as_ref(), &lake, &running(&source, &now));
        for (bring_up, (_, module)) in start.transforms.iter().zip(now) {
            let has = match (bring_up, &record) {
                (BringUp::Replay, _) => &lake,
                (BringUp::GoOn(_), Some(record)) if module == "old" => &record.position,
                (BringUp::GoOn(_), _) => panic!("a module that no record names goes on"),
            };
            prop_assert!(has.covers(&start.position), "{:?} of {:?}", start.position, has);
        }
    }
}
