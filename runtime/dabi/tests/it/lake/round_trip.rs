//! What is written is read back, exactly, whatever the cut into files.

use dabi_core::dead_letter::{DeadLetter, Stage};
use dabi_core::debezium::Skip;
use dabi_core::manifest::Manifest;
use dabi_core::position::Offset;

use super::*;
use crate::support::orders::{self, TOPIC, altered_batch, batch, batch_at, decoded, table, without_rows};

const DAY_MS: i64 = 86_400_000;

fn small_row_groups() -> LakeLimits {
    LakeLimits { row_group_rows: 100, checkpoint_every: 4, ..LakeLimits::default() }
}

#[tokio::test]
async fn batches_come_back_as_they_were() {
    let lake = memory_lake();
    let mut writer = Writer::with_limits(&lake, "w", small_row_groups()).await.expect("an empty lake");
    let mut written = Vec::new();
    for round in 0..9_i64 {
        let batches = vec![batch(0, round * 70, 70), batch(1, round * 30, 30), batch(11, round * 250, 250)];
        written.extend(batches.clone());
        writer.append(&decoded(batches));
        if round % 2 == 1 {
            writer.flush().await.expect("memory does not fail");
        }
    }
    writer.flush().await.expect("memory does not fail");
    check_holds(&lake, &table(), &written).await;
    assert_eq!(writer.committer.position().get(TOPIC, 11), Some(Offset(9 * 250)));
}

#[tokio::test]
async fn a_schema_change_opens_another_file_and_order_survives() {
    let lake = memory_lake();
    let mut writer = Writer::open(&lake, "w").await.expect("an empty lake");
    // a connector restart makes the old schema come again
    let batches = vec![batch(0, 0, 10), altered_batch(0, 10, 5), batch(0, 15, 5), altered_batch(0, 20, 50)];
    writer.write(&decoded(batches.clone())).await.expect("memory does not fail");
    assert_eq!(lake.files(None).await.expect("readable").len(), 2);
    check_holds(&lake, &table(), &batches).await;
}

#[tokio::test]
async fn a_batch_is_filed_under_the_date_of_each_event() {
    let lake = memory_lake();
    let mut writer = Writer::open(&lake, "w").await.expect("an empty lake");
    // timestamps step back over midnight, and one is missing
    let at = |offset| match offset {
        7 => None,
        o if o % 3 == 0 => Some(20_100 * DAY_MS - 1),
        _ => Some(20_100 * DAY_MS),
    };
    let batches = vec![batch_at(0, 0, 20, at)];
    writer.write(&decoded(batches.clone())).await.expect("memory does not fail");
    let files = lake.files(Some(&table())).await.expect("readable");
    let date = |path: &str| path.split('/').nth(1).expect("a date").to_owned();
    let mut dates: Vec<_> = files.iter().map(|file| (date(&file.path), file.rows)).collect();
    dates.sort();
    let expected = [("date=1970-01-01", 1), ("date=2025-01-11", 7), ("date=2025-01-12", 12)];
    assert_eq!(dates, expected.map(|(date, rows)| (date.to_owned(), rows)));
    assert!(files.iter().all(|file| file.path.starts_with("shop.order_items/date=")));
    check_holds(&lake, &table(), &batches).await;
}

#[tokio::test]
async fn every_offset_is_accounted_for() {
    let lake = memory_lake();
    let mut writer = Writer::open(&lake, "w").await.expect("an empty lake");
    writer.append(&decoded(vec![batch(0, 5, 10)]));
    // 15 is a transaction marker that the decoder never saw
    writer.append(&without_rows(0, (16, 20), &[(Skip::Tombstone, 2), (Skip::DeadLetter, 1)]));
    writer.flush().await.expect("memory does not fail");
    let manifests: Vec<Manifest> =
        lake.manifests().await.expect("readable").try_collect().await.expect("in order");
    let commit = &manifests.last().expect("two commits").topics[TOPIC];
    assert_eq!(commit.skipped, BTreeMap::from([(Skip::Tombstone, 2), (Skip::DeadLetter, 1)]));
    assert_eq!(commit.unrecorded, 2);
    let again = writer.encoder.append(&decoded(vec![batch(0, 19, 2)]), Instant::now());
    assert!(matches!(again, Err(LakeError::Refused(_))), "an event must not be taken twice");
}

#[tokio::test]
async fn a_restart_continues_and_orphans_do_not_count() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let lake = local_lake(&folder).await;
    let mut first = Writer::open(&lake, "first").await.expect("an empty lake");
    first.write(&decoded(vec![batch(0, 0, 10)])).await.expect("a folder of our own");
    // uploaded, then killed before the manifest
    first.append(&decoded(vec![batch(0, 10, 10)]));
    let orphan = first.encoder.seal(Epoch(2)).expect("plain columns").expect("something to seal");
    drop(orphan);
    let date = folder.path().join("lake/shop.order_items/date=2025-01-01");
    std::fs::copy(
        std::fs::read_dir(&date).expect("a date").next().expect("a file").expect("readable").path(),
        date.join("00000001-orphan-00000001.parquet"),
    )
    .expect("a copy");
    let mut second = Writer::open(&lake, "second").await.expect("a lake to continue");
    assert_eq!(second.author.term.0, first.author.term.0 + 1);
    assert_eq!(second.committer.position().get(TOPIC, 0), Some(Offset(10)));
    second.write(&decoded(vec![batch(0, 10, 25)])).await.expect("a folder of our own");
    check_holds(&lake, &table(), &[batch(0, 0, 10), batch(0, 10, 25)]).await;
}

