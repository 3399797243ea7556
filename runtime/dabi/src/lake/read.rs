//! Reading manifests, checkpoints and the head.
//!
//! Owns how the sequence is found with few requests: checkpoints are listed
//! first, then only the manifests after the newest one.

use dabi_core::manifest::{
    CHECKPOINTS, Checkpoint, CheckpointRange, DataFile, FORMAT, Head, MANIFESTS, Manifest, ManifestNumber,
    ReadStep, Refusal, plan_reading,
};
use dabi_core::table::SourceTable;
use futures::{Stream, StreamExt as _, TryStreamExt as _, future, stream};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::Lake;
use super::error::LakeError;
use super::store::{Store, store_error};

/// Objects fetched at once.
pub(super) const FETCHES: usize = 16;

impl Lake {
    /// Where the lake stands; `None` before the first commit.
    ///
    /// # Errors
    /// If the store refuses, or the newest manifest is damaged or too new.
    pub async fn head(&self) -> Result<Option<Head>, LakeError> {
        let checkpoints = list_checkpoints(&self.store).await?;
        let Some(number) = newest(&self.store, &checkpoints).await? else { return Ok(None) };
        Ok(Some(read_manifest(&self.store, number).await?.head()))
    }

    /// Every manifest up to the head at the time of the call, in order, each
    /// checked against the one before.
    ///
    /// # Errors
    /// If the store refuses.
    pub async fn manifests(
        &self,
    ) -> Result<impl Stream<Item = Result<Manifest, LakeError>> + Send + use<>, LakeError> {
        let checkpoints = list_checkpoints(&self.store).await?;
        let head = newest(&self.store, &checkpoints).await?.unwrap_or(ManifestNumber(0));
        let store = self.store.clone();
        let read = stream::iter(plan_reading(&checkpoints, head))
            .map(move |step| read_step(store.clone(), step))
            .buffered(FETCHES)
            .map_ok(|manifests| stream::iter(manifests.into_iter().map(Ok)))
            .try_flatten();
        let mut previous: Option<Head> = None;
        Ok(read.and_then(move |manifest: Manifest| {
            let checked = manifest.follows(previous.as_ref());
            previous = Some(manifest.head());
            future::ready(checked.map(|()| manifest).map_err(LakeError::from))
        }))
    }

    /// The files of change events that are in the lake, of `table` or of all.
    ///
    /// # Errors
    /// If the store refuses or a manifest is damaged.
    pub async fn files(&self, table: Option<&SourceTable>) -> Result<Vec<DataFile>, LakeError> {
        let mut files = Vec::new();
        let mut manifests = std::pin::pin!(self.manifests().await?);
        while let Some(manifest) = manifests.try_next().await? {
            let wanted = |file: &DataFile| table.is_none_or(|table| file.table == *table);
            files.extend(manifest.files.into_iter().filter(wanted));
        }
        Ok(files)
    }
}

/// The checkpoints that exist, by range.
pub(super) async fn list_checkpoints(store: &Store) -> Result<Vec<CheckpointRange>, LakeError> {
    let paths = store.list(CHECKPOINTS, None).await.map_err(store_error("list", CHECKPOINTS))?;
    Ok(paths.iter().filter_map(|path| CheckpointRange::from_path(path)).collect())
}

async fn newest(store: &Store, checkpoints: &[CheckpointRange]) -> Result<Option<ManifestNumber>, LakeError> {
    let covered = checkpoints.iter().map(|range| range.last).max();
    let after = covered.map(ManifestNumber::path);
    let paths = store.list(MANIFESTS, after.as_deref()).await.map_err(store_error("list", MANIFESTS))?;
    Ok(paths.iter().filter_map(|path| ManifestNumber::from_path(path)).max().max(covered))
}

async fn read_step(store: Store, step: ReadStep) -> Result<Vec<Manifest>, LakeError> {
    match step {
        ReadStep::Manifest(number) => Ok(vec![read_manifest(&store, number).await?]),
        ReadStep::Checkpoint { range, from } => {
            let path = range.path();
            let bytes = store.get(&path).await.map_err(store_error("read", &path))?;
            let checkpoint: Checkpoint = from_json(&path, &bytes)?;
            Ok(checkpoint.manifests.into_iter().filter(|manifest| manifest.number >= from).collect())
        }
    }
}

pub(super) async fn read_manifest(store: &Store, number: ManifestNumber) -> Result<Manifest, LakeError> {
    let path = number.path();
    let bytes = store.get(&path).await.map_err(store_error("read", &path))?;
    // a newer format may not even parse: look at its number first
    let Format { format } = from_json(&path, &bytes)?;
    if format > FORMAT {
        return Err(Refusal::Format { number, format }.into());
    }
    from_json(&path, &bytes)
}

#[derive(Deserialize)]
struct Format {
    format: u32,
}

pub(super) fn from_json<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T, LakeError> {
    serde_json::from_slice(bytes)
        .map_err(|e| LakeError::Damaged { path: path.to_owned(), reason: e.to_string() })
}
