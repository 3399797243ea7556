//! What must be true of a lake that has come to rest.

use std::collections::BTreeMap;

use arrow::array::{Array, RecordBatch};
use dabi::lake::Lake;
use dabi_core::change::{ChangeBatch, meta};
use dabi_core::debezium::Skip;
use dabi_core::fold::Fold;
use dabi_core::manifest::Manifest;
use dabi_core::table::SourceTable;
use dabi_fixtures::{Table, read};
use futures::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// All manifests, in order.
pub(crate) async fn manifests(lake: &Lake) -> Vec<Manifest> {
    lake.manifests().await.expect("readable").try_collect().await.expect("readable")
}

/// All change events of a table.
pub(crate) async fn events(lake: &Lake, table: &SourceTable) -> Vec<ChangeBatch> {
    lake.read_table(table).await.expect("readable").try_collect().await.expect("readable")
}

/// The dead letters that the manifests name, of a lake under `prefix` of `store`.
pub(crate) async fn dead_letters(
    store: &impl ObjectStore,
    prefix: &str,
    manifests: &[Manifest],
) -> Vec<RecordBatch> {
    let mut letters = Vec::new();
    for file in manifests.iter().flat_map(|manifest| &manifest.dead_letters) {
        let object = store.get(&format!("{prefix}/{}", file.path).into()).await.expect("it was uploaded");
        let bytes = object.bytes().await.expect("it was uploaded whole");
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(ParquetRecordBatchReaderBuilder::build);
        letters.extend(reader.expect("a Parquet file").map(|batch| batch.expect("readable")));
    }
    letters
}

/// Where the manifests do not account for `sent` records of `topic`, a line.
pub(crate) fn unaccounted(manifests: &[Manifest], topic: &str, sent: u64) -> String {
    let commits = || manifests.iter().filter_map(|manifest| manifest.topics.get(topic));
    let done: u64 = commits().flat_map(|commit| commit.spans.values()).map(|span| span.offsets()).sum();
    let skipped: u64 = commits().flat_map(|commit| commit.skipped.values()).sum();
    let unrecorded: u64 = commits().map(|commit| commit.unrecorded).sum();
    let dead: u64 = commits().filter_map(|commit| commit.skipped.get(&Skip::DeadLetter)).sum();
    let spans = manifests.iter().flat_map(|manifest| &manifest.files);
    let spans = spans.filter_map(|file| file.spans.get(topic));
    let rows: u64 = spans.flat_map(|spans| spans.values()).map(|span| span.rows).sum();
    if (done, unrecorded, dead, rows + skipped) == (sent, 0, 0, sent) {
        return String::new();
    }
    format!(
        "lake, {topic}: {sent} records were sent; {done} offsets are done, with {rows} rows, {skipped} skipped, \
         {dead} of them dead letters, {unrecorded} unrecorded\n"
    )
}

/// Events that stand in the lake more than once, a line for all.
pub(crate) fn doubled(events: &[ChangeBatch]) -> String {
    let mut times: BTreeMap<(&str, i32, i64), usize> = BTreeMap::new();
    for batch in events {
        for offset in batch.offsets().values() {
            *times.entry((batch.topic(), batch.partition(), *offset)).or_default() += 1;
        }
    }
    times.retain(|_, times| *times > 1);
    if times.is_empty() { String::new() } else { format!("lake: twice: {:?}\n", times.keys()) }
}

/// The rows that `events` fold to, read as the types of `table`.
pub(crate) fn folded(name: SourceTable, events: &[ChangeBatch], table: &Table) -> Vec<RecordBatch> {
    let mut fold = Fold::new(name);
    for batch in events {
        fold.apply(batch).expect("in order");
    }
    let rows = fold.rows();
    for batch in &rows {
        let unfilled = batch.num_rows() - batch.meta(meta::UNAVAILABLE).null_count();
        assert_eq!(unfilled, 0, "{}: values that were not sent, nor found", table.name);
    }
    rows.iter().map(|rows| read(rows, table)).collect()
}
