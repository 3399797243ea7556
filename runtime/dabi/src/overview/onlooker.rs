//! What only ClickHouse knows: how many rows a reader finds in each target, and
//! the latest dead letters.
//!
//! Owns when to ask. Invariants: a question is asked again only when something
//! was written since, and takes at most a twentieth of the time, because an
//! exact count of a large target is real work; a warehouse that is away is not
//! waited for here.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::snapshot::{DeadLetters, RowCount};
use crate::pipeline::{Status, now_ms};
use crate::telemetry::{Metrics, TableLabel};
use crate::warehouse::{LetterFilter, Warehouse, WarehouseError};

const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A question is not asked more often than this.
const ASK_EVERY_MIN: Duration = Duration::from_secs(1);
/// It rests this many times as long as it took …
const REST: u32 = 19;
/// … but after one long one, which an outage may have caused, no longer than this.
const REST_MAX: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(5);
/// Dead letters that are shown.
const LETTERS_SHOWN: usize = 20;

/// What was seen; shared with the sampler.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) rows: BTreeMap<String, RowCount>,
    pub(super) dead_letters: DeadLetters,
}

/// A question that was asked.
#[derive(Debug)]
struct Asked {
    at: Instant,
    took: Duration,
    /// How much had been written then.
    written: u64,
}

/// Is it time to ask, now that `written` has been written?
fn due(last: Option<&Asked>, written: u64, now: Instant) -> bool {
    let Some(last) = last else { return true };
    let rest = (last.took * REST).clamp(ASK_EVERY_MIN, REST_MAX);
    written != last.written && now.saturating_duration_since(last.at) >= rest
}

/// Looks at the warehouse on behalf of the sampler.
pub(super) struct Onlooker {
    pub(super) metrics: Metrics,
    pub(super) status: Status,
    pub(super) warehouse: watch::Receiver<Option<Warehouse>>,
    pub(super) seen: watch::Sender<Seen>,
}

impl Onlooker {
    /// Looks until `stop`.
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut targets: BTreeMap<String, Asked> = BTreeMap::new();
        let mut letters: Option<Asked> = None;
        while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
            let Some(warehouse) = self.warehouse.borrow().clone() else { continue };
            let looked = stop.run_until_cancelled(self.look(&warehouse, &mut targets, &mut letters)).await;
            if let Some(Err(error)) = looked {
                tracing::debug!(%error, "the overview goes on with older counts");
            }
        }
    }

    async fn look(
        &self,
        warehouse: &Warehouse,
        targets: &mut BTreeMap<String, Asked>,
        letters: &mut Option<Asked>,
    ) -> Result<(), WarehouseError> {
        for (target, _) in self.status.report().targets() {
            let label = TableLabel { table: target.to_owned() };
            let written = self.metrics.star_rows.get_or_create(&label).get();
            if due(targets.get(target), written, Instant::now()) {
                let (asked, answer) = ask(written, warehouse.count_rows(target, PATIENCE)).await;
                targets.insert(target.to_owned(), asked);
                let count = RowCount { count: answer?, at_ms: now_ms() };
                self.seen.send_modify(|seen| {
                    seen.rows.insert(target.to_owned(), count);
                });
            }
        }
        let written = self.metrics.totals.dead_letters.get();
        if due(letters.as_ref(), written, Instant::now()) {
            let (asked, answer) = ask(written, dead_letters(warehouse)).await;
            *letters = Some(asked);
            let dead_letters = answer?;
            self.seen.send_modify(|seen| seen.dead_letters = dead_letters);
        }
        Ok(())
    }
}

async fn ask<T>(written: u64, question: impl Future<Output = T>) -> (Asked, T) {
    let start = Instant::now();
    let answer = question.await;
    (Asked { at: Instant::now(), took: start.elapsed(), written }, answer)
}

async fn dead_letters(warehouse: &Warehouse) -> Result<DeadLetters, WarehouseError> {
    Ok(DeadLetters {
        stored: Some(warehouse.count_dead_letters(PATIENCE).await?),
        latest: warehouse.latest_dead_letters(&LetterFilter::default(), LETTERS_SHOWN, PATIENCE).await?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_asked_for_what_has_not_changed_or_costs_too_much() {
        let now = Instant::now();
        let after = |ms| now + Duration::from_millis(ms);
        assert!(due(None, 0, now), "what was never asked is");
        let quick = Asked { at: now, took: Duration::from_millis(3), written: 10 };
        assert!(!due(Some(&quick), 11, after(900)));
        assert!(due(Some(&quick), 11, after(1000)));
        assert!(!due(Some(&quick), 10, after(3_600_000)), "nothing was written since");
        let slow = Asked { at: now, took: Duration::from_secs(2), written: 10 };
        assert!(!due(Some(&slow), 11, after(37_000)) && due(Some(&slow), 11, after(38_000)));
        let outage = Asked { at: now, took: Duration::from_secs(20), written: 10 };
        assert!(due(Some(&outage), 11, after(60_000)));
    }
}
