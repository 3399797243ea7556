//! The Rust client that dabi itself uses.

use clickhouse::error::Error;
use clickhouse::{Client, Compression, Row};

use crate::helper::{Helper, PASSWORD};

#[derive(Debug, Clone, PartialEq, Row, serde::Serialize, serde::Deserialize)]
struct Line {
    id: u64,
    text: String,
    amount: Option<f64>,
}

fn client(helper: &Helper) -> Client {
    Client::default().with_url(helper.url()).with_user("default").with_password(PASSWORD)
}

#[tokio::test]
async fn rows_go_in_and_come_out_with_every_compression() {
    let (helper, _folder) = Helper::start();
    let client = client(&helper);
    client
        .query("CREATE TABLE t (id UInt64, text String, amount Nullable(Float64)) ENGINE = MergeTree ORDER BY id")
        .execute()
        .await
        .unwrap();
    let lines: Vec<Line> = (0..30_000)
        .map(|id| Line { id, text: format!("{id}\n\n{id}"), amount: (id % 3 == 0).then_some(0.5) })
        .collect();
    for compression in [Compression::None, Compression::Lz4] {
        let client = client.clone().with_compression(compression);
        let mut insert = client.insert::<Line>("t").await.unwrap();
        for line in &lines {
            insert.write(line).await.unwrap();
        }
        insert.end().await.unwrap();
        let back = client.query("SELECT * FROM t ORDER BY id").fetch_all::<Line>().await.unwrap();
        assert!(back == lines);
        client.query("TRUNCATE TABLE t").execute().await.unwrap();
    }
}

#[tokio::test]
async fn parameters_settings_and_errors_reach_both_ways() {
    let (helper, _folder) = Helper::start();
    let client = client(&helper);
    let sum: u64 = client.query("SELECT {a:UInt64} + ?").param("a", 40).bind(2).fetch_one().await.unwrap();
    assert_eq!(sum, 42);
    let threads: u64 = client
        .query("SELECT getSetting('max_threads')::UInt64")
        .with_setting("max_threads", "1")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(threads, 1);
    let error = client.query("SELECT nope").execute().await.unwrap_err();
    assert!(matches!(&error, Error::BadResponse(text) if text.starts_with("Code: 47.")), "{error}");
    let mut rows = client
        .query("SELECT throwIf(number = 900000)::UInt64 FROM numbers(1000000)")
        .with_setting("max_block_size", "1000")
        .fetch::<u64>()
        .unwrap();
    let error = loop {
        match rows.next().await {
            Ok(row) => assert!(row.is_some(), "the answer must not end as if it were whole"),
            Err(error) => break error,
        }
    };
    assert!(matches!(&error, Error::BadResponse(text) if text.contains("Code: 395.")), "{error}");
}
