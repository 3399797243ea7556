//! The lake in a real S3 server.

use std::time::Duration;

use dabi::lake::{LakeErrorKind, Secret};
use dabi_core::dead_letter::{DeadLetter, Stage};
use dabi_core::manifest::Manifest;
use dabi_core::position::Offset;
use object_store::ObjectStoreExt as _;

use super::*;
use crate::support::block_on;
use crate::support::minio::Minio;
use crate::support::orders::{batch, decoded, table};

fn settings(minio: &Minio, prefix: &str) -> LakeSettings {
    let environment: BTreeMap<&str, &str> = minio.environment().into();
    let get = |name| environment.get(name).map(|value| (*value).to_owned());
    LakeSettings {
        endpoint: get("AWS_ENDPOINT"),
        region: get("AWS_REGION"),
        access_key: get("AWS_ACCESS_KEY_ID"),
        secret_key: get("AWS_SECRET_ACCESS_KEY").map(Secret::new),
        ..LakeSettings::at(format!("s3://{}/{prefix}", Minio::BUCKET))
    }
}

fn lake_in(minio: &Minio, prefix: &str) -> Lake {
    block_on(Lake::open_for_writing(&settings(minio, prefix))).expect("conditional PUT is honoured")
}

#[test]
fn s3_keeps_what_is_written_and_fences_the_older_writer() {
    let minio = Minio::start();
    // the second time, the probe and the lake are there already
    let (lake, again) = (lake_in(&minio, "some/lake"), lake_in(&minio, "some/lake/"));
    block_on(async {
        let mut old = Writer::open(&lake, "old").await.expect("an empty lake");
        old.write(&decoded(vec![batch(0, 0, 700), batch(2, 0, 30)])).await.expect("it owns the lake");
        let mut new = Writer::open(&again, "new").await.expect("a takeover");
        let error = old.write(&decoded(vec![batch(0, 700, 9)])).await.expect_err("it is fenced");
        assert_eq!(error.kind(), LakeErrorKind::Fenced);
        new.write(&decoded(vec![batch(0, 700, 50)])).await.expect("it owns the lake");
        check_holds(&lake, &table(), &[batch(0, 0, 750), batch(2, 0, 30)]).await;
        let file = &lake.files(Some(&table())).await.expect("readable")[0];
        assert!(lake.url_of(&file.path).starts_with("s3://lake/some/lake/shop.order_items/date="));
    });
    let another = Lake::open(&settings(&minio, "some/lak")).expect("good settings");
    assert_eq!(block_on(another.head()).expect("readable"), None, "a name that begins alike");
}

#[test]
fn an_outage_of_s3_in_the_middle_loses_and_doubles_nothing() {
    let mut minio = Minio::start();
    let lake = lake_in(&minio, "lake");
    let mut writer = block_on(Writer::open(&lake, "w")).expect("an empty lake");
    block_on(writer.write(&decoded(vec![batch(0, 0, 10)]))).expect("the server is up");
    minio.server.kill();
    std::thread::scope(|scope| {
        let write = scope.spawn(|| block_on(writer.write(&decoded(vec![batch(0, 10, 10)]))));
        std::thread::sleep(Duration::from_secs(2));
        assert!(!write.is_finished(), "it waits for the server");
        minio.server.restart();
        write.join().expect("no panic").expect("the outage is over");
    });
    block_on(check_holds(&lake, &table(), &[batch(0, 0, 20)]));
}

#[test]
fn a_large_file_is_sent_in_parts() {
    let minio = Minio::start();
    let lake = lake_in(&minio, "lake");
    let mut writer = block_on(Writer::open(&lake, "w")).expect("an empty lake");
    // bytes that do not compress
    let mut state = 1_u64;
    let value = (0..20 << 20).map(|_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    });
    let letter = DeadLetter {
        refuser: None,
        topic: "t".into(),
        partition: 0,
        offset: Offset(0),
        timestamp_ms: None,
        stage: Stage::Star,
        code: "out-of-range".into(),
        message: String::new(),
        key: None,
        value: Some(value.collect()),
    };
    writer.encoder.append_dead_letters([letter], Instant::now());
    block_on(writer.flush()).expect("the server is up");
    let manifests: Vec<Manifest> =
        block_on(async { lake.manifests().await.expect("readable").try_collect().await }).expect("in order");
    let file = &manifests.last().expect("two commits").dead_letters[0];
    let path = format!("lake/{}", file.path);
    let object = block_on(minio.store().head(&path.into())).expect("it was uploaded");
    assert!(object.size > 20 << 20 && object.size == file.bytes, "{object:?}");
}

#[test]
fn a_missing_bucket_and_a_wrong_key_are_explained() {
    let minio = Minio::start();
    let explain = |change: fn(&mut LakeSettings)| {
        let mut settings = settings(&minio, "lake");
        change(&mut settings);
        block_on(Lake::open_for_writing(&settings)).expect_err("it cannot work").to_string()
    };
    let missing = explain(|settings| settings.url = "s3://no-such-bucket/lake".to_owned());
    assert!(missing.contains("Check that the bucket"), "{missing}");
    let denied = explain(|settings| settings.secret_key = Some(Secret::new("wrong")));
    assert!(denied.contains("secret_key") && !denied.contains("wrong"), "{denied}");
}
