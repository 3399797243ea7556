use proptest::prelude::*;

use super::*;

fn author(term: u32) -> Author {
    Author { pipeline: "shop".into(), term: Term(term), writer: WriterId::new("w-1").expect("a plain id") }
}

/// A commit of `spans`, whose offsets hold no record.
fn markers(spans: &[(&str, i32, i64, i64)]) -> Contents {
    let mut topics: BTreeMap<Topic, TopicCommit> = BTreeMap::new();
    for &(topic, partition, from, to) in spans {
        let commit = topics.entry(topic.into()).or_default();
        commit.spans.insert(partition, Span::new(Offset(from), Offset(to)));
        commit.unrecorded = commit.offsets();
    }
    Contents { topics, ..Contents::default() }
}

fn commit(previous: Option<&Manifest>, term: u32, contents: Contents) -> Result<Manifest, Refusal> {
    Manifest::next(previous.map(Manifest::head).as_ref(), &author(term), Epoch(1), contents)
}

fn file(topic: &str, from: i64, to: i64, rows: u64) -> DataFile {
    let span = FileSpan { from: Offset(from), to: Offset(to), rows };
    DataFile {
        path: "shop.orders/date=2025-01-01/x.parquet".into(),
        table: SourceTable::new("shop", "orders"),
        rows,
        bytes: 100,
        kafka_ts_ms: Some(TimeRange { min: 1, max: 2 }),
        spans: BTreeMap::from([(topic.into(), BTreeMap::from([(0, span)]))]),
    }
}

#[test]
fn a_manifest_begins_exactly_where_the_lake_ends() {
    let first = commit(None, 1, markers(&[("t", 0, 5, 10)])).expect("any first offset");
    assert_eq!(first.number, ManifestNumber(1));
    let refused = |span| commit(Some(&first), 1, markers(&[span])).expect_err("must not be committed");
    assert!(matches!(refused(("t", 0, 11, 12)), Refusal::Gap { expected: Offset(10), .. }));
    assert!(matches!(refused(("t", 0, 9, 12)), Refusal::Overlap { expected: Offset(10), .. }));
    assert!(matches!(refused(("t", 0, 10, 10)), Refusal::Span { .. }));
    assert!(matches!(refused(("u", 0, -1, 1)), Refusal::Span { .. }));
    let second =
        commit(Some(&first), 1, markers(&[("t", 0, 10, 12), ("t", 1, 100, 101)])).expect("contiguous");
    assert_eq!(second.position.get("t", 0), Some(Offset(12)));
    assert_eq!(second.position.get("t", 1), Some(Offset(101)));
}

#[test]
fn every_offset_is_accounted_for() {
    let mut contents = markers(&[("t", 0, 0, 10)]);
    contents.files = vec![file("t", 0, 9, 6)];
    let topic = contents.topics.get_mut("t").expect("just made");
    topic.skipped = BTreeMap::from([(Skip::Tombstone, 2), (Skip::DeadLetter, 1)]);
    topic.unrecorded = 1;
    assert!(commit(None, 1, contents.clone()).is_ok());
    contents.files[0] = file("t", 0, 9, 5);
    assert!(matches!(
        commit(None, 1, contents.clone()),
        Err(Refusal::Count { offsets: 10, accounted: 9, .. })
    ));
    contents.files[0] = file("t", 0, 11, 6);
    assert!(matches!(commit(None, 1, contents), Err(Refusal::Uncommitted { .. })));
}

#[test]
fn an_older_term_another_pipeline_and_a_newer_format_are_refused() {
    let head = commit(None, 7, Contents::default()).expect("an empty commit");
    assert!(matches!(commit(Some(&head), 6, Contents::default()), Err(Refusal::Term { newer: Term(7), .. })));
    let mut stranger = author(8);
    stranger.pipeline = "other".into();
    let refused = Manifest::next(Some(&head.head()), &stranger, Epoch(1), Contents::default());
    assert!(matches!(refused, Err(Refusal::Pipeline { .. })));
    let mut newer = commit(Some(&head), 7, Contents::default()).expect("an empty commit");
    newer.format = FORMAT + 1;
    assert!(matches!(newer.follows(Some(&head.head())), Err(Refusal::Format { .. })));
}

