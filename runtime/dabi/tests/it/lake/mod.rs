//! The lake, from decoded events back to decoded events.

mod duckdb;
mod faults;
pub(crate) mod fixtures;
mod minio;
mod round_trip;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use dabi::lake::{Committer, Encoder, Lake, LakeError, LakeLimits, LakeSettings};
use dabi::pipeline::Status;
use dabi_core::change::ChangeBatch;
use dabi_core::debezium::Decoded;
use dabi_core::manifest::{Author, WriterId};
use dabi_core::table::SourceTable;
use dabi_core::version::Epoch;
use futures::TryStreamExt as _;
use object_store::memory::InMemory;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A writer of a lake, both halves in step.
struct Writer {
    encoder: Encoder,
    committer: Committer,
    author: Author,
}

impl Writer {
    async fn open(lake: &Lake, id: &str) -> Result<Self, LakeError> {
        Self::with_limits(lake, id, LakeLimits::default()).await
    }

    async fn with_limits(lake: &Lake, id: &str, limits: LakeLimits) -> Result<Self, LakeError> {
        let author = lake.claim_term("shop", &WriterId::new(id).expect("a plain id")).await?;
        let stop = CancellationToken::new();
        let (encoder, committer) = lake.open_writer(author.clone(), limits, Status::default(), stop).await?;
        Ok(Self { encoder, committer, author })
    }

    fn append(&mut self, decoded: &Decoded) {
        self.encoder.append(decoded, Instant::now()).expect("it continues");
    }

    async fn flush(&mut self) -> Result<(), LakeError> {
        match self.encoder.seal(Epoch(1))? {
            Some(sealed) => self.committer.commit(sealed).await.map(drop),
            None => Ok(()),
        }
    }

    async fn write(&mut self, decoded: &Decoded) -> Result<(), LakeError> {
        self.append(decoded);
        self.flush().await
    }
}

fn memory_lake() -> Lake {
    Lake::in_store(Arc::new(InMemory::new()))
}

async fn local_lake(folder: &tempfile::TempDir) -> Lake {
    let url = folder.path().join("lake").display().to_string();
    Lake::open_for_writing(&LakeSettings::at(url)).await.expect("a folder of our own")
}

/// Per partition, the runs of one wire schema in offset order, each as one batch.
type Runs = BTreeMap<(String, i32), Vec<RecordBatch>>;

fn runs(batches: &[ChangeBatch]) -> Runs {
    let mut grouped: BTreeMap<(String, i32), Vec<Vec<RecordBatch>>> = BTreeMap::new();
    for batch in batches {
        let groups = grouped.entry((batch.topic().to_string(), batch.partition())).or_default();
        let batch = batch.record_batch();
        match groups.last_mut().filter(|group| group[0].schema() == batch.schema()) {
            Some(group) => group.push(batch.clone()),
            None => groups.push(vec![batch.clone()]),
        }
    }
    let join = |group: Vec<RecordBatch>| concat_batches(&group[0].schema(), &group).expect("one schema");
    grouped.into_iter().map(|(key, groups)| (key, groups.into_iter().map(join).collect())).collect()
}

async fn read(lake: &Lake, table: &SourceTable) -> Vec<ChangeBatch> {
    lake.read_table(table).await.expect("a readable lake").try_collect().await.expect("readable files")
}

/// The lake holds exactly `written`, in order: same columns, same types, same
/// metadata, same values.
async fn check_holds(lake: &Lake, table: &SourceTable, written: &[ChangeBatch]) {
    let (have, want) = (runs(&read(lake, table).await), runs(written));
    assert_eq!(have.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (partition, want) in &want {
        let have = &have[partition];
        assert_eq!(have.len(), want.len(), "schemas of {partition:?}");
        for (have, want) in have.iter().zip(want) {
            assert_eq!(have.schema(), want.schema());
            for (field, (have, want)) in
                want.schema().fields().iter().zip(have.columns().iter().zip(want.columns()))
            {
                assert_eq!(have, want, "column {} of {partition:?}", field.name());
            }
        }
    }
}
