//! A strict JSON scanner over bytes, for the guided path.
//!
//! Owns finding where a value ends, eight bytes at a time. Invariant: it accepts
//! a subset of what `serde_json` accepts, with the same lexemes; in any doubt
//! (white space between tokens, deep nesting, bytes that are no UTF-8) it gives
//! up, and the caller parses the whole record the general way.

use super::json::{Kind, Lexeme};

/// How deep arrays and objects may nest before the scanner gives up.
const DEPTH_MAX: usize = 32;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// What is left to scan.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Goes past `literal`, if it comes next.
    #[inline(always)]
    pub(super) fn literal(&mut self, literal: &[u8]) -> Option<()> {
        let (text, rest) = self.rest.split_at_checked(literal.len())?;
        if !same(text, literal) {
            return None;
        }
        self.rest = rest;
        Some(())
    }

    /// The value that comes next.
    #[inline(always)]
    pub(super) fn value(&mut self) -> Option<Lexeme<'a>> {
        let mut value = Lexeme::ABSENT;
        self.value_into(&mut value)?;
        Some(value)
    }

    /// Puts the value that comes next into `place`: field by field, since a
    /// lexeme that is put together elsewhere and copied stalls on its own bytes.
    #[inline(always)]
    pub(super) fn value_into(&mut self, place: &mut Lexeme<'a>) -> Option<()> {
        let (kind, len) = match self.peek()? {
            b'"' => string(self.rest),
            b'0'..=b'9' | b'-' => number(self.rest),
            b'n' => word(self.rest, b"null", Kind::Null),
            b't' => word(self.rest, b"true", Kind::True),
            b'f' => word(self.rest, b"false", Kind::False),
            b'{' | b'[' => nested(self.rest),
            _ => NONE,
        };
        if kind == Kind::Absent {
            return None;
        }
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        place.kind = kind;
        place.text = text;
        Some(())
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn skip_nested(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        let object = self.byte()? == b'{';
        let close = if object { b'}' } else { b']' };
        if self.peek()? == close {
            return self.byte().map(drop);
        }
        loop {
            if object {
                // a name that is no text is an error to serde_json
                self.value()?.string()?;
                self.literal(b":")?;
            }
            match self.peek()? {
                b'{' | b'[' => self.skip_nested(depth + 1)?,
                _ => drop(self.value()?),
            }
            match self.byte()? {
                b',' => {}
                byte => return (byte == close).then_some(()),
            }
        }
    }
}

/// Kind and length of a value; [`NONE`] for what is none, or in doubt.
type Measure = (Kind, usize);

const NONE: Measure = (Kind::Absent, 0);

fn word(text: &[u8], word: &[u8], kind: Kind) -> Measure {
    if text.starts_with(word) { (kind, word.len()) } else { NONE }
}

#[inline(always)]
fn string(text: &[u8]) -> Measure {
    let (mut at, mut high, mut kind) = (1, 0, Kind::Plain);
    loop {
        while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
            let word = u64::from_le_bytes(*chunk);
            high |= word & HIGHS;
            let hits = special(word);
            if hits != 0 {
                at += hits.trailing_zeros() as usize / 8;
                break;
            }
            at += 8;
        }
        match text.get(at) {
            Some(b'"') => break,
            Some(b'\\') => {
                kind = Kind::Escaped;
                // what JSON text within a string is full of
                if let Some(b'"' | b'\\') = text.get(at + 1) {
                    at += 2;
                    continue;
                }
                let len = escape_len(text.get(at + 1..).unwrap_or_default());
                if len == 0 {
                    return NONE;
                }
                at += len;
            }
            None | Some(0..0x20) => return NONE,
            Some(byte) => {
                high |= u64::from(byte & 0x80);
                at += 1;
            }
        }
    }
    if high != 0 && !is_utf8(text, at) {
        return NONE;
    }
    (kind, at + 1)
}

#[inline(never)]
fn is_utf8(text: &[u8], len: usize) -> bool {
    text.get(..len).is_some_and(|text| std::str::from_utf8(text).is_ok())
}

#[inline(always)]
fn number(text: &[u8]) -> Measure {
    let start = usize::from(text.first() == Some(&b'-'));
    let len = digits_len(text, start);
    if len == 0 || (len > 1 && text.get(start) == Some(&b'0')) {
        return NONE;
    }
    match text.get(start + len) {
        Some(b'.' | b'e' | b'E') => fraction(text, start + len),
        _ => (Kind::Integer, start + len),
    }
}

