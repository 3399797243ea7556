//! Each rule by an example.

use super::*;

fn sent(op: Op, offset: i64, id: i64, big: Option<&str>) -> Sent {
    let unavailable = if big.is_none() && op != Op::Truncate { vec!["big".to_owned()] } else { Vec::new() };
    Sent {
        event: Event { unavailable, ..Event::new(op, offset) },
        id: (op != Op::Truncate).then_some(id),
        small: offset,
        big: big.map(str::to_owned),
    }
}

fn folded(batches: &[ChangeBatch]) -> Fold {
    let mut fold = Fold::new(table());
    for batch in batches {
        fold.apply(batch).expect("in order");
    }
    fold
}

/// A truncate on another partition removes what is older, whichever comes first.
#[test]
fn a_truncate_covers_older_rows_in_either_order() {
    let mut older = sent(Op::Create, 0, 1, Some("a"));
    older.event.lsn = Some(100);
    let mut newer = sent(Op::Create, 1, 2, Some("b"));
    newer.event.lsn = Some(300);
    let mut truncate = sent(Op::Truncate, 0, 0, None);
    (truncate.event.lsn, truncate.event.ts_us) = (Some(200), newer.event.ts_us);
    let (rows_batch, truncate) = (batch(0, true, &[older, newer]), batch(1, true, &[truncate]));
    for order in [[&rows_batch, &truncate], [&truncate, &rows_batch]] {
        let fold = folded(&order.map(Clone::clone));
        assert_eq!(rows(&fold), BTreeMap::from([(2, (1, Some("b".into()), false))]));
    }
}

/// At `lsn`, which is its commit time too.
fn at(lsn: i64, mut sent: Sent) -> Sent {
    (sent.event.lsn, sent.event.ts_us) = (Some(lsn), Some(lsn));
    sent
}

/// What a snapshot at `lsn`, taken at that time, reads.
fn read(lsn: i64, offset: i64, id: i64, marker: &'static str) -> Sent {
    let mut sent = at(lsn, sent(Op::Read, offset, id, Some("read")));
    sent.event.snapshot = Some(marker);
    sent
}

fn ids(batches: &[ChangeBatch]) -> Vec<i64> {
    rows(&folded(batches)).into_keys().collect()
}

/// Rows that were deleted while nobody looked, whichever partition comes first. The
/// last of a table is its end, whatever becomes of the rest of the snapshot.
#[test]
fn a_snapshot_that_is_taken_again_removes_what_it_has_not_read() {
    let first = [1, 2].map(|id| read(10, id, id, if id == 1 { "first" } else { "last_in_data_collection" }));
    let second = [read(30, 3, 1, "first"), read(30, 4, 2, "last_in_data_collection")];
    let own = batch(0, true, &[first.as_slice(), &second].concat());
    let other = batch(1, true, &[read(10, 0, 3, "true"), read(10, 1, 4, "true"), read(30, 2, 4, "true")]);
    for order in [[&own, &other], [&other, &own]] {
        assert_eq!(ids(&order.map(Clone::clone)), [1, 2, 4]);
    }
}

#[test]
fn a_snapshot_that_was_broken_off_removes_nothing() {
    let known = [1, 2].map(|id| at(10 + id, sent(Op::Create, id, id, Some("a"))));
    let begun = batch(0, true, &[known.as_slice(), &[read(30, 3, 1, "first")]].concat());
    assert_eq!(ids(std::slice::from_ref(&begun)), [1, 2]);
    let again = [read(40, 4, 1, "first"), read(40, 5, 3, "last")];
    assert_eq!(ids(&[begun, batch(0, true, &again)]), [1, 3]);
}

/// Its change has a lower LSN than the snapshot, which was read after its commit and
/// does not have it.
#[test]
fn what_was_in_flight_during_a_snapshot_stays() {
    let open = |offset: i64, id: i64| {
        let mut open = at(25, sent(Op::Create, offset, id, Some("open")));
        open.event.ts_us = Some(33);
        open
    };
    let mut end = read(30, 1, 1, "last");
    end.event.ts_us = Some(35);
    let own = batch(0, true, &[at(11, sent(Op::Create, 0, 1, Some("a"))), end, open(2, 3)]);
    // A partition that got no row of the snapshot.
    let other = batch(1, true, &[at(10, sent(Op::Create, 0, 2, Some("a"))), open(1, 4)]);
    assert_eq!(ids(&[own, other]), [1, 3, 4]);
}

