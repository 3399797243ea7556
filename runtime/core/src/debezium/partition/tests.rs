use proptest::prelude::*;

use super::super::Headers;
use super::*;

const TOPIC: &str = "cdc.shop.orders";

fn start(next: Option<i64>) -> Position {
    let mut position = Position::default();
    if let Some(next) = next {
        position.set(&Topic::from(TOPIC), 0, Offset(next));
    }
    position
}

fn decoder(starts: &[Option<i64>]) -> PartitionDecoder {
    let starts: Vec<Position> = starts.iter().map(|next| start(*next)).collect();
    PartitionDecoder::new(&Topic::from(TOPIC), 0, &starts)
}

/// A change event, or every third time a tombstone.
fn push(decoder: &mut PartitionDecoder, offset: i64) {
    let value = format!(
        r#"{{"before":null,"after":{{"id":{offset}}},"source":{{"schema":"shop","table":"orders"}},"op":"c"}}"#
    );
    decoder.push(&Record {
        partition: 0,
        offset: Offset(offset),
        timestamp_ms: None,
        key: Some(b"{}"),
        value: (offset % 3 != 0).then_some(value.as_bytes()),
        headers: &() as &dyn Headers,
    });
}

/// What is drained after `offsets`, as the offsets of each part.
fn parts(starts: &[Option<i64>], offsets: &[i64]) -> Vec<(i64, i64)> {
    let mut decoder = decoder(starts);
    offsets.iter().for_each(|offset| push(&mut decoder, *offset));
    decoder.drain().iter().map(bounds).collect()
}

fn bounds(part: &Decoded) -> (i64, i64) {
    let span = part.spans[&0];
    (span.from.0, span.to.0)
}

#[test]
fn records_are_cut_where_a_sink_begins() {
    let all = &[5, 6, 7, 8, 9];
    type Case<'a> = (&'a [Option<i64>], &'a [i64], &'a [(i64, i64)]);
    let cases: [Case<'_>; 8] = [
        (&[], all, &[(5, 10)]),
        (&[None, None], all, &[(5, 10)]),
        (&[Some(5), Some(5)], all, &[(5, 10)]),
        (&[Some(5), Some(7)], all, &[(5, 7), (7, 10)]),
        (&[Some(6), Some(8)], all, &[(5, 6), (6, 8), (8, 10)]),
        (&[None, Some(20)], all, &[(5, 10)]),
        // No record stands at the cut, nor just before it.
        (&[Some(5), Some(8)], &[5, 6, 12], &[(5, 7), (12, 13)]),
        (&[Some(6), Some(8)], &[5, 12], &[(5, 6), (12, 13)]),
    ];
    for (starts, offsets, expected) in cases {
        assert_eq!(parts(starts, offsets), expected, "{starts:?} {offsets:?}");
    }
}

#[test]
fn what_waits_to_be_drained_is_told() {
    let mut decoder = decoder(&[Some(6)]);
    assert!(!decoder.has_records());
    push(&mut decoder, 3);
    assert!(decoder.has_records() && decoder.rows() == 0, "a tombstone is a record and no row");
    push(&mut decoder, 4);
    assert!(decoder.rows() == 1 && decoder.bytes() > 0);
    assert_eq!(decoder.drain().len(), 1);
    assert!(!decoder.has_records() && decoder.rows() == 0 && decoder.drain().is_empty());
}

#[test]
fn a_sink_skips_what_lies_below_its_start() {
    let mut decoder = decoder(&[]);
    push(&mut decoder, 5);
    push(&mut decoder, 6);
    let part = decoder.drain().pop().expect("one part");
    for (next, is_new) in [(None, true), (Some(5), true), (Some(6), true), (Some(7), false), (Some(9), false)]
    {
        assert_eq!(part.is_new_to(&start(next)), is_new, "{next:?}");
    }
    let mut position = start(Some(5));
    part.advance(&mut position);
    assert_eq!(position, start(Some(7)));
}

proptest! {
    /// Every record comes out once and in order, and no part lies on both sides of
    /// where a sink begins; so what a sink takes never begins below its start.
    #[test]
    fn no_part_lies_on_both_sides_of_a_start(
        starts in prop::collection::vec(prop::option::of(0_i64..40), 0..3),
        steps in prop::collection::vec((1_i64..4, prop::bool::weighted(0.2)), 1..30),
    ) {
        let mut decoder = decoder(&starts);
        let (mut offset, mut pushed, mut drained) = (-1, 0, Vec::new());
        for (step, is_drained) in steps {
            offset += step;
            push(&mut decoder, offset);
            pushed += 1;
            if is_drained {
                drained.extend(decoder.drain());
            }
        }
        drained.extend(decoder.drain());
        prop_assert_eq!(drained.iter().map(|part| part.records).sum::<u64>(), pushed);
        prop_assert!(drained.is_sorted_by(|a, b| bounds(a).1 <= bounds(b).0));
        for part in &drained {
            let (from, to) = bounds(part);
            for next in starts.iter().flatten() {
                prop_assert!(to <= *next || *next <= from, "[{}, {}) and {}", from, to, next);
                prop_assert_eq!(part.is_new_to(&start(Some(*next))), *next <= from);
            }
        }
    }
}
