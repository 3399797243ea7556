//! JSON values as lexemes: a kind and the exact bytes that were sent.
//!
//! Owns reading an object's entries (through `serde_json`) and unescaping. Does
//! not own what a value means. Invariant: a [`Lexeme`] holds one valid JSON
//! value, without white space around it, in valid UTF-8.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// What a JSON value is, as far as its first look tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// not there at all
    Absent,
    Null,
    True,
    False,
    /// a number of digits alone
    Integer,
    /// a number with a fraction or an exponent
    Number,
    /// a string without escapes
    Plain,
    /// a string with escapes
    Escaped,
    Array,
    Object,
}

/// One JSON value as it was sent; a string with its quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lexeme<'a> {
    pub(super) kind: Kind,
    pub(super) text: &'a [u8],
}

impl<'a> Lexeme<'a> {
    pub(super) const ABSENT: Self = Self { kind: Kind::Absent, text: b"" };
    pub(super) const NULL: Self = Self { kind: Kind::Null, text: b"null" };

    /// Classifies the text of a value that is known to be valid JSON.
    pub(super) fn of(text: &'a str) -> Self {
        let text = text.as_bytes();
        let kind = match text.first() {
            Some(b'n') => Kind::Null,
            Some(b't') => Kind::True,
            Some(b'f') => Kind::False,
            Some(b'"') if text.contains(&b'\\') => Kind::Escaped,
            Some(b'"') => Kind::Plain,
            Some(b'[') => Kind::Array,
            Some(b'{') => Kind::Object,
            Some(_) if text.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E')) => Kind::Number,
            Some(_) => Kind::Integer,
            None => Kind::Absent,
        };
        Self { kind, text }
    }

    /// True for a value that was not sent or is null.
    pub(super) fn is_null(self) -> bool {
        matches!(self.kind, Kind::Absent | Kind::Null)
    }

    pub(super) fn is_string(self) -> bool {
        matches!(self.kind, Kind::Plain | Kind::Escaped)
    }

    /// What stands between the quotes of a string, escapes untouched.
    pub(super) fn body(self) -> &'a [u8] {
        debug_assert!(self.is_string());
        self.text.get(1..self.text.len().saturating_sub(1)).unwrap_or_default()
    }

    /// The text as sent.
    pub(super) fn as_str(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.text)
    }

    /// The value of a string; `None` for anything else, and for a string that
    /// is no text (a lone surrogate).
    pub(super) fn string(self) -> Option<Cow<'a, str>> {
        match self.kind {
            Kind::Plain => std::str::from_utf8(self.body()).ok().map(Cow::Borrowed),
            Kind::Escaped => {
                let mut out = Vec::with_capacity(self.text.len());
                unescape(self.body(), &mut out)?;
                String::from_utf8(out).ok().map(Cow::Owned)
            }
            _ => None,
        }
    }

    /// `Some` for `true`, `false` and the strings of the same letters, which
    /// Debezium uses for some flags.
    pub(super) fn flag(self) -> Option<bool> {
        match (self.kind, self.text) {
            (Kind::True, _) | (Kind::Plain, b"\"true\"") => Some(true),
            (Kind::False, _) | (Kind::Plain, b"\"false\"") => Some(false),
            _ => None,
        }
    }
}

/// The entries of an object in the order sent, repeated names included.
pub(super) type Entries<'a> = Vec<(Cow<'a, str>, Lexeme<'a>)>;

/// Reads `text`, which must be one object and nothing else.
pub(super) fn entries(text: &str) -> serde_json::Result<Entries<'_>> {
    serde_json::from_str::<Object<'_>>(text).map(|object| object.0)
}

/// Reads `text`, which must be one array and nothing else, as its items.
pub(super) fn items(text: &[u8]) -> serde_json::Result<Vec<&RawValue>> {
    serde_json::from_slice(text)
}

/// The last value of that name: the one that counts where a name is repeated.
pub(super) fn last<'a>(entries: &Entries<'a>, name: &str) -> Lexeme<'a> {
    entries.iter().rev().find(|(have, _)| have == name).map_or(Lexeme::ABSENT, |(_, value)| *value)
}

struct Object<'a>(Entries<'a>);

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::with_capacity(16);
        while let Some(Name(name)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            entries.push((name, Lexeme::of(value.get())));
        }
        Ok(Object(entries))
    }
}

/// A name, borrowed where it has no escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(NameVisitor)
    }
}

struct NameVisitor;

impl<'de> Visitor<'de> for NameVisitor {
    type Value = Name<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Borrowed(name)))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Name(Cow::Owned(name.to_owned())))
    }
}

/// Appends the text that the escaped `body` of a valid JSON string stands for;
/// `None`, with `out` in any state, if it holds a lone surrogate.
pub(super) fn unescape(mut body: &[u8], out: &mut Vec<u8>) -> Option<()> {
    while let Some(at) = body.iter().position(|byte| *byte == b'\\') {
        out.extend_from_slice(body.get(..at)?);
        let (letter, rest) = body.get(at + 1..)?.split_first()?;
        body = rest;
        let byte = match letter {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let (unit, rest) = hex4(body)?;
                let (letter, rest) = character(unit, rest)?;
                out.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
                body = rest;
                continue;
            }
            b'"' | b'\\' | b'/' => *letter,
            _ => return None,
        };
        out.push(byte);
    }
    out.extend_from_slice(body);
    Some(())
}

fn hex4(text: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = text.split_at_checked(4)?;
    let unit = digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))?;
    Some((unit, rest))
}

/// The character that starts with the UTF-16 unit `unit`.
fn character(unit: u32, rest: &[u8]) -> Option<(char, &[u8])> {
    if !(0xD800..0xDC00).contains(&unit) {
        return char::from_u32(unit).map(|letter| (letter, rest));
    }
    let (low, rest) = hex4(rest.strip_prefix(b"\\u")?)?;
    let low = low.checked_sub(0xDC00).filter(|low| *low < 0x400)?;
    char::from_u32(0x1_0000 + ((unit - 0xD800) << 10) + low).map(|letter| (letter, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, expected: Option<&str>) {
        assert_eq!(Lexeme::of(json).string().as_deref(), expected, "{json}");
    }

    #[test]
    fn strings_are_unescaped_as_json_says() {
        check(r#""plain é""#, Some("plain é"));
        check(r#""a\"b\\c\/d\n\t\r\b\f""#, Some("a\"b\\c/d\n\t\r\u{8}\u{c}"));
        check(r#""\u00e9\ud83d\ude00!""#, Some("é😀!"));
        check(r#""\ud83d""#, None);
        check(r#""\ude00""#, None);
        check(r#""\ud83d\u0041""#, None);
        check("12", None);
    }

    #[test]
    fn the_last_of_repeated_names_counts() {
        let entries = entries(r#" {"a":1,"b":{"x":[ 1 ]},"a":2.0} "#).unwrap();
        assert_eq!(last(&entries, "a").text, b"2.0");
        assert_eq!(last(&entries, "b").text, br#"{"x":[ 1 ]}"#);
        assert_eq!(last(&entries, "c"), Lexeme::ABSENT);
    }
}