/// Streaming pauses for a snapshot in the middle of a transaction.
#[test]
fn what_comes_of_a_transaction_after_the_snapshot_stays() {
    let of_one = |lsn: i64, sent: Sent| {
        let mut sent = at(lsn, sent);
        sent.event.ts_us = Some(20);
        sent
    };
    let events = [
        of_one(18, sent(Op::Create, 0, 1, Some("a"))),
        of_one(19, sent(Op::Create, 1, 2, Some("a"))),
        read(30, 2, 2, "first"),
        read(30, 3, 3, "last"),
        of_one(20, sent(Op::Update, 4, 3, Some("b"))),
    ];
    assert_eq!(ids(&[batch(0, true, &events)]), [2, 3]);
}

#[test]
fn an_incremental_snapshot_and_one_without_marks_remove_nothing() {
    let known = [1, 2].map(|id| at(10 + id, sent(Op::Create, id, id, Some("a"))));
    for (marker, lsn) in [(Some("incremental"), None), (None, Some(30))] {
        let mut end = read(30, 3, 1, "last");
        (end.event.snapshot, end.event.lsn) = (marker, lsn);
        assert_eq!(ids(&[batch(0, true, &[known.as_slice(), &[end]].concat())]), [1, 2]);
    }
}

/// A table that is read for the first time costs no truncate.
#[test]
fn a_first_snapshot_is_no_truncate() {
    let mut truncates = Truncates::default();
    let first = batch(0, true, &[read(10, 0, 1, "first"), read(10, 1, 2, "last")]);
    assert_eq!(truncates.learn([&first]), []);
    let again = batch(0, true, &[read(20, 2, 1, "first"), read(20, 3, 2, "last")]);
    let removed = Truncate { lsn: Some(20), ts_us: Some(10) };
    assert_eq!(truncates.learn([&again]), [removed]);
    assert_eq!(truncates.learn([&again]), [], "it comes again");
    let text = serde_json::to_string(&truncates).expect("plain data");
    assert_eq!(serde_json::from_str::<Truncates>(&text).expect("what was written"), truncates);
}

/// What a transform learns of the time before it ran may end what it has seen begin.
#[test]
fn what_came_before_is_learned_later() {
    let before = batch(0, true, &[at(10, sent(Op::Create, 0, 1, Some("a")))]);
    let after = batch(0, true, &[read(20, 1, 2, "last")]);
    let (mut earlier, mut later) = (Truncates::default(), Truncates::default());
    earlier.learn([&before]);
    later.learn([&after]);
    assert!(!later.cover(Some(10), Some(10)));
    later.merge(&earlier);
    assert!(later.cover(Some(10), Some(10)) && !later.cover(Some(20), Some(20)));
}

/// What was sent before the fold began is not known, and is not invented.
#[test]
fn a_value_that_was_never_sent_stays_named_as_unavailable() {
    let fold = folded(&[batch(0, true, &[sent(Op::Update, 0, 1, None)])]);
    assert_eq!(rows(&fold), BTreeMap::from([(1, (0, None, true))]));
}

