//! UUIDs as 16 bytes.

use std::fmt;
use std::str::FromStr;

use crate::temporal::ParseError;

/// A UUID.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid([u8; 16]);

impl Uuid {
    /// From its bytes, in the order they are printed.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes, in the order they are printed.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The printed form with hyphens, in either case.
impl FromStr for Uuid {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text.as_bytes()).map(Self).ok_or_else(|| ParseError {
            text: text.into(),
            wanted: "a uuid such as 123e4567-e89b-12d3-a456-426614174000",
        })
    }
}

fn parse(text: &[u8]) -> Option<[u8; 16]> {
    let hyphens = text.len() == 36 && [8, 13, 18, 23].iter().all(|&place| text[place] == b'-');
    let mut nibbles = text.iter().filter(|&&byte| byte != b'-').map(|&byte| (byte as char).to_digit(16));
    if !hyphens || nibbles.clone().count() != 32 {
        return None;
    }
    let mut bytes = [0; 16];
    for byte in &mut bytes {
        *byte = u8::try_from(nibbles.next()?? * 16 + nibbles.next()??).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_uuid_are_each_others_inverse() {
        let text = "123e4567-e89b-12d3-a456-426614174000";
        let uuid: Uuid = text.parse().unwrap();
        assert_eq!(uuid.to_string(), text);
        assert_eq!(uuid.to_bytes()[..3], [0x12, 0x3e, 0x45]);
        assert_eq!(text.to_uppercase().parse(), Ok(uuid));
    }

    #[test]
    fn other_text_is_refused() {
        for text in [
            "",
            "123e4567e89b12d3a456426614174000",
            "123e4567-e89b-12d3-a456-42661417400g",
            "-23e4567-e89b-12d3-a456-4266141740000",
        ] {
            assert!(text.parse::<Uuid>().is_err(), "{text:?}");
        }
    }
}
