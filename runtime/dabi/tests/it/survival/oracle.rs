//! After the source has come to rest and dabi has caught up: the star equals
//! the source, the lake folds to the source, and every event is in it once.

use std::collections::BTreeSet;

use dabi::lake::Lake;
use dabi_core::fold::Fold;
use dabi_core::table::SourceTable;
use futures::TryStreamExt;

use super::World;
use crate::support::block_on;
use crate::support::lake::manifests;
use crate::support::load::{Outcome, STAR};

/// Holds star and lake against what the source did.
pub(super) fn check(world: &World, outcome: &Outcome) {
    let star = world.clickhouse.query(STAR);
    let expected = outcome.star();
    assert_eq!(lines(&star), lines(&expected), "the star equals the source");
    assert_eq!(world.clickhouse.query("SELECT count() FROM dabi._dead_letters").trim(), "0");
    block_on(check_lake(&world.minio.lake("lake"), outcome));
}

/// By key, so that a difference is shown and not two texts.
fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().collect()
}

async fn check_lake(lake: &Lake, outcome: &Outcome) {
    let table = SourceTable::new("shop", "orders");
    let mut fold = Fold::new(table.clone());
    let mut seen = BTreeSet::new();
    let mut batches = std::pin::pin!(lake.read_table(&table).await.expect("read the lake"));
    while let Some(batch) = batches.try_next().await.expect("read a batch") {
        for offset in batch.offsets().values() {
            assert!(seen.insert((batch.partition(), *offset)), "{}[{offset}] twice", batch.partition());
        }
        fold.apply(&batch).expect("fold a batch");
    }
    assert_eq!(seen.len() as u64, outcome.events, "every change event once in the lake");
    assert_eq!(fold.len(), outcome.orders.len(), "the fold has as many rows as the source");

    let manifests = manifests(lake).await;
    let consumed: i64 = manifests
        .last()
        .map(|manifest| manifest.head().position.iter().map(|(_, _, next)| next.0).sum())
        .unwrap_or_default();
    assert_eq!(consumed.cast_unsigned(), outcome.events + outcome.tombstones, "records + skipped = offsets");
}
