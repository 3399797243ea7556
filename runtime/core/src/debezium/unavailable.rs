//! The placeholders that Debezium sends for values it does not have: unchanged
//! TOAST columns of PostgreSQL under a replica identity other than FULL.
//!
//! Owns their forms by type (Debezium's `UnchangedToastedPlaceholder`, at the
//! default of `unavailable.value.placeholder`). Invariant: what is recognised
//! here is never stored as a value.

use super::json::{Kind, Lexeme};

const TEXT: &[u8] = b"\"__debezium_unavailable_value\"";
/// The same as base64, for `bytea`.
const BYTES: &[u8] = b"\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"";
/// `hstore.handling.mode=json`
const HSTORE_TEXT: &[u8] = br#""{\"__debezium_unavailable_value\":\"__debezium_unavailable_value\"}""#;
/// `hstore.handling.mode=map`
const HSTORE_MAP: &[u8] = br#"{"__debezium_unavailable_value":"__debezium_unavailable_value"}"#;
/// Arrays of text, bytes, uuid (the name-based UUID of the text) and integers
/// (one for each ASCII letter of the text).
const ARRAYS: [&[u8]; 4] = [
    br#"["__debezium_unavailable_value"]"#,
    br#"["X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ=="]"#,
    br#"["b68a35a7-17ad-35b3-af2a-ae46edb4545a"]"#,
    b"[95,95,100,101,98,101,122,105,117,109,95,117,110,97,118,97,105,108,97,98,108,101,95,118,97,108,117,101]",
];
/// Geometry and geography: structs whose `wkb` is one of these.
const GEOMETRIES: [&[u8]; 2] =
    [br#""wkb":"AQEAACDmEAAAAAAA/IPXl8EAAAD8g9eXwQ==""#, br#""wkb":"AQEAACDmEAAADCHn/f9/ZkAYQs77/39WQA==""#];

/// Does `value` stand for one not sent?
///
/// The base64 form counts wherever the column is not known to be text, since
/// JSON without a schema does not tell the two apart.
#[inline]
pub(super) fn is_placeholder(value: Lexeme<'_>, is_text: impl Fn() -> bool) -> bool {
    match (value.kind, value.text.len()) {
        (Kind::Plain, 30) => value.text == TEXT,
        (Kind::Plain, 42) => value.text == BYTES && !is_text(),
        (Kind::Escaped, 69) => value.text == HSTORE_TEXT,
        (Kind::Array, 32..=110) => ARRAYS.contains(&value.text),
        (Kind::Object, 30..=200) => {
            value.text == HSTORE_MAP
                || GEOMETRIES.iter().any(|wkb| value.text.windows(wkb.len()).any(|window| window == *wkb))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_recognised_at_its_length() {
        let forms = [TEXT, BYTES, HSTORE_TEXT, HSTORE_MAP].into_iter().chain(ARRAYS);
        for form in forms {
            let form = std::str::from_utf8(form).unwrap();
            assert!(is_placeholder(Lexeme::of(form), || false), "{form}");
        }
        let geometry = r#"{"wkb":"AQEAACDmEAAAAAAA/IPXl8EAAAD8g9eXwQ==","srid":4326}"#;
        assert!(is_placeholder(Lexeme::of(geometry), || false));
        let text = Lexeme::of(std::str::from_utf8(BYTES).unwrap());
        assert!(!is_placeholder(text, || true), "a text may spell it");
    }
}
