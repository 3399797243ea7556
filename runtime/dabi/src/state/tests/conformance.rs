//! What every store does, whatever keeps it.

use std::collections::BTreeMap;

use arrow::array::BinaryArray;
use dabi_core::engine::state::{Commit, Puts, Space};
use dabi_core::version::{Epoch, Term};
use proptest::prelude::*;

use super::model::Model;
use super::workload::{self, puts, regroupings};
use super::*;

const SPACE: Space = Space(3);
const OTHER: Space = Space(4);

/// A pair of group and member, and whether it joins.
type Joins = BTreeMap<(Vec<u8>, Vec<u8>), bool>;

#[derive(Clone, Debug)]
enum Step {
    Commit { puts: BTreeMap<Vec<u8>, Option<Vec<u8>>>, joins: Joins, raise: bool },
    Sent { behind: u64 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = || prop::collection::vec(0_u8..3, 0..4);
    let value = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..60),
        1 => (0_usize..40_000).prop_map(|len| vec![7; len]),
    ];
    let puts = prop::collection::btree_map(key(), prop::option::weighted(0.7, value), 0..12);
    let group = prop_oneof![Just(Vec::new()), key()];
    let member = (any::<u8>(), 0_usize..80).prop_map(|(byte, len)| vec![byte; len]);
    let joins = prop::collection::btree_map((group, member), prop::bool::weighted(0.7), 0..40);
    prop_oneof![
        6 => (puts, joins, prop::bool::weighted(0.1))
            .prop_map(|(puts, joins, raise)| Step::Commit { puts, joins, raise }),
        1 => (0_u64..4).prop_map(|behind| Step::Sent { behind }),
        2 => Just(Step::Reopen),
    ]
}

fn holds_what_is_committed(kind: StoreKind, steps: Vec<Step>) {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, opened) = open(kind, folder.path());
    assert_eq!(opened, Opened::New);
    let mut model = Model::default();
    let (mut term, mut epoch) = (Term(1), Epoch(0));
    for step in steps {
        match step {
            Step::Commit { puts: values, joins, raise } => {
                (term, epoch) = if raise { (Term(term.0 + 1), Epoch(1)) } else { (term, epoch.next()) };
                let commit = Commit {
                    term,
                    epoch,
                    puts: vec![puts(SPACE, values.clone()), puts(OTHER, values)],
                    regroupings: vec![regroupings(SPACE, joins)],
                    meta: epoch.0.to_be_bytes().to_vec(),
                    outbox: vec![1; (epoch.0 % 5) as usize],
                };
                store.commit(&commit).unwrap();
                model.commit(&commit);
            }
            Step::Sent { behind } => {
                let upto = Epoch(epoch.0.saturating_sub(behind));
                store.sent(upto).unwrap();
                model.sent(upto);
            }
            Step::Reopen => {
                drop(store);
                let opened;
                (store, opened) = open(kind, folder.path());
                assert!(matches!(opened, Opened::Recovered { .. }), "{opened:?}");
            }
        }
        model.check(&*store);
    }
}

fn commit(term: u32, epoch: u64) -> Commit {
    let (puts, regroupings) = (Vec::new(), Vec::new());
    Commit { term: Term(term), epoch: Epoch(epoch), puts, regroupings, meta: Vec::new(), outbox: Vec::new() }
}

fn refuses_what_does_not_follow(kind: StoreKind) {
    for (term, epoch) in [(5, 3), (5, 5), (4, 4), (4, 1)] {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = open(kind, folder.path());
        store.commit(&commit(5, 3)).unwrap();
        let error = store.commit(&commit(term, epoch)).unwrap_err().to_string();
        assert!(error.contains("epoch 3 of term 5"), "{error}");
        assert!(store.commit(&commit(5, 4)).is_err(), "it takes no more commits");
        drop(store);
        let (mut store, _) = open(kind, folder.path());
        store.commit(&commit(6, 1)).unwrap();
    }
}

