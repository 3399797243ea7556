//! Data goes in whole or not at all, whatever its bytes are.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};

use crate::helper::{Answer, Helper};

const ROWS: i64 = 5_000;
/// Line feeds in pairs, and what would be a statement after them.
const TRAP: &str = "a\n\nselect 42;\n\ndrop table t;\n\n";

fn arrow_stream(compression: Option<CompressionType>) -> Vec<u8> {
    let schema = Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("s", DataType::Utf8, false),
    ]));
    let ids = Int64Array::from_iter_values((0..ROWS).map(id));
    let texts = StringArray::from_iter_values((0..ROWS).map(|_| TRAP));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(ids), Arc::new(texts)]).unwrap();
    let options = IpcWriteOptions::default().try_with_compression(compression).unwrap();
    let mut bytes = Vec::new();
    let mut writer = StreamWriter::try_new_with_options(&mut bytes, &schema, options).unwrap();
    writer.write(&batch).unwrap();
    writer.finish().unwrap();
    drop(writer);
    bytes
}

/// Every second id holds LF LF in its bytes.
fn id(row: i64) -> i64 {
    row << 16 | 0x0A0A
}

fn row_binary() -> Vec<u8> {
    let mut bytes = Vec::new();
    for row in 0..ROWS {
        bytes.extend(id(row).to_le_bytes());
        bytes.push(u8::try_from(TRAP.len()).unwrap());
        bytes.extend(TRAP.as_bytes());
    }
    bytes
}

fn json() -> Vec<u8> {
    let text = serde_json::to_string(TRAP).unwrap();
    // A blank line between rows is allowed in this format.
    (0..ROWS).map(|row| format!("{{\"id\":{},\"s\":{text}}}\n\n", id(row))).collect::<String>().into_bytes()
}

fn csv() -> Vec<u8> {
    (0..ROWS).map(|row| format!("{},\"{TRAP}\"\n", id(row))).collect::<String>().into_bytes()
}

fn values() -> Vec<u8> {
    let rows: Vec<_> = (0..ROWS).map(|row| format!("({}, '{TRAP}')", id(row))).collect();
    rows.join(",\n\n").into_bytes()
}

#[track_caller]
fn assert_all_there(helper: &Helper) {
    let found = helper
        .ok("SELECT count(), uniqExact(id), sum(id), uniqExact(s), any(s) FROM t FORMAT JSONCompactEachRow");
    let sum: i64 = (0..ROWS).map(id).sum();
    let text = serde_json::to_string(TRAP).unwrap();
    // 64-bit integers may come as strings.
    let plain = |text: &str| text.replace([' ', '"'], "");
    assert_eq!(plain(&found), plain(&format!("[{ROWS},{ROWS},{sum},1,{text}]")));
}

#[test]
fn two_line_feeds_do_no_harm_in_any_format() {
    let (helper, _folder) = Helper::start();
    helper.ok("CREATE TABLE t (id Int64, s String) ENGINE = MergeTree ORDER BY id");
    for (format, body) in [
        ("FORMAT ArrowStream", arrow_stream(None)),
        ("FORMAT ArrowStream", arrow_stream(Some(CompressionType::LZ4_FRAME))),
        ("FORMAT RowBinary", row_binary()),
        ("FORMAT JSONEachRow", json()),
        ("FORMAT CSV", csv()),
        ("VALUES", values()),
    ] {
        // With the statement in the URL, and in front of the data.
        helper.insert(&format!("INSERT INTO t {format}"), &body);
        assert_all_there(&helper);
        helper.ok("TRUNCATE TABLE t");
        let mut whole = format!("INSERT INTO t {format}\n").into_bytes();
        whole.extend(&body);
        assert_eq!(helper.post(&[], &[], &whole).status, 200);
        assert_all_there(&helper);
        // Through formats that only the engine can write here.
        for other in ["Native", "Parquet", "Arrow", "RowBinaryWithNamesAndTypes"] {
            let exported = helper.post(&[], &[], format!("SELECT * FROM t FORMAT {other}").as_bytes());
            assert!(exported.complete);
            helper.ok("TRUNCATE TABLE t");
            helper.insert(&format!("INSERT INTO t FORMAT {other}"), &exported.body);
            assert_all_there(&helper);
        }
        helper.ok("TRUNCATE TABLE t");
    }
}

#[test]
fn body_codings_are_unwrapped() {
    let (helper, _folder) = Helper::start();
    helper.ok("CREATE TABLE t (id Int64, s String) ENGINE = MergeTree ORDER BY id");
    let plain = row_binary();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut lz4 = lz4_flex::frame::FrameEncoder::new(Vec::new());
    lz4.write_all(&plain).unwrap();
    let bodies = [
        ("gzip", gzip.finish().unwrap()),
        ("lz4", lz4.finish().unwrap()),
        ("zstd", zstd::encode_all(plain.as_slice(), 1).unwrap()),
    ];
    let insert = [("query", "INSERT INTO t FORMAT RowBinary")];
    for (coding, body) in bodies {
        let answer = helper.post(&insert, &[("Content-Encoding", coding)], &body);
        assert_eq!(answer.status, 200, "{coding}: {}", answer.text());
        assert_all_there(&helper);
        helper.ok("TRUNCATE TABLE t");
        let cut = helper.post(&insert, &[("Content-Encoding", coding)], &body[..body.len() / 2]);
        assert_ne!(cut.status, 200, "{coding}");
        assert_eq!(helper.ok("SELECT count() FROM t"), "0", "{coding}");
    }
    assert_eq!(helper.post(&insert, &[("Content-Encoding", "br")], b"x").code(), Some(48));
}

#[test]
fn a_client_that_goes_away_leaves_no_row() {
    let (helper, _folder) = Helper::start();
    helper.ok("CREATE TABLE t (id Int64, s String) ENGINE = MergeTree ORDER BY id");
    let body = row_binary();
    let row = 8 + 1 + TRAP.len();
    let length = body.len().to_string();
    let query = [("query", "INSERT INTO t FORMAT RowBinary")];
    for rows in [1, 100, 4_000] {
        // Cut between two rows: what came so far is good data to the parser.
        let mut stream = helper.begin(&query, &[("Content-Length", &length)]);
        stream.write_all(&body[..rows * row]).unwrap();
        drop(stream);
        let mut stream = helper.begin(&query, &[("Transfer-Encoding", "chunked")]);
        write!(stream, "{:x}\r\n", rows * row).unwrap();
        stream.write_all(&body[..rows * row]).unwrap();
        stream.write_all(b"\r\n").unwrap();
        drop(stream);
    }
    // The inserts end in their own time: until then this table may not be dropped.
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(helper.ok("SELECT count() FROM t"), "0");
    assert_eq!(helper.ok("SELECT count() FROM system.parts WHERE table = 't'"), "0");
}

#[test]
fn a_bad_row_leaves_no_row() {
    let (helper, _folder) = Helper::start();
    helper.ok("CREATE TABLE t (id Int8) ENGINE = MergeTree ORDER BY id");
    let answer = helper.post(&[("query", "INSERT INTO t FORMAT CSV")], &[], b"1\n2\nx\n");
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(answer.code(), Some(117));
    let cut = &arrow_stream(None)[..20_000];
    let answer: Answer = helper.post(&[("query", "INSERT INTO t FORMAT ArrowStream")], &[], cut);
    assert_ne!(answer.status, 200);
    assert_eq!(helper.ok("SELECT count() FROM t"), "0");
}
