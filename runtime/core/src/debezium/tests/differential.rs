//! The guided path against the general one, and both against hostile input.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::assert_complete;
use super::capture::{Captured, VARIANTS, records, topics};
use crate::debezium::{Decoded, TopicDecoder};
use crate::position::Topic;

/// Decodes both ways, draining after every `drain` records, and compares.
/// Gives how many records took the guided path.
fn assert_same(topic: &Topic, records: &[Captured], drain: usize) -> u64 {
    let mut guided = TopicDecoder::new(Arc::clone(topic));
    let mut general = TopicDecoder::general_only(Arc::clone(topic));
    for records in records.chunks(drain) {
        for record in records {
            guided.push(&record.record());
            general.push(&record.record());
        }
        assert_eq!((guided.rows(), guided.bytes()), (general.rows(), general.bytes()));
        assert_equal(&guided.finish(), &general.finish());
    }
    assert_eq!(general.guided_hits(), 0);
    guided.guided_hits()
}

fn assert_equal(ours: &Decoded, theirs: &Decoded) {
    assert_complete(ours);
    assert_eq!(ours.dead_letters, theirs.dead_letters);
    assert_eq!(ours.skipped, theirs.skipped);
    assert_eq!((ours.records, &ours.spans), (theirs.records, &theirs.spans));
    assert_eq!(ours.batches.len(), theirs.batches.len());
    for (ours, theirs) in ours.batches.iter().zip(&theirs.batches) {
        assert_eq!(ours.record_batch(), theirs.record_batch());
    }
}

#[test]
fn captures_take_the_guided_path_and_come_out_the_same() {
    for variant in VARIANTS {
        let (mut hits, mut rows) = (0, 0);
        for topic in topics(variant).iter().filter(|topic| topic.contains(".shop.")) {
            let records = records(variant, topic);
            hits += assert_same(&Topic::from(topic.as_str()), &records, 1000);
            rows += records.iter().filter(|record| record.value.is_some()).count() as u64;
        }
        assert!(hits * 100 >= rows * 95, "{variant}: only {hits} of {rows} rows were guided");
    }
}

/// Topics whose messages are mutated: every type, nested values, both identities.
static CORPUS: LazyLock<Vec<(Topic, Vec<Captured>)>> = LazyLock::new(|| {
    let tables = ["order_items", "type_zoo_full", "type_zoo", "products", "addresses", "carts", "audit_log"];
    let names = VARIANTS
        .iter()
        .flat_map(|variant| tables.map(|table| (variant, format!("cdc_{variant}.shop.{table}"))));
    names.map(|(variant, topic)| (Topic::from(topic.as_str()), records(variant, &topic))).collect()
});

/// JSON that stands in for a value.
const STAND_INS: [&str; 24] = [
    "null",
    "true",
    "0",
    "-0",
    "7",
    "-1.5",
    "1e5",
    "3.0",
    "03",
    "99999999999",
    "9223372036854775808",
    "\"\"",
    "\"x\"",
    "\"\\u00e9\\n\"",
    "\"\\ud800\"",
    "\"é\"",
    "\"AQ==\"",
    "\"AQ=\"",
    "\"__debezium_unavailable_value\"",
    "[1,2]",
    "{\"a\": 1}",
    "[]",
    "\"c\"",
    " 1",
];

#[derive(Clone, Debug)]
enum Mutation {
    None,
    Replace(prop::sample::Index, u8),
    Remove(prop::sample::Index),
    Insert(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    /// the value after the n-th colon
    StandIn(prop::sample::Index, prop::sample::Index),
    /// two neighbouring fields change places
    Swap(prop::sample::Index),
    NoKey,
    KeyByte(prop::sample::Index, u8),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => Just(Mutation::None),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        1 => at().prop_map(Mutation::Remove),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        1 => at().prop_map(Mutation::Cut),
        6 => (at(), at()).prop_map(|(at, stand_in)| Mutation::StandIn(at, stand_in)),
        1 => at().prop_map(Mutation::Swap),
        1 => Just(Mutation::NoKey),
        1 => (at(), any::<u8>()).prop_map(|(at, byte)| Mutation::KeyByte(at, byte)),
    ]
}

