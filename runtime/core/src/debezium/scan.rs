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

    #[inline]
    fn take(&mut self, len: usize, kind: Kind) -> Option<Lexeme<'a>> {
        let (text, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(Lexeme { kind, text })
    }

    /// The value that comes next.
    #[inline(always)]
    pub(super) fn value(&mut self) -> Option<Lexeme<'a>> {
        match self.peek()? {
            b'"' => self.string(),
            b'0'..=b'9' | b'-' => self.number(),
            b'n' => self.word(b"null", Kind::Null),
            b't' => self.word(b"true", Kind::True),
            b'f' => self.word(b"false", Kind::False),
            b'{' => self.nested(Kind::Object),
            b'[' => self.nested(Kind::Array),
            _ => None,
        }
    }

    fn word(&mut self, word: &[u8], kind: Kind) -> Option<Lexeme<'a>> {
        if !self.rest.starts_with(word) {
            return None;
        }
        self.take(word.len(), kind)
    }

    #[inline(always)]
    fn string(&mut self) -> Option<Lexeme<'a>> {
        let text = self.rest;
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
            match *text.get(at)? {
                b'"' => break,
                b'\\' => {
                    at += escape_len(text.get(at + 1..)?)?;
                    kind = Kind::Escaped;
                }
                0..0x20 => return None,
                byte => {
                    high |= u64::from(byte & 0x80);
                    at += 1;
                }
            }
        }
        let string = self.take(at + 1, kind)?;
        if high != 0 {
            std::str::from_utf8(string.text).ok()?;
        }
        Some(string)
    }

    #[inline(always)]
    fn number(&mut self) -> Option<Lexeme<'a>> {
        let text = self.rest;
        let start = usize::from(text.first() == Some(&b'-'));
        let digits = text.get(start..)?;
        let len = digits_len(digits);
        if len == 0 || (len > 1 && digits.first() == Some(&b'0')) {
            return None;
        }
        let mut end = start + len;
        if !matches!(text.get(end), Some(b'.' | b'e' | b'E')) {
            return self.take(end, Kind::Integer);
        }
        if text.get(end) == Some(&b'.') {
            let len = digits_len(text.get(end + 1..)?);
            end += 1 + Some(len).filter(|len| *len > 0)?;
        }
        if matches!(text.get(end), Some(b'e' | b'E')) {
            end += 1 + usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
            end += Some(digits_len(text.get(end..)?)).filter(|len| *len > 0)?;
        }
        self.take(end, Kind::Number)
    }

    #[inline(never)]
    fn nested(&mut self, kind: Kind) -> Option<Lexeme<'a>> {
        let whole = self.rest;
        self.skip_nested(0)?;
        let len = whole.len() - self.rest.len();
        Some(Lexeme { kind, text: whole.get(..len)? })
    }

    fn skip_nested(&mut self, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        let object = self.peek()? == b'{';
        let close = if object { b'}' } else { b']' };
        self.take(1, Kind::Absent)?;
        if self.peek()? == close {
            return self.take(1, Kind::Absent).map(drop);
        }
        loop {
            if object {
                (self.peek()? == b'"').then_some(())?;
                let name = self.string()?;
                // a name that is no text is an error to serde_json
                name.string()?;
                self.literal(b":")?;
            }
            match self.peek()? {
                b'{' | b'[' => self.skip_nested(depth + 1)?,
                _ => drop(self.value()?),
            }
            let next = self.peek()?;
            self.take(1, Kind::Absent)?;
            match next {
                b',' => {}
                _ if next == close => return Some(()),
                _ => return None,
            }
        }
    }
}

/// Compares two texts of equal length. Literals are short, mostly 8 to 32 bytes,
/// where this is faster than a call of `memcmp`.
#[inline]
fn same(text: &[u8], literal: &[u8]) -> bool {
    let (mut a, mut b) = (text, literal);
    while let (Some((x, rest)), Some((y, tail))) = (a.split_first_chunk::<8>(), b.split_first_chunk::<8>()) {
        if x != y {
            return false;
        }
        (a, b) = (rest, tail);
    }
    match (text.last_chunk::<8>(), literal.last_chunk::<8>()) {
        (Some(x), Some(y)) => x == y,
        _ => a.iter().zip(b).all(|(x, y)| x == y),
    }
}

/// Marks quotes, backslashes and control bytes; only the lowest mark is exact.
#[inline]
fn special(word: u64) -> u64 {
    let is_zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (is_zero(word ^ (ONES * 0x22)) | is_zero(word ^ (ONES * 0x5C)) | control) & HIGHS
}

/// How many digits `text` begins with.
#[inline]
fn digits_len(text: &[u8]) -> usize {
    let mut at = 0;
    while let Some(chunk) = text.get(at..).and_then(<[u8]>::first_chunk::<8>) {
        let word = u64::from_le_bytes(*chunk) ^ (ONES * 0x30);
        let others = (word.wrapping_add(ONES * 0x76) | word) & HIGHS;
        if others != 0 {
            return at + others.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + text.get(at..).map_or(0, |tail| tail.iter().take_while(|byte| byte.is_ascii_digit()).count())
}

/// Length of an escape, its backslash included, by what follows the backslash.
fn escape_len(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => text.get(1..5)?.iter().all(u8::is_ascii_hexdigit).then_some(6),
        _ => None,
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
