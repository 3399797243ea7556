//! Who may ask, what is refused, and with which codes.

use std::time::Duration;

use crate::helper::{Answer, Helper, PASSWORD};

#[test]
fn only_this_machine_with_the_password_is_answered() {
    let (helper, _folder) = Helper::start();
    let ask = |headers: &[(&str, &str)]| helper.post(&[], headers, b"SELECT 1");
    assert_eq!(ask(&[]).text(), "1\n");
    let wrong = ask(&[("X-ClickHouse-Key", "wrong")]);
    assert_eq!((wrong.status, wrong.code()), (403, Some(516)));
    assert!(!wrong.text().contains(PASSWORD));
    assert_eq!(ask(&[("X-ClickHouse-User", "root")]).status, 403);
    assert_eq!(ask(&[("Host", "elsewhere.example")]).status, 403);
    assert_eq!(ask(&[("Host", &format!("localhost:{}", helper.port))]).text(), "1\n");
}

#[test]
fn several_statements_are_refused() {
    let (helper, _folder) = Helper::start();
    helper.ok("CREATE TABLE t (a Int8) ENGINE = Memory");
    for sql in ["SELECT 1; SELECT 2", "SELECT 1;\n\nDROP TABLE t", "DROP TABLE t; SELECT 1"] {
        assert_eq!(helper.query(sql).code(), Some(62), "{sql}");
    }
    // A semicolon at the end is none too many.
    assert_eq!(helper.ok("SELECT 1;"), "1");
    // What follows the values of an insert is data, never a statement.
    helper.query("INSERT INTO t VALUES (1); DROP TABLE t");
    helper.query("INSERT INTO t VALUES (1);\n\nDROP TABLE t");
    helper.ok("SELECT count() FROM t");
}

#[test]
fn errors_have_their_code_and_status() {
    let (helper, _folder) = Helper::start();
    for (sql, code, status) in [
        ("SELEC", 62, 400),
        ("SELECT nope", 47, 404),
        ("SELECT * FROM nope", 60, 404),
        ("SELECT * FROM nope.nope", 81, 404),
        ("SELECT nope()", 46, 404),
        ("SELECT toInt8('x')", 6, 400),
        ("SELECT sleep(3) SETTINGS max_execution_time = 1", 159, 504),
        ("INSERT INTO nope FORMAT CSV\n1", 60, 404),
        ("", 62, 400),
    ] {
        let answer = helper.query(sql);
        assert_eq!((answer.code(), answer.status), (Some(code), status), "{sql}: {}", answer.text());
        assert!(answer.text().starts_with("Code: "), "{sql}: {}", answer.text());
    }
    assert_eq!(helper.post(&[("nonsense", "1")], &[], b"SELECT 1").code(), Some(115));
    assert_eq!(helper.post(&[("compress", "1")], &[], b"SELECT 1").code(), Some(48));
}

#[test]
fn get_only_reads() {
    let (helper, _folder) = Helper::start();
    let get = |sql: &str| Answer::read(helper.begin_as("GET", &[("query", sql)], &[]));
    assert_eq!(get("SELECT 1").text(), "1\n");
    assert_eq!(get("CREATE TABLE t (a Int8) ENGINE = Memory").code(), Some(164));
    assert_eq!(get("INSERT INTO t VALUES (1)").code(), Some(164));
}

#[test]
fn a_form_carries_statement_and_parameters() {
    let (helper, _folder) = Helper::start();
    let part = |name: &str, value: &str| {
        format!("--xx\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let body = part("query", "SELECT {a:UInt8} + 1, {s:String}")
        + &part("param_a", "41")
        + &part("param_s", "it's\\t1")
        + "--xx--\r\n";
    let form = [("Content-Type", "multipart/form-data; boundary=xx")];
    let answer = helper.post(&[], &form, body.as_bytes());
    assert_eq!(answer.text(), "42\tit\\'s\\t1\n");
    let answer = helper.post(&[("query", "SELECT {x:String}"), ("param_x", "y")], &[], b"");
    assert_eq!(answer.text(), "y\n");
    let table = part("ext", "1") + "--xx--\r\n";
    assert_eq!(helper.post(&[("query", "SELECT 1")], &form, table.as_bytes()).code(), Some(48));
}

#[test]
fn answers_tell_format_query_and_summary() {
    let (helper, _folder) = Helper::start();
    helper.ok("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a");
    let answer = helper.post(&[("query", "INSERT INTO t VALUES"), ("query_id", "q1")], &[], b"(1), (2)");
    assert_eq!(answer.header("x-clickhouse-query-id"), Some("q1"));
    assert!(answer.header("x-clickhouse-summary").unwrap().contains("\"written_rows\":\"2\""));
    let answer = helper.post(&[("default_format", "CSV")], &[], b"SELECT 'a'");
    assert_eq!(answer.header("x-clickhouse-format"), Some("csv"));
    assert_eq!(answer.text(), "\"a\"\n");
    assert!(answer.header("x-clickhouse-timezone").is_some());
}

#[test]
fn one_folder_has_one_helper() {
    let (helper, folder) = Helper::start();
    let error = Helper::on(folder.path()).err().expect("the second is refused");
    assert!(error.contains(&format!("in use by process {}", helper.pid())), "{error}");
    drop(helper);
    Helper::on(folder.path()).expect("the lock went with its process");
}

#[test]
fn it_ends_in_order_and_with_its_parent() {
    let (helper, folder) = Helper::start();
    helper.ok("CREATE TABLE t (a Int8) ENGINE = MergeTree ORDER BY a");
    helper.ok("INSERT INTO t VALUES (1)");
    assert_eq!(helper.post(&[("session_id", "open")], &[], b"SELECT 1").status, 200);
    assert_eq!(helper.terminate().code(), Some(0));

    let helper = Helper::on(folder.path()).unwrap();
    assert_eq!(helper.ok("SELECT a FROM t"), "1");
    assert_eq!(helper.leave().code(), Some(0));

    // A running statement may end first.
    let helper = Helper::on(folder.path()).unwrap();
    let port = helper.port;
    let mut stream = helper.begin(&[], &[("Content-Length", "15")]);
    std::io::Write::write_all(&mut stream, b"SELECT sleep(1)").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(helper.terminate().code(), Some(0));
    assert_eq!(Answer::read(stream).text(), "0\n");
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}
