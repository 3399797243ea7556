//! The lake's lane: epochs → Parquet → manifests.
//!
//! Owns when to commit. Rows are encoded while the commit before is on its way;
//! one commit is under way at a time. Does not own files or manifests (`lake`).
//!
//! Invariant: the position reported is one that a manifest holds.

use std::sync::Arc;

use dabi_core::dead_letter::DeadLetter;
use dabi_core::position::Position;
use dabi_core::version::Epoch;
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::epoch::SealedEpoch;
use super::status::Status;
use super::{PipelineError, on_cpu};
use crate::lake::{Committer, Encoder, LakeError};
use crate::telemetry::{Metrics, Stage};

/// The lane.
pub(super) struct LakeLane {
    /// The CPU half of the writer.
    pub(super) encoder: Encoder,
    /// The I/O half of the writer.
    pub(super) committer: Committer,
    /// Records below it are in the lake already.
    pub(super) start: Position,
    /// Told of every commit.
    pub(super) status: Status,
    /// What is counted.
    pub(super) metrics: Metrics,
}

/// A commit on its way, which gives the committer back.
type Commit = BoxFuture<'static, Result<Committer, LakeError>>;

impl LakeLane {
    /// Takes every epoch, and every letter of a transform, that arrives and commits
    /// when due, until both senders are gone; then commits what is left.
    ///
    /// # Errors
    /// If the lake halts: another owner took over, or the store refuses for good.
    pub(super) async fn run(
        self,
        mut epochs: mpsc::UnboundedReceiver<Arc<SealedEpoch>>,
        mut letters: mpsc::Receiver<Vec<DeadLetter>>,
    ) -> Result<(), PipelineError> {
        let Self { mut encoder, committer, start, status, metrics } = self;
        let start = Arc::new(start);
        let mut idle = Some(committer);
        let mut under_way: Option<Commit> = None;
        let mut last = Epoch(0);
        let (mut has_epochs, mut has_letters) = (true, true);
        while has_epochs || has_letters {
            if encoder.due(Instant::now())
                && let Some(committer) = idle.take()
            {
                (encoder, under_way) = seal(encoder, committer, last, &metrics, &status).await?;
            }
            let wake = encoder.due_at().filter(|_| idle.is_some());
            let takes_more = idle.is_some() || !encoder.due(Instant::now());
            tokio::select! {
                biased;
                committed = async { under_way.as_mut().expect("guarded").await }, if under_way.is_some() => {
                    let committer = committed?;
                    status.lake(committer.position());
                    (idle, under_way) = (Some(committer), None);
                }
                // Encoded bytes are bounded: while a commit is under way, at
                // most as much again is encoded; then epochs wait, and memory
                // for new ones runs out.
                epoch = epochs.recv(), if has_epochs && takes_more => match epoch {
                    None => has_epochs = false,
                    Some(epoch) => {
                        if epoch.is_turn {
                            let committer = match under_way.take() {
                                Some(commit) => commit.await?,
                                None => idle.take().expect("no commit is under way"),
                            };
                            (encoder, under_way) = seal(encoder, committer, last, &metrics, &status).await?;
                        }
                        last = epoch.number;
                        encoder = append(encoder, epoch, Arc::clone(&start), metrics.clone()).await?;
                    }
                },
                raised = letters.recv(), if has_letters && takes_more => match raised {
                    None => has_letters = false,
                    Some(raised) => encoder.append_dead_letters(raised, Instant::now()),
                },
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
            }
            metrics.lake_pending_bytes.set(i64::try_from(encoder.pending_bytes()).unwrap_or(i64::MAX));
        }
        let committer = match under_way {
            Some(commit) => commit.await?,
            None => idle.expect("no commit is under way"),
        };
        let (_, rest) = seal(encoder, committer, last, &metrics, &status).await?;
        if let Some(rest) = rest {
            status.lake(rest.await?.position());
        }
        metrics.lake_pending_bytes.set(0);
        Ok(())
    }
}

async fn append(
    mut encoder: Encoder,
    epoch: Arc<SealedEpoch>,
    start: Arc<Position>,
    metrics: Metrics,
) -> Result<Encoder, LakeError> {
    on_cpu(move || {
        metrics.timed(Stage::Lake, || {
            for decoded in &epoch.decoded {
                if decoded.is_new_to(&start) {
                    encoder.append(decoded, Instant::now())?;
                }
            }
            Ok(encoder)
        })
    })
    .await
}

async fn seal(
    mut encoder: Encoder,
    mut committer: Committer,
    last: Epoch,
    metrics: &Metrics,
    status: &Status,
) -> Result<(Encoder, Option<Commit>), LakeError> {
    let cpu = metrics.clone();
    let (encoder, sealed) = on_cpu(move || {
        let sealed = cpu.timed(Stage::Lake, || encoder.seal(last));
        (encoder, sealed)
    })
    .await;
    let sealed = sealed?;
    let (metrics, status) = (metrics.clone(), status.clone());
    let commit = async move {
        if let Some(sealed) = sealed {
            let (files, bytes) = (sealed.files(), sealed.bytes());
            committer.commit(sealed).await?;
            metrics.lake_files.inc_by(files as u64);
            metrics.lake_bytes.inc_by(bytes as u64);
            status.lake_committed();
        }
        Ok(committer)
    };
    Ok((encoder, Some(commit.boxed())))
}
