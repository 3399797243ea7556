//! Epochs for tests: the same ones every time, so that what a store should hold
//! after any of them can be worked out anew.

use std::collections::BTreeMap;

use arrow::array::{BinaryArray, BooleanArray};
use dabi_core::engine::state::{Commit, Puts, Regroupings, Space};
use dabi_core::version::{Epoch, Term};
use fastrand::Rng;

use super::model::Model;

/// Two spaces with values, two with members; one number is used for both.
const VALUES: [Space; 2] = [Space(1), Space(7)];
const GROUPS: [Space; 2] = [Space(2), Space(7)];

/// Epoch `epoch` of term 1: some dozens of changes.
pub(super) fn epoch(epoch: u64) -> Commit {
    let mut rng = Rng::with_seed(epoch);
    let puts = VALUES.map(|space| {
        let changes: BTreeMap<Vec<u8>, Option<Vec<u8>>> = (0..rng.usize(0..20))
            .map(|_| (key(rng.u32(0..200)), (rng.u8(..) > 50).then(|| value(&mut rng))))
            .collect();
        puts(space, changes)
    });
    let regroupings = GROUPS.map(|space| {
        let changes: BTreeMap<_, _> = (0..rng.usize(0..50))
            .map(|_| {
                // half of all in one large group
                let group = rng.u32(0..20).saturating_sub(10);
                ((key(group), key(rng.u32(0..600))), rng.u8(..) > 60)
            })
            .collect();
        regroupings(space, changes)
    });
    Commit {
        term: Term(1),
        epoch: Epoch(epoch),
        puts: puts.into(),
        regroupings: regroupings.into(),
        meta: format!("positions at {epoch}").into_bytes(),
        // Now and then there is nothing to send.
        outbox: vec![(epoch % 251) as u8; rng.usize(0..500).saturating_sub(100)],
    }
}

/// What is there after the first `epochs`.
pub(super) fn model_after(epochs: u64) -> Model {
    let mut model = Model::default();
    (1..=epochs).for_each(|number| model.commit(&epoch(number)));
    model
}

pub(super) fn puts(space: Space, changes: BTreeMap<Vec<u8>, Option<Vec<u8>>>) -> Puts {
    let (keys, values): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
    Puts { space, keys: keys.into_iter().map(Some).collect(), values: BinaryArray::from_iter(values) }
}

pub(super) fn regroupings(space: Space, changes: BTreeMap<(Vec<u8>, Vec<u8>), bool>) -> Regroupings {
    let (pairs, joins): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
    let (groups, members): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    Regroupings {
        space,
        groups: groups.into_iter().map(Some).collect(),
        members: members.into_iter().map(Some).collect(),
        joins: BooleanArray::from(joins),
    }
}

fn key(number: u32) -> Vec<u8> {
    [&number.to_be_bytes()[..], &vec![0; number as usize % 30]].concat()
}

/// Mostly small, now and then larger than what shares a chunk.
fn value(rng: &mut Rng) -> Vec<u8> {
    let len = if rng.u8(..) < 2 { rng.usize(10_000..40_000) } else { rng.usize(0..200) };
    vec![rng.u8(..); len]
}
