//! `_dabi_epochs`: the last one recorded is the last one told.

use std::collections::BTreeMap;

use dabi::warehouse::EpochRecord;
use dabi_core::position::{Offset, Position};
use dabi_core::version::{Epoch, Term};

use super::Fixture;
use crate::support::block_on;

fn record(pipeline: &str, term: u32, epoch: u64) -> EpochRecord {
    let mut position = Position::default();
    position.set(&"shop.orders".into(), 3, Offset(i64::try_from(epoch).unwrap()));
    EpochRecord {
        pipeline: pipeline.to_owned(),
        term: Term(term),
        epoch: Epoch(epoch),
        position,
        modules: BTreeMap::from([("orders".to_owned(), "ab'cd".to_owned())]),
        truncates: BTreeMap::new(),
        open_work: vec!["dependents of 'one' row".to_owned()],
    }
}

#[test]
fn the_highest_term_then_the_highest_epoch_is_the_last() {
    let fixture = Fixture::start();
    let last = |pipeline: &str| block_on(fixture.warehouse.last_epoch(pipeline, &fixture.never)).unwrap();
    assert_eq!(last("it's"), None);
    for (term, epoch) in [(1, 9), (1, 10), (1, 10), (2, 1), (2, 2), (1, 11)] {
        block_on(fixture.warehouse.record_epoch(&record("it's", term, epoch), &fixture.never)).unwrap();
        block_on(fixture.warehouse.record_epoch(&record("other", 7, epoch), &fixture.never)).unwrap();
    }
    assert_eq!(last("it's"), Some(record("it's", 2, 2)));
    assert_eq!(fixture.count("star._dabi_epochs WHERE pipeline = 'it\\'s' AND term = 1 AND epoch = 10"), 1);
}

#[test]
fn old_epochs_are_forgotten_but_never_the_last() {
    let fixture = Fixture::start();
    for epoch in [1, 2, 9_999, 10_000, 10_002] {
        block_on(fixture.warehouse.record_epoch(&record("p", 1, epoch), &fixture.never)).unwrap();
    }
    block_on(fixture.warehouse.record_epoch(&record("p", 1, 20_000), &fixture.never)).unwrap();
    let left = fixture.rows("SELECT epoch FROM star._dabi_epochs ORDER BY epoch");
    let left: Vec<u64> = left.iter().map(|row| row["epoch"].as_u64().unwrap()).collect();
    assert_eq!(left, [10_000, 10_002, 20_000]);
}