fn refuses_a_malformed_commit(kind: StoreKind) {
    let keys: BinaryArray = [Some(b"a")].into_iter().collect();
    let nulls: BinaryArray = [None::<&[u8]>].into_iter().collect();
    let none = BinaryArray::from_iter_values(Vec::<&[u8]>::new());
    for (keys, values) in [(keys.clone(), none), (nulls, keys)] {
        let folder = tempfile::tempdir().unwrap();
        let (mut store, _) = open(kind, folder.path());
        let malformed = Commit { puts: vec![Puts { space: SPACE, keys, values }], ..commit(1, 1) };
        store.commit(&malformed).unwrap_err();
    }
}

fn pages_while_commits_go_on(kind: StoreKind) {
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(kind, folder.path());
    let key = |number: u32| number.to_be_bytes().to_vec();
    let put = |range: std::ops::Range<u32>, value: Option<Vec<u8>>| {
        puts(SPACE, range.map(|number| (key(number), value.clone())).collect())
    };
    store.commit(&Commit { puts: vec![put(0..2_000, Some(vec![1]))], ..commit(1, 1) }).unwrap();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    for epoch in 2.. {
        let page = store.keys(SPACE, seen.last().map(Vec::as_slice), 50).unwrap();
        if page.iter().next().is_none() {
            break;
        }
        seen.extend(page.iter().flatten().map(<[u8]>::to_vec));
        // for a while others come, so that tables grow; the cursor's own key goes
        let number = u32::try_from(epoch).unwrap();
        let come = if epoch < 20 { number * 1_000 + 10_000..number * 1_000 + 11_000 } else { 0..0 };
        let gone = puts(SPACE, seen.last().map(|key| (key.clone(), None)).into_iter().collect());
        let puts = vec![put(come, Some(vec![2])), gone];
        store.commit(&Commit { puts, ..commit(1, epoch) }).unwrap();
        if epoch == 10 {
            drop(store);
            (store, _) = open(kind, folder.path());
        }
    }
    let first: Vec<Vec<u8>> = (0..2_000).map(key).collect();
    for key in first {
        assert_eq!(seen.iter().filter(|seen| **seen == key).count(), 1, "{key:?}");
    }
}

fn a_long_run_ends_right(kind: StoreKind) {
    const EPOCHS: u64 = 300;
    let folder = tempfile::tempdir().unwrap();
    let (mut store, _) = open(kind, folder.path());
    for number in 1..=EPOCHS {
        store.commit(&workload::epoch(number)).unwrap();
        store.sent(Epoch(number - number % 7)).unwrap();
        if number % 100 == 50 {
            drop(store);
            (store, _) = open(kind, folder.path());
        }
    }
    let mut model = workload::model_after(EPOCHS);
    model.sent(Epoch(EPOCHS - EPOCHS % 7));
    model.check(&*store);
    drop(store);
    model.check(&*open(kind, folder.path()).0);
}

/// The same tests for each kind of store.
macro_rules! conformance {
    ($name:ident, $kind:expr, $cases:expr) => {
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases($cases))]
                #[test]
                fn holds_what_is_committed(steps in prop::collection::vec(step(), 1..40)) {
                    super::holds_what_is_committed($kind, steps);
                }
            }

            #[test]
            fn refuses_what_does_not_follow() {
                super::refuses_what_does_not_follow($kind);
            }

            #[test]
            fn refuses_a_malformed_commit() {
                super::refuses_a_malformed_commit($kind);
            }

            #[test]
            fn pages_while_commits_go_on() {
                super::pages_while_commits_go_on($kind);
            }

            #[test]
            fn a_long_run_ends_right() {
                super::a_long_run_ends_right($kind);
            }
        }
    };
}

conformance!(memory, StoreKind::Memory, 48);
conformance!(disk, StoreKind::Disk, 8);
