//! Filling the tables of a transform that is new, while live events go on.
//!
//! Owns the rows from before the switch: the lake is replayed up to the
//! position at which the transform was switched to, beside the live epochs.
//!
//! Why the star ends right. Live epochs after the switch carry versions above
//! that of the last epoch before it, and every row that is filled in carries
//! exactly that one. So a live row or tombstone wins over a filled one, a filled
//! one over whatever an older module left, and among equal versions ClickHouse
//! keeps the row that was inserted last: pages go in one after the other, in the
//! order of the lake, and only once every epoch before the switch is stored.
//! The events below the position are replayed, the others went through the live
//! lane: each exactly once. Truncates of either part are held against the other
//! at the end (`Change::Filled`). Until then `_dabi_epochs` does not name the
//! module; so after a crash the next start fills the tables anew.

use std::sync::Arc;
use std::time::Duration;

use dabi_core::change::ChangeBatch;
use dabi_core::dead_letter::DeadLetter;
use dabi_core::position::Position;
use dabi_core::star::TargetTable;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::evaluate::LiveTransform;
use super::evaluator::Evaluator;
use super::neighbours::StarWarehouse;
use super::replay::Pages;
use super::retry::Retrier;
use super::star_lane;
use super::status::Status;
use super::swap::{Change, Switched};
use super::{PipelineError, on_cpu};
use crate::failpoint::{Failpoint, reach};
use crate::lake::Lake;
use crate::telemetry::Metrics;

/// How often to look whether lake and star have come so far.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What a fill needs of the pipeline; cheap to clone.
#[derive(Clone)]
pub(super) struct Filler {
    pub(super) pipeline: String,
    pub(super) lake: Lake,
    pub(super) warehouse: Arc<dyn StarWarehouse>,
    pub(super) status: Status,
    pub(super) metrics: Metrics,
    pub(super) changes: mpsc::Sender<Change>,
    /// To the lake's lane.
    pub(super) letters: mpsc::Sender<Vec<DeadLetter>>,
    pub(super) page_rows: usize,
    pub(super) abort: CancellationToken,
}

impl Filler {
    /// What tries dead letters again in the same pipeline.
    pub(super) fn retrier(&self) -> Retrier {
        let Self { lake, warehouse, changes, .. } = self.clone();
        Retrier { lake, warehouse, changes }
    }

    /// Fills the tables of `transform` with the rows from before the switch,
    /// until `cancel`. `number` is known to no other fill of this run.
    pub(super) async fn fill(
        self,
        transform: LiveTransform,
        switched: Switched,
        number: u64,
        cancel: CancellationToken,
    ) {
        let (entry, module) = (transform.entry.clone(), transform.module().hash());
        let views: Vec<&str> = transform.tables.iter().map(TargetTable::view_name).collect();
        let views = views.join(", ");
        let filled = tokio::select! {
            biased;
            filled = self.replay(transform, &switched, number, &cancel) => filled,
            () = self.abort.cancelled() => return,
        };
        if cancel.is_cancelled() {
            return;
        }
        let change = match filled {
            Ok((transform, rows)) => match transform.stopped {
                Some(reason) => Change::Broken { entry, module, reason },
                None => {
                    tracing::info!("filled {views} with {rows} older events from the lake");
                    self.status.transform(&entry, |report| report.note = None);
                    let LiveTransform { truncates, letters, .. } = transform;
                    Change::Filled { entry, module, truncates, letters }
                }
            },
            Err(error) => {
                let note =
                    format!("its older rows could not be brought in: {error}; the next start tries again");
                tracing::error!("{views}: {note}");
                self.status.transform(&entry, |report| report.note = Some(note));
                return;
            }
        };
        reach(Failpoint::FillDone);
        // The lane is gone only when the pipeline is being torn down.
        let _ = self.changes.send(change).await;
    }

    /// Gives the transform back, with the truncates that it met, and how many
    /// events went through it.
    async fn replay(
        &self,
        transform: LiveTransform,
        switched: &Switched,
        number: u64,
        cancel: &CancellationToken,
    ) -> Result<(LiveTransform, usize), PipelineError> {
        self.until_stored(&switched.position, cancel).await;
        let source = transform.spec().source.clone();
        let mut pages = Pages::of(&self.lake, &source, self.page_rows).await?;
        let mut evaluator =
            Evaluator::new(self.pipeline.clone(), switched.term, vec![transform], self.status.clone());
        let (mut rows, mut page_number) = (0, 0_u64);
        while !cancel.is_cancelled()
            && evaluator.transforms.iter().all(|transform| transform.stopped.is_none())
            && let Some(page) = pages.next().await?
        {
            let page: Vec<ChangeBatch> =
                page.iter().filter_map(|batch| batch.done_at(&switched.position)).collect();
            rows += page.iter().map(ChangeBatch::num_rows).sum::<usize>();
            let epoch = switched.epoch;
            let star;
            (evaluator, star) = on_cpu(move || {
                let star = evaluator.evaluate_batches(&page, epoch);
                (evaluator, star)
            })
            .await;
            let star = star?.filling(number, page_number);
            star_lane::store(self.warehouse.as_ref(), &star, &self.metrics, &self.abort).await?;
            star_lane::hand_letters_on(&star, &self.letters).await;
            reach(Failpoint::FilledPage);
            page_number += 1;
        }
        let transform = evaluator.transforms.pop().expect("the one that was given");
        Ok((transform, rows))
    }

    /// Waits until the lake has every event below `position`, and the star
    /// every row of the epochs before the switch.
    pub(super) async fn until_stored(&self, position: &Position, cancel: &CancellationToken) {
        loop {
            let (lake, star) = self.status.positions();
            if lake.covers(position) && star.covers(position) || cancel.is_cancelled() {
                return;
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}
