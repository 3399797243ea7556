use proptest::prelude::*;

use super::super::{Author, Contents, Head, Manifest, WriterId};
use super::*;
use crate::debezium::{PartitionDecoder, Record, Skip};
use crate::position::Offset;
use crate::version::{Epoch, Term};

fn span(from: i64, to: i64) -> Span {
    Span::new(Offset(from), Offset(to))
}

/// Tombstones at some of the offsets of `spans`.
fn decoded(spans: &[(i32, i64, i64)], records: u64) -> Decoded {
    Decoded {
        topic: Topic::from("t"),
        spans: spans.iter().map(|(partition, from, to)| (*partition, span(*from, *to))).collect(),
        records,
        batches: Vec::new(),
        skipped: BTreeMap::from([(Skip::Tombstone, records)]),
        dead_letters: Vec::new(),
    }
}

fn at(partitions: &[(i32, i64)]) -> Account {
    let mut position = Position::default();
    for (partition, next) in partitions {
        position.set(&Topic::from("t"), *partition, Offset(*next));
    }
    Account::new(position)
}

#[test]
fn an_account_begins_where_the_one_before_ended_whatever_offsets_hold_no_record() {
    let mut account = at(&[(0, 10)]);
    account.take(&decoded(&[(0, 12, 14), (1, 5, 6)], 3)).expect("after a gap, and of a new partition");
    account.take(&decoded(&[(0, 14, 20)], 4)).expect("what follows");
    let sealed = account.seal();
    assert_eq!(sealed["t"].spans, BTreeMap::from([(0, span(10, 20)), (1, span(5, 6))]));
    assert_eq!(sealed["t"].skipped, BTreeMap::from([(Skip::Tombstone, 7)]));
    assert_eq!(sealed["t"].unrecorded, 4);
    account.take(&decoded(&[(0, 25, 26)], 1)).expect("after another gap");
    assert_eq!(account.seal()["t"].spans, BTreeMap::from([(0, span(20, 26))]));
    assert!(account.seal().is_empty(), "nothing was taken since");
}

#[test]
fn what_cannot_be_is_refused() {
    let cases = [
        (
            decoded(&[(0, 9, 12)], 3),
            Refusal::Overlap {
                partition: TopicPartition::new("t", 0),
                expected: Offset(10),
                from: Offset(9),
            },
        ),
        (decoded(&[(0, 10, 12)], 3), Refusal::Count { topic: "t".into(), offsets: 2, accounted: 3 }),
    ];
    for (decoded, refusal) in cases {
        assert_eq!(at(&[(0, 10)]).take(&decoded), Err(refusal));
    }
}

/// The lake stood at 10 and the star at 5, and since then Kafka has compacted the
/// records away that stood before 10.
#[test]
fn what_is_read_again_may_have_a_gap_where_the_lake_begins() {
    let starts = [at(&[(0, 10)]).position, at(&[(0, 5)]).position];
    let [lake, mut position] = starts.clone();
    let mut decoder = PartitionDecoder::new(&Topic::from("t"), 0, &starts);
    for offset in [5, 6, 12].map(Offset) {
        decoder.push(&Record {
            partition: 0,
            offset,
            timestamp_ms: None,
            key: None,
            value: None,
            headers: &(),
        });
    }
    let mut account = Account::new(lake.clone());
    for part in decoder.drain() {
        part.advance(&mut position);
        if part.is_new_to(&lake) {
            account.take(&part).expect("none of it is there");
        }
    }
    assert_eq!(account.seal()["t"].spans, BTreeMap::from([(0, span(10, 13))]));
    assert_eq!(position.get("t", 0), Some(Offset(13)));
}

proptest! {
    /// However the reading is cut into epochs and these into commits, each manifest
    /// that comes of it is accepted after the one before, and every offset is counted.
    #[test]
    fn every_account_adds_up_and_follows_the_one_before(
        epochs in prop::collection::vec((0_i32..3, 0_i64..4, 1_i64..6, prop::bool::ANY), 1..40),
    ) {
        let author = Author {
            pipeline: "shop".into(),
            term: Term(1),
            writer: WriterId::new("w-1").expect("a plain id"),
        };
        let mut account = at(&[]);
        let (mut ends, mut counted, mut head) = (BTreeMap::new(), 0, None::<Head>);
        for (partition, gap, records, is_sealed) in epochs {
            let end = ends.entry(partition).or_insert(0_i64);
            let from = *end + gap;
            *end = from + records;
            account.take(&decoded(&[(partition, from, *end)], records.cast_unsigned())).expect("it follows");
            if is_sealed {
                let contents = Contents { topics: account.seal(), ..Contents::default() };
                counted += contents.topics["t"].without_rows();
                let manifest = Manifest::next(head.as_ref(), &author, Epoch(1), contents);
                head = Some(manifest.expect("it adds up").head());
            }
        }
        let Some(head) = head else { return Ok(()) };
        // A partition that is new to the lake begins with its first record.
        let committed: i64 = head.position.iter().map(|(_, _, next)| next.0).sum();
        prop_assert!(counted <= committed.cast_unsigned());
        for (partition, next) in head.position.iter().map(|(_, partition, next)| (partition, next)) {
            prop_assert!(next.0 <= ends[&partition]);
        }
    }
}
