use super::*;

fn check_insert(sql: &str, expected: Option<(&str, &str, &str)>) {
    let split = split_insert(sql.as_bytes());
    let found = match &split {
        Split::Whole => None,
        Split::Insert { statement_end, format, data_start } => {
            Some((&sql[..*statement_end], format.as_str(), &sql[*data_start..]))
        }
    };
    assert_eq!(found, expected, "{sql:?}");
}

#[test]
fn data_begins_after_the_format_and_one_line_end() {
    check_insert("INSERT INTO t FORMAT CSV\n\n1,2", Some(("INSERT INTO t ", "CSV", "\n1,2")));
    check_insert("insert into t format RowBinary\r\n\n\n", Some(("insert into t ", "RowBinary", "\n\n")));
    check_insert("INSERT INTO t FORMAT CSV ; \n1", Some(("INSERT INTO t ", "CSV", "1")));
    check_insert(
        "INSERT INTO t FORMAT JSONEachRow {\"a\":1}",
        Some(("INSERT INTO t ", "JSONEachRow", "{\"a\":1}")),
    );
    check_insert("INSERT INTO t(a) VALUES (1);", Some(("INSERT INTO t(a) ", "Values", " (1);")));
    check_insert("INSERT INTO t FORMAT Native", Some(("INSERT INTO t ", "Native", "")));
}

#[test]
fn keywords_count_only_outside_of_quotes_comments_and_brackets() {
    check_insert(
        "/* FORMAT a */ INSERT -- VALUES\n INTO t VALUES(1)",
        Some(("/* FORMAT a */ INSERT -- VALUES\n INTO t ", "Values", "(1)")),
    );
    check_insert(
        "INSERT INTO `FORMAT x` (`values`) FORMAT TSV\n",
        Some(("INSERT INTO `FORMAT x` (`values`) ", "TSV", "")),
    );
    check_insert(
        "INSERT INTO t SETTINGS a='it''s FORMAT b' FORMAT CSV\n",
        Some(("INSERT INTO t SETTINGS a='it''s FORMAT b' ", "CSV", "")),
    );
    check_insert(
        r"INSERT INTO t SETTINGS a='\' FORMAT b' FORMAT CSV",
        Some((r"INSERT INTO t SETTINGS a='\' FORMAT b' ", "CSV", "")),
    );
    check_insert("INSERT INTO values VALUES (1)", Some(("INSERT INTO values ", "Values", " (1)")));
    check_insert("INSERT INTO db.values FORMAT CSV\n", Some(("INSERT INTO db.values ", "CSV", "")));
    check_insert(
        "INSERT INTO FUNCTION file('x', 'CSV') VALUES (1)",
        Some(("INSERT INTO FUNCTION file('x', 'CSV') ", "Values", " (1)")),
    );
}

#[test]
fn inserts_from_a_query_are_no_inserts_with_data() {
    check_insert("INSERT INTO t SELECT 1 FORMAT CSV", None);
    check_insert("INSERT INTO t WITH 1 AS x SELECT x", None);
    check_insert("INSERT INTO t", None);
    check_insert("SELECT 'INSERT INTO t VALUES'", None);
    check_insert("", None);
    check_insert("INSERT INTO t $$ FORMAT CSV", None);
}

#[test]
fn the_format_clause_of_an_answer_ends_the_statement() {
    let format = |sql: &str| answering(sql.as_bytes()).format;
    assert_eq!(format("SELECT 1 FORMAT JSON"), Some("JSON".into()));
    assert_eq!(format("SELECT 1 FORMAT JSON;"), Some("JSON".into()));
    assert_eq!(format("SELECT 1 FORMAT CSV SETTINGS max_threads=1"), Some("CSV".into()));
    assert_eq!(format("SELECT format FROM t"), None);
    assert_eq!(format("SELECT (SELECT 1 FORMAT JSON)"), None);
    assert_eq!(format("SELECT 'x FORMAT JSON'"), None);
}

#[test]
fn only_plain_selects_are_streamed() {
    let streamable = |sql: &str| answering(sql.as_bytes()).streamable;
    assert!(streamable("-- a\n(SELECT 1)"));
    assert!(streamable("WITH 1 AS x SELECT x"));
    assert!(!streamable("SHOW TABLES"));
    assert!(!streamable("SELECT a, sum(b) FROM t GROUP BY a WITH TOTALS"));
}

#[test]
fn quoting_leaves_no_way_out() {
    assert_eq!(quoted(r"a'b\c"), r"'a\'b\\c'");
    assert_eq!(identifier("a`b"), r"`a\`b`");
}
