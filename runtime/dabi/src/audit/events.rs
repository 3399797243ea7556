//! The events in the lake that decide some rows: those of the rows themselves, of
//! the keys that they had before, and of what they look up.
//!
//! Owns which keys those are. Does not own where the events lie (`tables`).

use std::collections::BTreeMap;

use dabi_core::change::ChangeBatch;
use dabi_core::fold::Truncates;
use dabi_core::recompute::trace::{Keys, events_of, former_keys, goes_on_from, looked_for};
use dabi_core::spec::Spec;
use dabi_core::table::SourceTable;
use futures::TryStreamExt as _;

use super::AuditError;
use super::tables::EventsAt;
use crate::pipeline::on_cpu;

/// The events that decide the rows of `keys`, by table.
pub(super) async fn all_events(spec: &Spec, mut keys: Keys, at: EventsAt<'_>) -> Result<Events, AuditError> {
    let (mut own, _) = key_events(&spec.source, &keys, at).await?;
    let former = former_keys(&own);
    if !former.is_subset(&keys) {
        keys.extend(former);
        (own, _) = key_events(&spec.source, &keys, at).await?;
    }
    let mut steps = vec![own.clone()];
    let mut wanted: BTreeMap<SourceTable, Keys> = BTreeMap::from([(spec.source.clone(), keys)]);
    for (number, lookup) in spec.lookups.iter().enumerate() {
        let keys = looked_for(spec, number, &steps[goes_on_from(spec, number)]);
        steps.push(key_events(&lookup.table, &keys, at).await?.0);
        wanted.entry(lookup.table.clone()).or_default().extend(keys);
    }
    let mut all = Events::default();
    for (table, keys) in wanted {
        // Several lookups may look into one table.
        let (events, truncates) = key_events(&table, &keys, at).await?;
        all.found.insert(table.clone(), events);
        all.truncates.insert(table, truncates);
    }
    Ok(all)
}

async fn key_events(
    table: &SourceTable,
    keys: &Keys,
    at: EventsAt<'_>,
) -> Result<(Vec<ChangeBatch>, Truncates), AuditError> {
    let (mut events, mut truncates) = (Vec::new(), Truncates::default());
    let mut batches = std::pin::pin!(at.read(table).await?);
    while let Some(batch) = batches.try_next().await? {
        truncates.learn([&batch]);
        let keys = keys.clone();
        events.extend(on_cpu(move || events_of(&batch, &keys)).await);
    }
    Ok((events, truncates))
}

/// What decides some rows, by table.
#[derive(Default)]
pub(super) struct Events {
    pub(super) found: BTreeMap<SourceTable, Vec<ChangeBatch>>,
    /// Of all events: which rows a snapshot has missed, other rows say too.
    pub(super) truncates: BTreeMap<SourceTable, Truncates>,
}
