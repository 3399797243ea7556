//! Integers and floats as JSON sends them.

use super::json::{Kind, Lexeme};

/// The value of a JSON integer; `None` if it does not fit 64 bits or would not
/// be written back the same (`-0`).
#[inline]
pub(super) fn integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text.split_first()? {
        (b'-', digits) => (true, digits),
        _ => (false, text),
    };
    if digits.len() > 18 {
        return std::str::from_utf8(text).ok()?.parse().ok();
    }
    let mut value = 0;
    let mut rest = digits;
    while let Some((eight, tail)) = rest.split_first_chunk::<8>() {
        value = value * 100_000_000 + eight_digits(*eight);
        rest = tail;
    }
    for digit in rest {
        value = value * 10 + u64::from(digit & 0x0F);
    }
    let value = value.cast_signed();
    if negative { (value != 0).then_some(-value) } else { Some(value) }
}

/// The value of eight ASCII digits, by halves: pairs, then fours, then all.
fn eight_digits(digits: [u8; 8]) -> u64 {
    let ones = u64::from_le_bytes(digits) & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = (ones.wrapping_mul(10 << 8 | 1) >> 8) & 0x00FF_00FF_00FF_00FF;
    let fours = (pairs.wrapping_mul(100 << 16 | 1) >> 16) & 0x0000_FFFF_0000_FFFF;
    fours.wrapping_mul(10_000 << 32 | 1) >> 32
}

/// A float of the text, or one of the strings `NaN`, `Infinity`, `-Infinity`.
/// `None` for a number beyond the range of the type.
pub(super) fn float32(value: Lexeme<'_>) -> Option<f32> {
    match value.kind {
        Kind::Integer | Kind::Number => {
            std::str::from_utf8(value.text).ok()?.parse().ok().filter(|float: &f32| float.is_finite())
        }
        _ => match value.text {
            b"\"NaN\"" => Some(f32::NAN),
            b"\"Infinity\"" => Some(f32::INFINITY),
            b"\"-Infinity\"" => Some(f32::NEG_INFINITY),
            _ => None,
        },
    }
}

/// As [`float32`], with 64 bits.
pub(super) fn float64(value: Lexeme<'_>) -> Option<f64> {
    match value.kind {
        Kind::Integer | Kind::Number => {
            std::str::from_utf8(value.text).ok()?.parse().ok().filter(|float: &f64| float.is_finite())
        }
        _ => match value.text {
            b"\"NaN\"" => Some(f64::NAN),
            b"\"Infinity\"" => Some(f64::INFINITY),
            b"\"-Infinity\"" => Some(f64::NEG_INFINITY),
            _ => None,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_those_that_are_written_back_the_same() {
        for value in [0, 1, -1, 42, 12_345_678, -987_654_321, i64::MAX, i64::MIN, 999_999_999_999_999_999] {
            assert_eq!(integer(value.to_string().as_bytes()), Some(value));
        }
        assert_eq!(integer(b"-0"), None);
        assert_eq!(integer(b"9223372036854775808"), None);
        assert_eq!(integer(b"-9223372036854775809"), None);
        assert_eq!(integer(b"123456789012345678901234567890"), None);
    }

    #[test]
    fn floats_beyond_their_range_do_not_fit() {
        assert_eq!(float64(Lexeme::of("1e400")), None);
        assert_eq!(float32(Lexeme::of("1e39")), None);
        assert_eq!(float64(Lexeme::of("-0.0")).map(f64::to_bits), Some((-0.0_f64).to_bits()));
        assert_eq!(float64(Lexeme::of("\"Infinity\"")), Some(f64::INFINITY));
        assert_eq!(float64(Lexeme::of("\"inf\"")), None);
        assert!(float32(Lexeme::of("\"NaN\"")).is_some_and(f32::is_nan));
    }
}
