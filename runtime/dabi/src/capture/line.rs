//! One record as a line of JSON:
//! `{"p":partition,"o":offset,"ts":ms,"tt":"create"|"append"|null,"k":key,"v":value,"h":[[name,value],…]}`.
//!
//! Key, value and header values are `null`, the bytes as a string if they are
//! UTF-8, else `{"b64":"…"}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Who set a record's timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimestampKind {
    /// The producer.
    Create,
    /// The broker.
    Append,
}

/// One record of a capture.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Partition.
    #[serde(rename = "p")]
    pub partition: i32,
    /// Offset.
    #[serde(rename = "o")]
    pub offset: i64,
    /// Timestamp, ms since 1970; -1 for a record without one.
    #[serde(rename = "ts")]
    pub timestamp_ms: i64,
    /// Who set the timestamp; null for a record without one.
    #[serde(rename = "tt")]
    pub timestamp_kind: Option<TimestampKind>,
    /// Key.
    #[serde(rename = "k", serialize_with = "write_bytes", deserialize_with = "read_bytes")]
    pub key: Option<Vec<u8>>,
    /// Value; null for a tombstone.
    #[serde(rename = "v", serialize_with = "write_bytes", deserialize_with = "read_bytes")]
    pub value: Option<Vec<u8>>,
    /// Headers in order.
    #[serde(rename = "h")]
    pub headers: Vec<(String, HeaderValue)>,
}

/// The value of a header; `None` for null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HeaderValue(
    #[serde(serialize_with = "write_bytes", deserialize_with = "read_bytes")] pub Option<Vec<u8>>,
);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written<'a> {
    Text(std::borrow::Cow<'a, str>),
    Base64 { b64: String },
}

fn write_bytes<S: Serializer>(bytes: &Option<Vec<u8>>, serializer: S) -> Result<S::Ok, S::Error> {
    let written = bytes.as_deref().map(|bytes| match std::str::from_utf8(bytes) {
        Ok(text) => Written::Text(text.into()),
        Err(_) => Written::Base64 { b64: STANDARD.encode(bytes) },
    });
    written.serialize(serializer)
}

fn read_bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error> {
    Ok(match Option::<Written<'_>>::deserialize(deserializer)? {
        None => None,
        Some(Written::Text(text)) => Some(text.into_owned().into_bytes()),
        Some(Written::Base64 { b64 }) => Some(STANDARD.decode(b64).map_err(serde::de::Error::custom)?),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_format_is_that_of_the_fixtures() {
        let line = Line {
            partition: 1,
            offset: 7,
            timestamp_ms: 1_700_000_000_000,
            timestamp_kind: Some(TimestampKind::Create),
            key: Some(b"{\"id\":1}".to_vec()),
            value: None,
            headers: vec![
                ("a".to_owned(), HeaderValue(Some("ü\n".into()))),
                ("b".to_owned(), HeaderValue(None)),
                ("c".to_owned(), HeaderValue(Some(vec![0xff, 0]))),
            ],
        };
        let text = r#"{"p":1,"o":7,"ts":1700000000000,"tt":"create","k":"{\"id\":1}","v":null,"h":[["a","ü\n"],["b",null],["c",{"b64":"/wA="}]]}"#;
        assert_eq!(serde_json::to_string(&line).expect("serialises"), text);
        assert_eq!(serde_json::from_str::<Line>(text).expect("parses"), line);
    }

    proptest! {
        #[test]
        fn every_record_comes_back(
            key in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)),
            value in proptest::option::of(".{0,20}"),
            headers in proptest::collection::vec((".{0,5}", proptest::option::of(proptest::collection::vec(any::<u8>(), 0..9))), 0..4),
        ) {
            let line = Line {
                partition: 0,
                offset: 0,
                timestamp_ms: -1,
                timestamp_kind: None,
                key,
                value: value.map(String::into_bytes),
                headers: headers.into_iter().map(|(name, value)| (name, HeaderValue(value))).collect(),
            };
            let text = serde_json::to_string(&line).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<Line>(&text).expect("parses"), line);
        }
    }
}
