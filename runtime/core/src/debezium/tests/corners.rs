//! Records that no capture holds, one rule each.

use super::{assert_complete, decode, show};
use crate::change::ChangeBatch;
use crate::debezium::{Decoded, Skip};

const TOPIC: &str = "cdc.shop.things";
const SOURCE: &str =
    r#""source":{"ts_ms":5,"schema":"shop","table":"things","txId":7,"lsn":9,"snapshot":"false"}"#;

fn values(values: &[&str]) -> Decoded {
    let records: Vec<_> = values.iter().map(|value| (Some(r#"{"id":1}"#), Some(*value))).collect();
    let decoded = decode(TOPIC, &records);
    assert_complete(&decoded);
    decoded
}

fn create(after: &str) -> String {
    format!(r#"{{"before":null,"after":{after},{SOURCE},"op":"c"}}"#)
}

/// The batches that `afters` become as rows.
fn rows(afters: &[&str]) -> String {
    let messages: Vec<String> = afters.iter().map(|after| create(after)).collect();
    let decoded = values(&messages.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(decoded.dead_letters, []);
    decoded.batches.iter().map(show).collect()
}

/// The code of the dead letter that `value` becomes.
fn code(value: &str) -> String {
    let mut decoded = values(&[value]);
    let letter = decoded.dead_letters.pop().unwrap_or_else(|| panic!("{value} is no dead letter"));
    assert_eq!(letter.value.as_deref(), Some(value.as_bytes()));
    assert_eq!(letter.key.as_deref(), Some(&br#"{"id":1}"#[..]));
    letter.code
}

fn skip(key: Option<&str>, value: Option<&str>) -> Skip {
    let decoded = decode(TOPIC, &[(key, value)]);
    assert_complete(&decoded);
    *decoded.skipped.keys().next().unwrap()
}

#[test]
fn what_is_no_change_event_is_counted_by_kind() {
    let message = format!(r#"{{"op":"m",{SOURCE},"message":{{"prefix":"p","content":"aGk="}}}}"#);
    assert_eq!(skip(Some("{}"), None), Skip::Tombstone);
    assert_eq!(skip(Some("{}"), Some("null")), Skip::Tombstone);
    assert_eq!(skip(None, Some(r#"{"schema":null,"payload":null}"#)), Skip::Tombstone);
    assert_eq!(skip(Some(r#"{"serverName":"s"}"#), Some(r#"{"ts_ms":1}"#)), Skip::Heartbeat);
    assert_eq!(skip(None, Some(&message)), Skip::Message);
    let transaction = r#"{"status":"END","id":"1","event_count":2,"data_collections":[]}"#;
    assert_eq!(skip(Some(r#"{"id":"1"}"#), Some(transaction)), Skip::Transaction);
    let ddl = r#"{"source":{},"databaseName":"d","ddl":"DROP TABLE t","tableChanges":[]}"#;
    assert_eq!(skip(Some(r#"{"databaseName":"d"}"#), Some(ddl)), Skip::SchemaChange);
    let heartbeat = decode("__debezium-heartbeat.cdc", &[(None, Some("anything"))]);
    assert_eq!(heartbeat.skipped[&Skip::Heartbeat], 1);
}

#[test]
fn what_cannot_be_decoded_is_a_dead_letter_with_a_stable_code() {
    assert_eq!(code(""), "bad-json");
    assert_eq!(code("{"), "bad-json");
    assert_eq!(code(&format!("{}x", create("{}"))), "bad-json");
    assert_eq!(code("[1]"), "unknown-shape");
    assert_eq!(code("{}"), "unknown-shape");
    assert_eq!(code(r#"{"hello":"world"}"#), "unknown-shape");
    assert_eq!(code(&create("{}").replace("\"c\"", "\"x\"")), "unknown-op");
    assert_eq!(code(&create("{}").replace("\"op\":\"c\"", "\"op\":null")), "unknown-op");
    assert_eq!(code(&create("null")), "no-row");
    assert_eq!(code(&create("[]")), "no-row");
    assert_eq!(code(&create("{}").replace("\"lsn\":9", "\"lsn\":9.5")), "bad-source");
    assert_eq!(code(&create("{}").replace("\"ts_ms\":5", "\"ts_ms\":9223372036854775807")), "bad-source");
    assert_eq!(code(&create("{}").replace("\"shop\"", "\"a.b\"")), "no-table");
    assert_eq!(code(r#"{"schema":{"type":7},"payload":{"a":1}}"#), "bad-schema");
    let bytes = decode(TOPIC, &[(Some("k"), Some(&create(r#"{"id":1}"#)))]);
    assert_eq!(bytes.dead_letters[0].code, "bad-key");
    let foreign = decode(TOPIC, &[(Some(r#"{"id":1}"#), Some(r#"{"hello":"world"}"#))]);
    assert_eq!(foreign.dead_letters[0].code, "unknown-shape");
}

#[test]
fn schemaless_columns_widen_and_nothing_is_lost() {
    insta::assert_snapshot!(rows(&[
        r#"{"id":1,"a":null,"b":1,"c":"x"}"#,
        r#"{"id":2,"a":true,"b":1.50,"c":"\u00e9"}"#,
        r#"{"c":{"k": [1]},"b":-0,"a":null,"id":99999999999999999999}"#,
        r#"{"id":3,"a":"text","b":[],"c":"\ud800"}"#,
    ]));
}

#[test]
fn changing_columns_make_layouts_that_are_found_again() {
    insta::assert_snapshot!(rows(&[
        r#"{"id":1,"a":1}"#,
        r#"{"id":2}"#,
        r#"{"a":2,"id":3}"#,
        r#"{"id":4}"#,
        r#"{"id":5,"a":7,"id":6}"#,
    ]));
}

#[test]
fn names_of_meta_columns_are_left_to_them() {
    insta::assert_snapshot!(rows(&[r#"{"id":1,"_op":"x","_op_":"y","_ts":3}"#]));
}

#[test]
fn a_row_that_does_not_fit_leaves_nothing_in_the_columns_before_the_misfit() {
    let text = rows(&[r#"{"id":1,"n":1}"#, r#"{"id":2,"n":"x"}"#, r#"{"id":3,"n":3}"#]);
    insta::assert_snapshot!(text);
}

#[test]
fn deletes_take_what_they_lack_from_the_key() {
    let delete = |before: &str| format!(r#"{{"before":{before},"after":null,{SOURCE},"op":"d"}}"#);
    let key = Some(r#"{"id":8}"#);
    let (none, partial, null) = (delete("null"), delete(r#"{"a":null}"#), delete(r#"{"id":null,"a":"x"}"#));
    let insert = create(r#"{"id":8,"a":"x"}"#);
    let decoded = decode(
        TOPIC,
        &[
            (key, Some(&none)),
            (key, Some(&insert)),
            (key, Some(&none)),
            (key, Some(&partial)),
            (key, Some(&null)),
        ],
    );
    assert_complete(&decoded);
    insta::assert_snapshot!(decoded.batches.iter().map(show).collect::<String>());
    let keyless = decode(TOPIC, &[(None, Some(&none))]);
    assert_eq!(keyless.dead_letters[0].code, "no-row");
}

#[test]
fn a_truncate_takes_the_columns_last_seen() {
    let truncate = format!(r#"{{"before":null,"after":null,{SOURCE},"op":"t"}}"#);
    let insert = create(r#"{"id":8,"a":"x"}"#);
    let decoded = decode(
        TOPIC,
        &[(None, Some(&truncate)), (Some(r#"{"id":8}"#), Some(&insert)), (None, Some(&truncate))],
    );
    assert_complete(&decoded);
    insta::assert_snapshot!(decoded.batches.iter().map(show).collect::<String>());
}

#[test]
fn an_envelope_stays_one_where_a_transformation_adds_fields() {
    let marked = create(r#"{"id":1}"#).replace("\"op\"", "\"__topic\":\"t\",\"op\"");
    let decoded = values(&[&marked]);
    insta::assert_snapshot!(decoded.batches.iter().map(show).collect::<String>());
}

#[test]
fn the_seed_s_flattened_rows_need_no_lsn() {
    let rows = [
        r#"{"order_id":1,"tip":true,"__deleted":"false","__op":"c","__ts_ms":1700000000000}"#,
        r#"{"order_id":1,"tip":null,"__deleted":"true","__op":"d","__ts_ms":1700000000001}"#,
        r#"{"order_id":2,"tip":false}"#,
    ];
    let records = rows.map(|row| (Some(r#"{"order_id":1}"#), Some(row)));
    let decoded = decode("cdc.public.orders", &records);
    assert_complete(&decoded);
    insta::assert_snapshot!(decoded.batches.iter().map(show).collect::<String>());
    assert_eq!(decode("orders", &records).dead_letters[0].code, "no-table");
}

/// One record of each wire type that the captures lack, with its schema.
fn typed(field: &str, values: &[&str]) -> String {
    let schema =
        format!(r#"{{"type":"struct","fields":[{{"type":"int32","field":"id"}},{field}],"name":"t.Value"}}"#);
    let messages: Vec<String> = values
        .iter()
        .map(|value| format!(r#"{{"schema":{schema},"payload":{{"id":1,"v":{value},"__op":"c"}}}}"#))
        .collect();
    let records: Vec<_> =
        messages.iter().map(|message| (Some(r#"{"id":1}"#), Some(message.as_str()))).collect();
    let decoded = decode(TOPIC, &records);
    assert_complete(&decoded);
    assert_eq!(decoded.dead_letters, []);
    decoded.batches.iter().map(show).collect()
}

#[test]
fn typed_values_that_do_not_fit_are_kept_as_sent() {
    let decimal = r#"{"type":"bytes","name":"org.apache.kafka.connect.data.Decimal","parameters":{"scale":"2","connect.decimal.precision":"4"},"field":"v"}"#;
    let cases = [
        (r#"{"type":"int16","field":"v"}"#, vec!["32767", "32768", "null"]),
        (r#"{"type":"int32","field":"v"}"#, vec!["1", "2147483648", "1.0"]),
        (r#"{"type":"bytes","field":"v"}"#, vec!["\"AAE=\"", "\"AAE\"", "\"\""]),
        (r#"{"type":"boolean","field":"v"}"#, vec!["true", "\"true\""]),
        (r#"{"type":"double","field":"v"}"#, vec!["1e308", "\"NaN\"", "1e309"]),
        (decimal, vec!["\"JxA=\"", "\"Jw8=\"", "99.99", "12.345"]),
        (
            r#"{"type":"string","name":"io.debezium.time.ZonedTimestamp","field":"v"}"#,
            vec!["\"2024-01-01T00:00:00Z\"", "\"infinity\"", "\"yesterday\""],
        ),
        (r#"{"type":"array","items":{"type":"int16"},"field":"v"}"#, vec!["[1,null]", "[1,70000]", "[]"]),
    ];
    let text: String = cases.iter().map(|(field, values)| typed(field, values)).collect();
    insta::assert_snapshot!(text);
}

#[test]
fn offsets_that_fall_start_another_batch() {
    let row = create(r#"{"id":1}"#);
    let mut decoder = super::TopicDecoder::new(TOPIC.into());
    for offset in [5, 6, 6, 2] {
        decoder.push(&super::record(offset, Some(r#"{"id":1}"#), Some(&row)));
    }
    assert_eq!(decoder.rows(), 4);
    let decoded = decoder.finish();
    assert_complete(&decoded);
    assert_eq!(decoded.batches.iter().map(ChangeBatch::num_rows).collect::<Vec<_>>(), [2, 1, 1]);
    assert_eq!((decoder.rows(), decoder.bytes()), (0, 0));
}