impl Mutation {
    fn apply(&self, record: &mut Captured) {
        if let Self::NoKey = self {
            record.key = None;
        }
        if let (Self::KeyByte(at, byte), Some(key)) = (self, &mut record.key) {
            let at = at.index(key.len());
            key[at] = *byte;
        }
        let Some(value) = &mut record.value else { return };
        // the payload: a schema in front would take most of the mutations
        let payload = value.windows(10).position(|window| window == b"\"payload\":").unwrap_or(0);
        let len = value.len() - payload;
        match self {
            Self::None | Self::NoKey | Self::KeyByte(..) => {}
            Self::Replace(at, byte) => value[payload + at.index(len)] = *byte,
            Self::Remove(at) => drop(value.remove(payload + at.index(len))),
            Self::Insert(at, byte) => value.insert(payload + at.index(len), *byte),
            Self::Cut(at) => value.truncate(payload + at.index(len)),
            Self::StandIn(at, stand_in) => {
                if let Some((from, to)) = field_value(value, payload, *at) {
                    let stand_in = STAND_INS[stand_in.index(STAND_INS.len())];
                    value.splice(from..to, stand_in.bytes());
                }
            }
            Self::Swap(at) => swap_fields(value, payload, *at),
        }
    }
}

/// Where the value after some colon stands, up to the next comma or brace.
fn field_value(value: &[u8], payload: usize, at: prop::sample::Index) -> Option<(usize, usize)> {
    let colons: Vec<usize> = (payload..value.len().saturating_sub(1))
        .filter(|at| value[*at] == b':' && value[*at - 1] == b'"')
        .collect();
    let from = *colons.get(at.index(colons.len().max(1)))? + 1;
    let len = value[from..].iter().position(|byte| matches!(byte, b',' | b'}'))?;
    Some((from, from + len))
}

fn swap_fields(value: &mut Vec<u8>, payload: usize, at: prop::sample::Index) {
    let commas: Vec<usize> = (payload..value.len()).filter(|at| value[*at] == b',').collect();
    if commas.len() < 3 {
        return;
    }
    let at = at.index(commas.len() - 2);
    let (a, b, c) = (commas[at], commas[at + 1], commas[at + 2]);
    let swapped = [&value[b..c], &value[a..b]].concat();
    value.splice(a..c, swapped);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn mutated_messages_come_out_the_same_both_ways(
        topic in any::<prop::sample::Index>(),
        picks in prop::collection::vec((any::<prop::sample::Index>(), mutation(), any::<bool>()), 4..40),
        drain in 1usize..40,
    ) {
        let (topic, corpus) = &CORPUS[topic.index(CORPUS.len())];
        let mut sequence = Vec::new();
        for (offset, (pick, mutation, near)) in (0..).zip(&picks) {
            // often the same few records, so that templates are learned and used
            let pick = if *near { pick.index(4.min(corpus.len())) } else { pick.index(corpus.len()) };
            let mut record = corpus[pick].clone();
            (record.partition, record.offset) = (i32::from(*near), offset);
            mutation.apply(&mut record);
            sequence.push(record);
        }
        assert_same(topic, &sequence, drain);
    }

    #[test]
    fn arbitrary_bytes_are_all_accounted_for(
        records in prop::collection::vec((any::<Option<Vec<u8>>>(), any::<Option<Vec<u8>>>(), any::<i8>()), 1..20),
    ) {
        let records: Vec<Captured> = records.into_iter().map(|(key, value, offset)| Captured {
            partition: 0,
            offset: i64::from(offset),
            timestamp_ms: 0,
            key,
            value,
            headers: super::capture::OwnedHeaders::default(),
        }).collect();
        assert_same(&Topic::from("a.b.c"), &records, 7);
    }

    #[test]
    fn arbitrary_objects_are_all_accounted_for(
        rows in prop::collection::vec(
            prop::collection::vec(("(id|a|b|op|after|before|source|__op|_op|payload|schema)", 0..STAND_INS.len()), 0..6),
            1..20,
        ),
    ) {
        let records: Vec<Captured> = (0..).zip(rows).map(|(offset, fields)| {
            let fields: Vec<String> =
                fields.into_iter().map(|(name, at)| format!("\"{name}\":{}", STAND_INS[at])).collect();
            Captured {
                partition: 0,
                offset,
                timestamp_ms: 0,
                key: Some(br#"{"id":1}"#.to_vec()),
                value: Some(format!("{{{}}}", fields.join(",")).into_bytes()),
                headers: super::capture::OwnedHeaders::default(),
            }
        }).collect();
        assert_same(&Topic::from("a.b.c"), &records, 7);
    }
}