/// A number that goes on after the digits up to `at`.
#[inline(never)]
fn fraction(text: &[u8], at: usize) -> Measure {
    let mut end = at;
    if text.get(end) == Some(&b'.') {
        let len = digits_len(text, end + 1);
        if len == 0 {
            return NONE;
        }
        end += 1 + len;
    }
    if matches!(text.get(end), Some(b'e' | b'E')) {
        end += 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let len = digits_len(text, end);
        if len == 0 {
            return NONE;
        }
        end += len;
    }
    (Kind::Number, end)
}

#[inline(never)]
fn nested(text: &[u8]) -> Measure {
    let kind = if text.first() == Some(&b'{') { Kind::Object } else { Kind::Array };
    let mut scanner = Scanner::new(text);
    match scanner.skip_nested(0) {
        Some(()) => (kind, text.len() - scanner.rest.len()),
        None => NONE,
    }
}

/// Compares two texts of equal length. Literals are short, mostly 8 to 32 bytes,
/// where two words that may overlap are faster than a call of `memcmp`.
#[inline(always)]
fn same(text: &[u8], literal: &[u8]) -> bool {
    fn ends<const N: usize>(text: &[u8], literal: &[u8]) -> bool {
        text.first_chunk::<N>() == literal.first_chunk::<N>()
            && text.last_chunk::<N>() == literal.last_chunk::<N>()
    }
    match literal.len() {
        0..4 => text.iter().zip(literal).all(|(a, b)| a == b),
        4..8 => ends::<4>(text, literal),
        8..=16 => ends::<8>(text, literal),
        17..=32 => ends::<16>(text, literal),
        _ => text == literal,
    }
}

/// Marks quotes, backslashes and control bytes; only the lowest mark is exact.
#[inline]
fn special(word: u64) -> u64 {
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (is_zero(word ^ (ONES * 0x22)) | is_zero(word ^ (ONES * 0x5C)) | control) & HIGHS
}

/// How many digits there are from `start` on.
#[inline(always)]
fn digits_len(text: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk) ^ (ONES * 0x30);
        let others = (word.wrapping_add(ONES * 0x76) | word) & HIGHS;
        if others != 0 {
            return at - start + others.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let tail = text.get(at..).unwrap_or_default();
    at - start + tail.iter().take_while(|byte| byte.is_ascii_digit()).count()
}

/// Length of an escape, its backslash included, by what follows the backslash;
/// 0 for none.
fn escape_len(text: &[u8]) -> usize {
    match text.first() {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
        Some(b'u') if text.get(1..5).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) => 6,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::value::RawValue;

    use super::*;

    /// What serde_json makes of the value, if it is followed by nothing.
    fn reference(text: &[u8]) -> Option<Lexeme<'_>> {
        let text = std::str::from_utf8(text).ok()?;
        serde_json::from_str::<&RawValue>(text).ok().map(|value| Lexeme::of(value.get()))
    }

    fn scan(text: &[u8]) -> Option<Lexeme<'_>> {
        let mut scanner = Scanner::new(text);
        scanner.value().filter(|_| scanner.is_at_end())
    }

    #[test]
    fn values_are_scanned_as_serde_json_does() {
        for text in [
            "null",
            "true",
            "false",
            "0",
            "-0",
            "12345678",
            "123456789012345678901",
            "-1.5e+10",
            "1E5",
            "\"\"",
            "\"abcdefgh\"",
            "\"abcdefghijklmno\\\"p\\u00e9\"",
            "\"é ☕ 🚲 long enough\"",
            "[]",
            "{}",
            "[1,\"a\",{\"b\":[null]}]",
            "{\"scale\":3,\"value\":\"AQ==\"}",
            "\"\\ud800\"",
        ] {
            let scanned = scan(text.as_bytes());
            assert!(scanned.is_some(), "{text}");
            assert_eq!(scanned, reference(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            "nul",
            "tru",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "\"",
            "\"a",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"a\tb\"",
            "[1,]",
            "[1",
            "{\"a\"}",
            "{\"a\":1,}",
            "{1:2}",
            "[}",
            "{\"\\ud800\":1}",
        ] {
            assert_eq!(scan(text.as_bytes()), None, "{text}");
        }
        assert_eq!(scan(b"\"\xff long enough to fill a word\""), None);
        assert_eq!(scan(&b"[".repeat(100_000)), None);
    }

    proptest! {
        #[test]
        fn whatever_is_scanned_is_what_serde_json_parses(text in r#"[ \[\]{}:,"\\0-9eE+.\-truefalsn\u{e9}a\x01]{0,24}"#) {
            if let Some(lexeme) = scan(text.as_bytes()) {
                prop_assert_eq!(Some(lexeme), reference(text.as_bytes()));
            }
        }

        #[test]
        fn arbitrary_bytes_are_never_taken_for_what_they_are_not(bytes: Vec<u8>) {
            if let Some(lexeme) = scan(&bytes) {
                prop_assert_eq!(Some(lexeme), reference(&bytes));
            }
        }
    }
}