#[test]
fn the_json_form_is_fixed() {
    let mut contents = markers(&[("t", 0, 0, 4)]);
    contents.files = vec![file("t", 0, 3, 3)];
    contents.topics.get_mut("t").expect("just made").unrecorded = 0;
    contents.topics.get_mut("t").expect("just made").skipped = BTreeMap::from([(Skip::Tombstone, 1)]);
    contents.dead_letters = vec![DeadLetterFile {
        path: "_dabi/dead_letters/date=2025-01-01/x.parquet".into(),
        rows: 1,
        bytes: 9,
    }];
    let manifest = commit(None, 3, contents).expect("a valid commit");
    let json = serde_json::to_string_pretty(&manifest).expect("plain data");
    insta::assert_snapshot!(json);
    assert_eq!(serde_json::from_str::<Manifest>(&json).expect("its own JSON"), manifest);
}

#[test]
fn names_are_read_back_and_stay_inside_their_folder() {
    assert_eq!(ManifestNumber(7).path(), "_dabi/manifests/00000000000000000007.json");
    assert_eq!(ManifestNumber::from_path(&ManifestNumber(7).path()), Some(ManifestNumber(7)));
    assert_eq!(ManifestNumber::from_path("_dabi/manifests/x.json"), None);
    assert_eq!(ManifestNumber::from_path("_dabi/manifests/+7.json"), None);
    assert_eq!(term_from_path(&term_path(Term(12))), Some(Term(12)));
    assert_eq!(table_prefix(&SourceTable::new("shop", "order_items")), "shop.order_items");
    assert_eq!(table_prefix(&SourceTable::new("..", "a/b c.d")), "!2E!2E.a!2Fb!20c!2Ed");
    assert_eq!(table_prefix(&SourceTable::new("shop", "größe")), "shop.größe");
    assert!(path_segment(&"/".repeat(63)).len() <= 100);
    assert!(WriterId::new("a/b").is_err());
}

proptest! {
    #[test]
    fn distinct_names_have_distinct_segments(a in "\\PC{0,40}", b in "\\PC{0,40}") {
        prop_assert_eq!(path_segment(&a) == path_segment(&b), a == b);
        prop_assert!(!path_segment(&a).contains(['/', '.', '\\', '*', '?']));
    }

    /// However a history is cut into manifests, the lake ends at the same position
    /// and every manifest passes the check that a reader makes.
    #[test]
    fn any_cut_of_a_history_is_accepted(cuts in prop::collection::vec((0i32..3, 1i64..50), 1..40)) {
        let mut ends = BTreeMap::new();
        let mut previous: Option<Manifest> = None;
        for (partition, len) in cuts {
            let from = ends.get(&partition).copied().unwrap_or(0);
            ends.insert(partition, from + len);
            let next = commit(previous.as_ref(), 1, markers(&[("t", partition, from, from + len)]));
            let next = next.expect("contiguous");
            prop_assert!(next.follows(previous.as_ref().map(Manifest::head).as_ref()).is_ok());
            previous = Some(next);
        }
        let position = previous.expect("at least one").position;
        for (partition, end) in ends {
            prop_assert_eq!(position.get("t", partition), Some(Offset(end)));
        }
    }

    /// A reading plan holds every manifest once, in order, whatever checkpoints exist.
    #[test]
    fn a_plan_reads_every_manifest_once(
        ranges in prop::collection::vec((1u64..200, 0u64..100), 0..12),
        head in 0u64..250,
    ) {
        let ranges: Vec<_> = ranges.into_iter()
            .map(|(first, len)| CheckpointRange {
                first: ManifestNumber(first), last: ManifestNumber(first + len),
            })
            .collect();
        let mut read = Vec::new();
        for step in plan_reading(&ranges, ManifestNumber(head)) {
            match step {
                ReadStep::Manifest(number) => read.push(number.0),
                ReadStep::Checkpoint { range, from } => {
                    prop_assert!(range.first <= from && ranges.contains(&range));
                    read.extend(from.0..=range.last.0);
                }
            }
        }
        prop_assert_eq!(read, (1..=head).collect::<Vec<_>>());
    }
}
