//! Streamed answers equal whole ones.

use crate::helper::Helper;

const WIDE: &str =
    "SELECT number AS id, toString(number) AS s, toDate('2020-01-01') + number % 9 AS d FROM numbers(300000)";

#[test]
fn a_streamed_answer_equals_the_whole_one() {
    let (helper, _folder) = Helper::start();
    for format in [
        "RowBinaryWithNamesAndTypes",
        "RowBinary",
        "Native",
        "CSV",
        "TSV",
        "JSONEachRow",
        "JSONCompactEachRow",
    ] {
        let sql = format!("{WIDE} FORMAT {format}");
        let streamed = helper.query(&sql);
        let whole =
            helper.post(&[("wait_end_of_query", "1"), ("max_block_size", "400000")], &[], sql.as_bytes());
        assert!(streamed.complete && streamed.status == 200 && whole.status == 200, "{}", whole.text());
        assert_eq!(streamed.header("transfer-encoding"), Some("chunked"));
        assert_eq!(whole.header("transfer-encoding"), None);
        if format == "Native" {
            // Blocks may be cut differently: compare what they hold.
            helper
                .ok("CREATE OR REPLACE TABLE n (id UInt64, s String, d Date) ENGINE = MergeTree ORDER BY id");
            helper.insert("INSERT INTO n FORMAT Native", &streamed.body);
            assert_eq!(
                helper.ok(&format!("SELECT count() FROM ({WIDE}) AS a JOIN n USING (id, s, d)")),
                "300000"
            );
        } else {
            assert!(
                streamed.body == whole.body,
                "{format}: {} and {}",
                streamed.body.len(),
                whole.body.len()
            );
        }
    }
}

#[test]
fn formats_that_do_not_concatenate_come_whole() {
    let (helper, _folder) = Helper::start();
    let answer = helper.query("SELECT number FROM numbers(200000) FORMAT JSON");
    let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(value["rows"], 200_000);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    let totals =
        helper.ok("SELECT number % 2 AS k, count() FROM numbers(10) GROUP BY k WITH TOTALS ORDER BY k");
    assert_eq!(totals, "0\t5\n1\t5\n\n0\t10");
}

#[test]
fn an_empty_answer_still_has_its_header() {
    let (helper, _folder) = Helper::start();
    let answer = helper.query("SELECT 1 AS x WHERE 0 FORMAT RowBinaryWithNamesAndTypes");
    assert_eq!(answer.body, b"\x01\x01x\x05UInt8");
}

#[test]
fn an_answer_too_large_to_hold_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let helper = Helper::with(folder.path(), &["--answer-mib", "1"]).unwrap();
    let answer = helper.query("SELECT number FROM numbers(1000000) FORMAT JSON");
    assert_eq!(answer.code(), Some(396), "{}", answer.text());
    assert!(helper.query("SELECT number FROM numbers(1000000) FORMAT TSV").complete);
}

#[test]
fn an_error_after_the_first_bytes_breaks_the_connection() {
    let (helper, _folder) = Helper::start();
    let answer = helper.post(
        &[("max_block_size", "1000")],
        &[],
        b"SELECT throwIf(number = 900000) FROM numbers(1000000) FORMAT TSV",
    );
    assert_eq!(answer.status, 200);
    assert!(!answer.complete);
    assert!(answer.text().contains("Code: 395. DB::Exception"), "the message is at the end");
}

#[test]
fn a_statement_ends_with_its_client() {
    let (helper, _folder) = Helper::start();
    let running = "SELECT count() FROM system.processes WHERE query LIKE '%sleepEachRow%' AND query NOT LIKE '%processes%'";
    for sql in [
        "SELECT sleepEachRow(1) FROM numbers(60) SETTINGS max_block_size = 1",
        "SELECT sum(sleepEachRow(1)) FROM numbers(60) SETTINGS max_block_size = 1 FORMAT JSON",
    ] {
        let length = sql.len().to_string();
        let mut stream = helper.begin(&[], &[("Content-Length", &length)]);
        std::io::Write::write_all(&mut stream, sql.as_bytes()).unwrap();
        wait_for(&helper, running, "1");
        drop(stream);
        wait_for(&helper, running, "0");
    }
}

#[track_caller]
fn wait_for(helper: &Helper, sql: &str, wanted: &str) {
    for _ in 0..100 {
        if helper.ok(sql) == wanted {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    panic!("{sql} does not come to {wanted}");
}

#[test]
fn requests_beyond_the_limit_get_503() {
    let (helper, _folder) = Helper::start();
    // Each holds its place while its body does not end.
    let begin = || helper.begin(&[], &[("Content-Length", "8")]);
    let mut waiting: Vec<_> = (0..32).map(|_| begin()).collect();
    let refused = (0..50).find_map(|_| {
        let answer = helper.query("SELECT 1");
        if answer.status == 503 {
            return Some(answer);
        }
        // It may have taken the place of one that was still on its way.
        waiting.push(begin());
        None
    });
    assert_eq!(refused.expect("one too many is refused").code(), Some(202));
    // Their places are free again once they are gone.
    drop(waiting);
    let answers = || helper.query("SELECT 1").status;
    assert!((0..100).any(|_| answers() == 200 || {
        std::thread::sleep(std::time::Duration::from_millis(50));
        false
    }));
}
