//! Sessions keep what they set, and nothing of what a URL set.

use crate::helper::Helper;

#[track_caller]
fn ask(helper: &Helper, parameters: &[(&str, &str)], sql: &str) -> String {
    let answer = helper.post(parameters, &[], sql.as_bytes());
    assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    answer.text().trim_end().to_owned()
}

#[test]
fn what_a_session_sets_outlives_the_settings_of_a_url() {
    let (helper, _folder) = Helper::start();
    let threads = "SELECT getSetting('max_threads')";
    let session = ("session_id", "a");
    ask(&helper, &[session], "SET max_threads = 3");
    assert_eq!(ask(&helper, &[session], threads), "3");
    assert_eq!(ask(&helper, &[session, ("max_threads", "5")], threads), "5");
    assert_eq!(ask(&helper, &[session], threads), "3");
    assert_ne!(ask(&helper, &[("session_id", "b")], threads), "3");
    assert_ne!(ask(&helper, &[], threads), "3");
}

#[test]
fn the_database_of_a_url_is_not_that_of_the_session() {
    let (helper, _folder) = Helper::start();
    helper.ok("CREATE DATABASE one");
    helper.ok("CREATE DATABASE two");
    let session = ("session_id", "a");
    assert_eq!(ask(&helper, &[session, ("database", "one")], "SELECT currentDatabase()"), "one");
    assert_eq!(ask(&helper, &[session], "SELECT currentDatabase()"), "default");
    ask(&helper, &[session], "USE two");
    assert_eq!(ask(&helper, &[session, ("database", "one")], "SELECT currentDatabase()"), "one");
    assert_eq!(ask(&helper, &[session], "SELECT currentDatabase()"), "two");
}

#[test]
fn temporary_tables_belong_to_their_session() {
    let (helper, _folder) = Helper::start();
    let session = ("session_id", "a");
    ask(&helper, &[session], "CREATE TEMPORARY TABLE x (a Int8)");
    ask(&helper, &[session], "INSERT INTO x VALUES (7)");
    assert_eq!(ask(&helper, &[session], "SELECT a FROM x"), "7");
    assert_eq!(helper.query("SELECT a FROM x").code(), Some(60));
}

#[test]
fn a_session_serves_one_request_at_a_time_and_times_out() {
    let (helper, _folder) = Helper::start();
    let session = ("session_id", "a");
    let sql = b"SELECT sleep(1)";
    let mut stream = helper.begin(&[session], &[("Content-Length", "15")]);
    std::io::Write::write_all(&mut stream, sql).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(400));
    assert_eq!(helper.post(&[session], &[], b"SELECT 1").code(), Some(373));
    drop(crate::helper::Answer::read(stream));

    ask(&helper, &[session, ("session_timeout", "1")], "SELECT 1");
    std::thread::sleep(std::time::Duration::from_secs(3));
    let answer = helper.post(&[session, ("session_check", "1")], &[], b"SELECT 1");
    assert_eq!(answer.code(), Some(372));
}