#[tokio::test]
async fn checkpoints_are_read_in_place_of_manifests() {
    let store = Arc::new(InMemory::new());
    let lake = Lake::in_store(store.clone());
    let mut written = Vec::new();
    for start in 0..3_i64 {
        let id = format!("w{start}");
        let mut writer = Writer::with_limits(&lake, &id, small_row_groups()).await.expect("a lake");
        for commit in 0..7 {
            let events = batch(0, (start * 7 + commit) * 10, 10);
            written.push(events.clone());
            writer.write(&decoded(vec![events])).await.expect("memory does not fail");
        }
    }
    // all but the last few manifests can be read from checkpoints alone
    let head = lake.head().await.expect("readable").expect("committed").number;
    assert_eq!(head.0, 24);
    use object_store::ObjectStoreExt as _;
    for number in 1..head.0 {
        let path = dabi_core::manifest::ManifestNumber(number).path();
        store.delete(&path.as_str().into()).await.expect("it exists");
    }
    check_holds(&lake, &table(), &written).await;
    assert_eq!(lake.head().await.expect("readable").expect("committed").number, head);
}

#[tokio::test]
async fn dead_letters_keep_their_bytes() {
    let store = Arc::new(InMemory::new());
    let lake = Lake::in_store(store.clone());
    let mut writer = Writer::open(&lake, "w").await.expect("an empty lake");
    let mut decoded = without_rows(0, (0, 1), &[(Skip::DeadLetter, 1)]);
    decoded.dead_letters = vec![DeadLetter {
        refuser: None,
        topic: TOPIC.into(),
        partition: 0,
        offset: Offset(0),
        timestamp_ms: Some(20_100 * DAY_MS),
        stage: Stage::Decode,
        code: "bad-json".into(),
        message: "expected value".into(),
        key: None,
        value: Some(vec![0xff, 0x00, b'{']),
    }];
    writer.write(&decoded).await.expect("memory does not fail");
    let manifests: Vec<Manifest> =
        lake.manifests().await.expect("readable").try_collect().await.expect("in order");
    let file = &manifests.last().expect("two commits").dead_letters[0];
    assert!(file.path.starts_with("_dabi/dead_letters/date=2025-01-12/"));
    use object_store::ObjectStoreExt as _;
    let got = store.get(&file.path.as_str().into()).await.expect("it was uploaded");
    let bytes = got.bytes().await.expect("memory does not fail");
    let mut batches = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::build)
        .expect("a Parquet file");
    let batch = batches.next().expect("one batch").expect("readable");
    let value = batch.column_by_name("value").expect("a column of that name");
    use arrow::array::AsArray as _;
    assert_eq!(value.as_binary::<i32>().value(0), [0xff, 0x00, b'{']);
}

#[tokio::test]
async fn files_are_due_by_size_or_age() {
    let lake = memory_lake();
    let limits = LakeLimits { flush_bytes: 200_000, flush_age_ms: 1000, ..LakeLimits::default() };
    let mut writer = Writer::with_limits(&lake, "w", limits).await.expect("an empty lake");
    let start = Instant::now();
    assert!(!writer.encoder.due(start + std::time::Duration::from_hours(1)), "nothing is held");
    writer.encoder.append(&decoded(vec![batch(0, 0, 10)]), start).expect("it continues");
    assert!(!writer.encoder.due(start));
    assert!(writer.encoder.due(start + std::time::Duration::from_secs(1)));
    writer.encoder.append(&decoded(vec![batch(0, 10, 5000)]), start).expect("it continues");
    assert!(writer.encoder.due(start));
    assert_eq!(writer.encoder.pending_rows(), 5010);
    writer.flush().await.expect("memory does not fail");
    assert_eq!(writer.encoder.pending_bytes(), 0);
}

#[tokio::test]
async fn tables_are_kept_apart_and_others_are_empty() {
    let lake = memory_lake();
    let mut writer = Writer::open(&lake, "w").await.expect("an empty lake");
    writer.write(&decoded(vec![orders::batch(0, 0, 3)])).await.expect("memory does not fail");
    assert!(read(&lake, &SourceTable::new("shop", "other")).await.is_empty());
    assert!(Lake::open(&LakeSettings::at("/nonexistent/lake")).is_err());
    assert!(Lake::open(&LakeSettings::at("gs://bucket/lake")).is_err());
}
