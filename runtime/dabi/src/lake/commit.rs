//! Uploads and manifests: the I/O half of the writer.
//!
//! Owns the order that makes a commit exact: all files first, then the manifest
//! that names them, by conditional PUT. Files of a commit that never came are
//! left behind and mean nothing. Does not own what is in them (`encode`).

use std::sync::Arc;

use bytes::Bytes;
use dabi_core::manifest::{
    Author, Checkpoint, CheckpointRange, Contents, Head, Manifest, ManifestNumber, Refusal,
};
use dabi_core::position::Position;
use dabi_core::version::Epoch;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use object_store::PutMode;
use tokio_util::sync::CancellationToken;

use super::encode::{Encoder, Sealed};
use super::error::LakeError;
use super::retry::Patience;
use super::settings::LakeLimits;
use super::store::{Created, Store};
use super::{Lake, read};
use crate::failpoint::{Failpoint, reach};
use crate::pipeline::Status;

/// Commits sealed files to the lake, one commit after the other.
pub struct Committer {
    store: Store,
    author: Author,
    patience: Arc<Patience>,
    uploads: usize,
    checkpoint_every: u64,
    head: Head,
    /// Manifests since the last checkpoint that this process has written.
    recent: Vec<Manifest>,
}

impl Lake {
    /// Takes the lake over under the term of `author`, with an empty manifest:
    /// from then on no older writer can commit. The position to read Kafka from
    /// is [`Committer::position`].
    ///
    /// Requests of the committer are retried until `stop`; `status` is told while
    /// the store does not answer.
    ///
    /// # Errors
    /// If a newer term has written, the lake is another pipeline's, or the store
    /// refuses.
    pub async fn open_writer(
        &self,
        author: Author,
        limits: LakeLimits,
        status: Status,
        stop: CancellationToken,
    ) -> Result<(Encoder, Committer), LakeError> {
        let patience = Arc::new(Patience::new(status, stop));
        loop {
            let head = self.head().await?;
            let opening = Manifest::next(head.as_ref(), &author, Epoch(0), Contents::default());
            let opening = opening.map_err(|refusal| fenced_by(refusal, head.as_ref()))?;
            let bytes = to_json(&opening)?;
            let path = opening.number.path();
            let created = patience
                .until_done("take over with", &path, || self.store.create(&path, bytes.clone()))
                .await?;
            if let Created::Theirs(_) = created {
                // someone was faster: an older term is outdone by trying
                // again, a newer one is seen as the head
                continue;
            }
            let head = opening.head();
            let encoder = Encoder::new(&author, head.position.clone(), limits.clone());
            let committer = Committer {
                store: self.store.clone(),
                author,
                patience,
                uploads: limits.uploads.max(1),
                checkpoint_every: limits.checkpoint_every.max(1),
                head,
                recent: vec![opening],
            };
            return Ok((encoder, committer));
        }
    }
}

impl Committer {
    /// The position that the lake has durably reached.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.head.position
    }

    /// Where the lake stands.
    #[must_use]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Uploads the files, then commits the manifest. An outage of the store is
    /// waited out.
    ///
    /// # Errors
    /// [`LakeError::Fenced`] if another writer has taken over; `Stopped` if the
    /// stop signal came first; else what no retry can help. Nothing is committed
    /// then, and the committer must not be used again.
    pub async fn commit(&mut self, sealed: Sealed) -> Result<&Position, LakeError> {
        let Sealed { epoch, contents, objects } = sealed;
        let manifest = Manifest::next(Some(&self.head), &self.author, epoch, contents)?;
        stream::iter(objects)
            .map(|(path, bytes)| self.upload(path, bytes))
            .buffer_unordered(self.uploads)
            .try_collect::<()>()
            .await?;
        reach(Failpoint::ManifestDue);
        self.publish(manifest).await?;
        reach(Failpoint::ManifestCommitted);
        if self.head.number.0.is_multiple_of(self.checkpoint_every) {
            self.write_checkpoint().await;
        }
        Ok(&self.head.position)
    }

    async fn upload(&self, path: String, bytes: Bytes) -> Result<(), LakeError> {
        reach(Failpoint::UploadDue);
        self.patience.until_done("upload", &path, || self.store.upload(&path, bytes.clone())).await?;
        reach(Failpoint::Uploaded);
        Ok(())
    }

    async fn publish(&mut self, manifest: Manifest) -> Result<(), LakeError> {
        let path = manifest.number.path();
        let bytes = to_json(&manifest)?;
        let created =
            self.patience.until_done("commit", &path, || self.store.create(&path, bytes.clone())).await?;
        if let Created::Theirs(found) = created {
            let other: Manifest = read::from_json(&path, &found)?;
            return Err(LakeError::Fenced {
                term: self.author.term,
                by: other.term,
                writer: other.writer.to_string(),
                number: other.number,
            });
        }
        self.head = manifest.head();
        self.recent.push(manifest);
        Ok(())
    }

    /// A checkpoint only saves requests, so a failed one is left to the next.
    async fn write_checkpoint(&mut self) {
        match self.try_write_checkpoint().await {
            Ok(range) => {
                reach(Failpoint::ManifestsCheckpointed);
                tracing::debug!(first = %range.first, last = %range.last, "wrote a checkpoint of the lake");
                self.recent.clear();
            }
            Err(error) => {
                tracing::warn!(%error, "no checkpoint of the lake was written; the next one will cover it");
            }
        }
    }

    async fn try_write_checkpoint(&self) -> Result<CheckpointRange, LakeError> {
        let last = self.head.number;
        let checkpoints = read::list_checkpoints(&self.store).await?;
        let first = checkpoints.iter().map(|range| range.last.next()).max().unwrap_or(ManifestNumber::FIRST);
        let own = self.recent.first().map_or(last.next(), |manifest| manifest.number);
        let older = stream::iter((first.0..own.0).map(ManifestNumber))
            .map(|number| read::read_manifest(&self.store, number))
            .buffered(self.uploads);
        let mut manifests: Vec<Manifest> = older.try_collect().await?;
        manifests.extend(self.recent.iter().filter(|manifest| manifest.number >= first).cloned());
        let range = CheckpointRange { first, last };
        let path = range.path();
        let bytes = to_json(&Checkpoint { manifests })?;
        self.store
            .put(&path, bytes, PutMode::Overwrite)
            .await
            .map_err(super::store::store_error("write checkpoint", &path))?;
        Ok(range)
    }
}

/// A newer term in the head is a fence like any other.
fn fenced_by(refusal: Refusal, head: Option<&Head>) -> LakeError {
    match (refusal, head) {
        (Refusal::Term { term, newer }, Some(head)) => {
            LakeError::Fenced { term, by: newer, writer: head.writer.to_string(), number: head.number }
        }
        (refusal, _) => refusal.into(),
    }
}

fn to_json(value: &impl serde::Serialize) -> Result<Bytes, LakeError> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|e| LakeError::Settings(format!("write a manifest as JSON: {e}")))
}
