//! Decimals on the wire: base64 of a big-endian two's complement integer, or a
//! JSON number where the converter has `decimal.format=NUMERIC`.
//!
//! A base64 string is never read as decimal text: `"1234"` is both.

use arrow::datatypes::i256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::json::{Kind, Lexeme};

/// Bytes of the longest integer whose decimal text is written: about 9,800
/// digits. A longer one is stored as sent, for its conversion is quadratic.
const TEXT_BYTES_MAX: usize = 4096;
/// The largest scale, either way, of a decimal written as text (PostgreSQL's
/// largest is 16,383).
const TEXT_SCALE_MAX: i32 = 16_384;

/// The unscaled value of a decimal with `scale`; `None` if it has more than
/// `precision` digits or is no decimal.
pub(super) fn decimal256(value: Lexeme<'_>, precision: u8, scale: i8) -> Option<i256> {
    let unscaled = match value.kind {
        Kind::Plain => from_base64(value.body())?,
        Kind::Integer | Kind::Number => from_number(value.text, i32::from(scale))?,
        _ => return None,
    };
    let bound = i256::from_i128(10).checked_pow(u32::from(precision))?;
    (unscaled < bound && unscaled > bound.wrapping_neg()).then_some(unscaled)
}

/// As [`decimal256`], for a precision of at most 38.
pub(super) fn decimal128(value: Lexeme<'_>, precision: u8, scale: i8) -> Option<i128> {
    let mut bytes = [0; 18];
    let Some(decoded) = short_base64(value, &mut bytes) else {
        return decimal256(value, precision, scale)?.to_i128();
    };
    let unscaled = extend(decoded)?;
    let bound = 10u128.checked_pow(u32::from(precision))?;
    (unscaled.unsigned_abs() < bound).then_some(unscaled)
}

fn short_base64<'a>(value: Lexeme<'_>, out: &'a mut [u8; 18]) -> Option<&'a [u8]> {
    if value.kind != Kind::Plain || value.text.len() > 26 {
        return None;
    }
    let len = STANDARD.decode_slice(value.body(), out).ok()?;
    out.get(..len).filter(|bytes| bytes.len() <= 16)
}

/// Sign-extends at most 16 bytes; `None` for none, which is no integer.
fn extend(bytes: &[u8]) -> Option<i128> {
    let (first, rest) = bytes.split_first()?;
    let top = i128::from(i8::from_be_bytes([*first]));
    Some(rest.iter().fold(top, |value, byte| (value << 8) | i128::from(*byte)))
}

fn from_base64(text: &[u8]) -> Option<i256> {
    // 32 bytes, and room for what the decoder may write beyond them
    let mut bytes = [0; 36];
    let len = STANDARD.decode_slice(text, &mut bytes).ok()?;
    let bytes = bytes.get(..len).filter(|bytes| bytes.len() <= 32)?;
    let first = bytes.first()?;
    let mut wide = [if *first >= 0x80 { 0xFF } else { 0 }; 32];
    wide.get_mut(32 - bytes.len()..)?.copy_from_slice(bytes);
    Some(i256::from_be_bytes(wide))
}

