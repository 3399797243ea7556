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
use crate::support::load::{Outcome, PARCELS_STAR, STAR};

/// Holds star and lake against what the source did.
pub(super) fn check(world: &World, outcome: &Outcome) {
    check_star(world, outcome);
    block_on(check_lake(&world.minio.lake("lake"), outcome));
}

/// Holds the star alone against it.
pub(super) fn check_star(world: &World, outcome: &Outcome) {
    for (query, expected) in [(STAR, outcome.star()), (PARCELS_STAR, outcome.parcels_star())] {
        let star = world.clickhouse.query(query);
        assert_eq!(lines(&star), lines(&expected), "the star equals the source: {query}");
    }
    assert_eq!(world.clickhouse.query("SELECT count() FROM dabi._dead_letters").trim(), "0");
}

/// Does the star equal the source already?
pub(super) fn star_equals(world: &World, outcome: &Outcome) -> bool {
    [(STAR, outcome.star()), (PARCELS_STAR, outcome.parcels_star())]
        .iter()
        .all(|(query, expected)| world.clickhouse.query(query) == *expected)
}

/// By key, so that a difference is shown and not two texts.
fn lines(text: &str) -> BTreeSet<&str> {
    text.lines().collect()
}

async fn check_lake(lake: &Lake, outcome: &Outcome) {
    check_table(lake, "orders", outcome.events, outcome.orders.len()).await;
    check_table(lake, "parcels", outcome.parcel_events, outcome.parcels.len()).await;
    let manifests = manifests(lake).await;
    let consumed: i64 = manifests
        .last()
        .map(|manifest| manifest.head().position.iter().map(|(_, _, next)| next.0).sum())
        .unwrap_or_default();
    let records = outcome.events + outcome.parcel_events + outcome.tombstones + outcome.unreadable;
    assert_eq!(consumed.cast_unsigned(), records, "records + skipped = offsets");
}

async fn check_table(lake: &Lake, table: &str, events: u64, rows: usize) {
    let table = SourceTable::new("shop", table);
    let mut fold = Fold::new(table.clone());
    let mut seen = BTreeSet::new();
    let mut batches = std::pin::pin!(lake.read_table(&table).await.expect("read the lake"));
    while let Some(batch) = batches.try_next().await.expect("read a batch") {
        for offset in batch.offsets().values() {
            assert!(
                seen.insert((batch.partition(), *offset)),
                "{table} {}[{offset}] twice",
                batch.partition()
            );
        }
        fold.apply(&batch).expect("fold a batch");
    }
    assert_eq!(seen.len() as u64, events, "every change event of {table} once in the lake");
    assert_eq!(fold.len(), rows, "the fold of {table} has as many rows as the source");
}