/// Both halves of a key change find each other with the delete half last, and
/// until then the old key's row so far is the best that is known.
#[test]
fn a_key_change_takes_the_value_as_its_delete_half_found_it() {
    let mut created = sent(Op::Create, 0, 2, None);
    let mut deleted = sent(Op::Delete, 2, 1, Some("invented"));
    created.event.oldkey = Some(r#"{"id":1}"#.into());
    deleted.event.newkey = Some(r#"{"id":2}"#.into());
    deleted.event.ts_us = created.event.ts_us;
    (deleted.event.lsn, deleted.event.tx) = (created.event.lsn, created.event.tx.clone());
    let mut fold =
        folded(&[batch(1, true, &[sent(Op::Create, 0, 1, Some("first"))]), batch(2, true, &[created])]);
    assert_eq!(rows(&fold)[&2], (0, Some("first".into()), false));
    fold.apply(&batch(1, true, &[sent(Op::Update, 1, 1, Some("last")), deleted])).expect("in order");
    assert_eq!(rows(&fold), BTreeMap::from([(2, (0, Some("last".into()), false))]));
}

#[test]
fn rows_without_a_key_are_kept_and_the_rest_is_reported() {
    let mut events: Vec<Sent> = [Op::Create, Op::Create, Op::Update, Op::Delete]
        .into_iter()
        .zip(0..)
        .map(|(op, offset)| sent(op, offset, 0, Some("x")))
        .collect();
    for event in &mut events {
        event.id = None;
    }
    let fold = folded(&[batch(0, true, &events)]);
    assert_eq!(fold.len(), 2);
    assert_eq!(fold.report(), FoldReport { unmatched: 2, keyless: 2 });
}

#[test]
fn events_come_once_and_in_order() {
    let mut fold = folded(&[batch(0, true, &[sent(Op::Create, 5, 1, Some("a"))])]);
    let again = fold.apply(&batch(0, true, &[sent(Op::Create, 5, 1, Some("a"))]));
    assert!(matches!(again, Err(FoldError::Order { done: Offset(6), found: Offset(5), .. })));
    let mut other = Fold::new(SourceTable::new("shop", "other"));
    let wrong = other.apply(&batch(0, true, &[sent(Op::Create, 6, 1, Some("a"))]));
    assert!(matches!(wrong, Err(FoldError::Table { .. })));
}

/// Many updates of few rows: the memory follows the rows, and what old events
/// alone have sent is carried along.
#[test]
fn dead_rows_are_let_go() {
    let mut fold = Fold::new(table());
    let first: Vec<Sent> = (0..10).map(|id| sent(Op::Create, id, id, Some(&format!("big {id}")))).collect();
    fold.apply(&batch(0, true, &first)).expect("in order");
    for round in 0..200 {
        let from = 10 + round * 1000;
        let updates: Vec<Sent> = (from..from + 1000).map(|o| sent(Op::Update, o, o % 10, None)).collect();
        fold.apply(&batch(0, round % 2 == 0, &updates)).expect("in order");
    }
    assert!(fold.store.held_rows() < 70_000, "{} rows are held", fold.store.held_rows());
    let expected = (0..10).map(|id| (id, (200_000 + id, Some(format!("big {id}")), false)));
    assert_eq!(rows(&fold), expected.collect());
}

/// One key, as the wire may carry it before and after a change of schema.
#[test]
fn a_key_is_the_same_however_it_was_sent() {
    let key = |field: Field, array: ArrayRef| {
        let name = field.name().clone();
        let batch =
            change_batch(&table(), &[&name], vec![(field, array)], ("t", 0), &[Event::new(Op::Create, 0)]);
        key_of(&batch, 0)
    };
    let int = |wire, array: ArrayRef| key(row_field("k", array.data_type().clone(), wire, None), array);
    let decimal = |value: i128, scale| -> ArrayRef {
        Arc::new(Decimal128Array::from(vec![value]).with_precision_and_scale(20, scale).expect("fits"))
    };
    let text = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text])) };
    let seven = int(Wire::Typed, Arc::new(Int32Array::from(vec![7])));
    assert!(seven.is_some());
    for same in [
        int(Wire::Typed, Arc::new(Int64Array::from(vec![7]))),
        int(Wire::Untyped, Arc::new(Int64Array::from(vec![7]))),
        int(Wire::Json, text("7")),
        int(Wire::Typed, decimal(7, 0)),
        int(Wire::Typed, decimal(700, 2)),
    ] {
        assert_eq!(same, seven);
    }
    for different in [
        int(Wire::Typed, Arc::new(Int64Array::from(vec![8]))),
        int(Wire::Typed, text("7")),
        int(Wire::Typed, decimal(7, 1)),
        int(Wire::Typed, Arc::new(Int64Array::from(vec![None]))),
    ] {
        assert_ne!(different, seven);
    }
    assert_eq!(int(Wire::Untyped, text("ab")), int(Wire::Json, text("\"ab\"")));
    assert_eq!(int(Wire::Typed, decimal(1250, 3)), int(Wire::Typed, decimal(125, 2)));
}

/// A redelivered delete half finds the old key gone; the value stays.
#[test]
fn a_redelivered_key_change_keeps_the_value() {
    let halves = |offset: i64| {
        let mut deleted = sent(Op::Delete, offset, 1, Some("invented"));
        let mut created = sent(Op::Create, offset + 1, 2, None);
        deleted.event.newkey = Some(r#"{"id":2}"#.into());
        created.event.oldkey = Some(r#"{"id":1}"#.into());
        for half in [&mut deleted, &mut created] {
            half.small = 7;
            (half.event.lsn, half.event.ts_us, half.event.tx) = (Some(50), Some(5), None);
        }
        [deleted, created]
    };
    let first = sent(Op::Create, 0, 1, Some("a"));
    let events: Vec<Sent> = [first].into_iter().chain(halves(1)).chain(halves(3)).collect();
    let fold = folded(&[batch(0, true, &events)]);
    assert_eq!(rows(&fold), BTreeMap::from([(2, (7, Some("a".into()), false))]));
}