/// A JSON number as an integer of units of 10^-`scale`; `None` if digits would
/// be lost.
fn from_number(text: &[u8], scale: i32) -> Option<i256> {
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (text.get(..at)?, std::str::from_utf8(text.get(at + 1..)?).ok()?.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let fraction = mantissa.iter().position(|byte| *byte == b'.').map_or(0, |at| mantissa.len() - at - 1);
    let ten = i256::from_i128(10);
    let mut unscaled = i256::ZERO;
    for digit in mantissa.iter().filter(|byte| byte.is_ascii_digit()) {
        unscaled = unscaled.checked_mul(ten)?.checked_add(i256::from_i128(i128::from(digit - b'0')))?;
    }
    if mantissa.starts_with(b"-") {
        unscaled = unscaled.wrapping_neg();
    }
    let shift = scale.checked_add(exponent)?.checked_sub(i32::try_from(fraction).ok()?)?;
    if unscaled == i256::ZERO {
        return Some(unscaled);
    }
    let power = ten.checked_pow(shift.unsigned_abs().min(100))?;
    if shift >= 0 {
        return unscaled.checked_mul(power);
    }
    (unscaled.checked_rem(power)? == i256::ZERO).then(|| unscaled.checked_div(power)).flatten()
}

#[derive(Deserialize)]
struct VariableScale {
    scale: i32,
    value: String,
}

/// Appends the plain decimal text of a `VariableScaleDecimal`, its scale kept as
/// trailing digits; `None`, with `out` in any state, if it is none.
pub(super) fn variable_scale_text(value: Lexeme<'_>, out: &mut Vec<u8>) -> Option<()> {
    if value.kind != Kind::Object {
        return None;
    }
    let VariableScale { scale, value } = serde_json::from_slice(value.text).ok()?;
    scaled_text(&STANDARD.decode(value).ok()?, scale, out)
}

/// Appends the plain decimal text of a base64 decimal of any size.
pub(super) fn fixed_scale_text(value: Lexeme<'_>, scale: i32, out: &mut Vec<u8>) -> Option<()> {
    match value.kind {
        Kind::Plain => scaled_text(&STANDARD.decode(value.body()).ok()?, scale, out),
        _ => None,
    }
}

fn scaled_text(integer: &[u8], scale: i32, out: &mut Vec<u8>) -> Option<()> {
    if integer.is_empty() || integer.len() > TEXT_BYTES_MAX || scale.abs() > TEXT_SCALE_MAX {
        return None;
    }
    let negative = integer.first().is_some_and(|byte| *byte >= 0x80);
    let mut digits = magnitude_text(integer, negative);
    if negative {
        out.push(b'-');
    }
    if scale <= 0 {
        let zeros = if digits == b"0" { 0 } else { usize::try_from(-scale).ok()? };
        digits.resize(digits.len() + zeros, b'0');
        out.extend_from_slice(&digits);
        return Some(());
    }
    let scale = usize::try_from(scale).ok()?;
    if digits.len() <= scale {
        let zeros = scale + 1 - digits.len();
        digits.splice(0..0, std::iter::repeat_n(b'0', zeros));
    }
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    out.extend_from_slice(whole);
    out.push(b'.');
    out.extend_from_slice(fraction);
    Some(())
}

/// Decimal digits of the magnitude of a two's complement integer.
fn magnitude_text(integer: &[u8], negative: bool) -> Vec<u8> {
    if let (true, Some(value)) = (integer.len() <= 16, extend(integer)) {
        return value.unsigned_abs().to_string().into_bytes();
    }
    let mut limbs: Vec<u32> = integer
        .rchunks(4)
        .map(|chunk| {
            chunk.iter().fold(if negative { u32::MAX } else { 0 }, |limb, b| (limb << 8) | u32::from(*b))
        })
        .collect();
    if negative {
        let mut carry = true;
        for limb in &mut limbs {
            (*limb, carry) = (!*limb).overflowing_add(u32::from(carry));
        }
        // the magnitude of the most negative integer needs one more limb
        limbs.extend(carry.then_some(1));
    }
    let mut parts = Vec::new();
    while !limbs.is_empty() {
        let mut remainder = 0;
        for limb in limbs.iter_mut().rev() {
            let value = (remainder << 32) | u64::from(*limb);
            *limb = u32::try_from(value / 1_000_000_000).unwrap_or(u32::MAX);
            remainder = value % 1_000_000_000;
        }
        parts.push(remainder);
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
    }
    let mut text = String::new();
    for (index, part) in parts.iter().rev().enumerate() {
        text.push_str(&if index == 0 { part.to_string() } else { format!("{part:09}") });
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str, precision: u8, scale: i8) -> Option<i128> {
        decimal128(Lexeme::of(text), precision, scale)
    }

    #[test]
    fn base64_is_read_as_two_s_complement() {
        assert_eq!(number("\"BNI=\"", 38, 2), Some(1234));
        assert_eq!(number("\"/x8=\"", 10, 2), Some(-225));
        assert_eq!(number("\"\"", 10, 2), None);
        assert_eq!(number("\"BNI\"", 10, 2), None);
        assert_eq!(number("\"BNI=\"", 3, 2), None);
        assert_eq!(decimal256(Lexeme::of("\"BNI=\""), 50, 2), Some(i256::from_i128(1234)));
    }

    #[test]
    fn numbers_keep_every_digit_or_do_not_fit() {
        assert_eq!(number("12.5", 10, 2), Some(1250));
        assert_eq!(number("-12.5E+1", 10, 2), Some(-12_500));
        assert_eq!(number("12.500", 10, 2), Some(1250));
        assert_eq!(number("12.505", 10, 2), None);
        assert_eq!(number("1e30", 10, 2), None);
        assert_eq!(number("1e999999999", 10, 2), None);
        assert_eq!(number("0e999999999", 10, 2), Some(0));
    }

    fn text(bytes: &[u8], scale: i32) -> Option<String> {
        let mut out = Vec::new();
        scaled_text(bytes, scale, &mut out)?;
        String::from_utf8(out).ok()
    }

    #[test]
    fn text_keeps_the_scale() {
        assert_eq!(text(&[1], 3).as_deref(), Some("0.001"));
        assert_eq!(text(&[0xFF], 0).as_deref(), Some("-1"));
        assert_eq!(text(&[5], -3).as_deref(), Some("5000"));
        assert_eq!(text(&[0], 2).as_deref(), Some("0.00"));
        assert_eq!(text(&[], 2), None);
    }

    #[test]
    fn long_integers_equal_the_short_way() {
        for value in [i128::MIN, i128::MAX, -1, 0, 10i128.pow(30), -(10i128.pow(18))] {
            let mut long = vec![if value < 0 { 0xFF } else { 0 }; 5];
            long.extend(value.to_be_bytes());
            assert_eq!(text(&long, 0), Some(value.to_string()), "{value}");
        }
        let mut lowest = vec![0; 32];
        lowest[0] = 0x80;
        assert_eq!(text(&lowest, 0), Some(i256::MIN.to_string()));
    }
}
