//! Reading as an exact decimal.
//!
//! Without a schema a numeric column is a string, and what the string holds is
//! the connector's choice: base64 of the unscaled value as big-endian two's
//! complement (`decimal.handling.mode=precise`, the default) or a plain number
//! (`string`). Some texts are both: `"1234"`. A value is taken only if exactly
//! one of the two readings is possible; if both are, the input column's option
//! `decimal` = `base64` | `string` must settle it. So nothing is misread,
//! whichever mode the connector runs in.
//!
//! What base64 cannot tell is its scale: it is that of the declared type, which
//! therefore must be the source column's.

use arrow::datatypes::i256;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::sent::Sent;
use super::{DecimalText, Fault, Hints, shown};

/// The unscaled value of `sent` as a decimal(precision, scale).
pub(super) fn decimal(sent: Sent<'_>, precision: u8, scale: u8, hints: Hints) -> Result<i128, Fault> {
    let scale = i32::from(scale);
    let value = match sent {
        Sent::Integer(value) => rescale(value.into(), scale),
        Sent::Decimal(value, from) => rescale(value, scale - i32::from(from)),
        Sent::WideDecimal(value, from) => rescale_wide(value, scale - i32::from(from)),
        Sent::Text(text) => return from_text(text, precision, scale, hints.decimal),
        Sent::Document(text) => match VariableScale::parse(text) {
            Some(VariableScale { scale: from, value }) => match big_endian(&value) {
                Some(value) => rescale(value, scale - from),
                None => parse(&decimal_text(&value, from)?, scale),
            },
            None => return Err(Fault::unreadable(sent, "it is not a number")),
        },
        Sent::Number(_) => {
            return Err(Fault::inexact(
                sent,
                "it was sent as a floating-point number, which has lost digits or may lose them; set \
                 decimal.handling.mode=precise in the connector, or declare float64",
            ));
        }
        other => return Err(Fault::unreadable(other, "it is not a number")),
    };
    within(value, precision).map_err(|misfit| misfit.fault(&sent.text()))
}

/// Why a number is not a decimal(precision, scale).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Misfit {
    /// too many digits before the point
    Large,
    /// a digit that is not zero behind the last place of the scale
    Fraction,
}

impl Misfit {
    fn fault(self, text: &str) -> Fault {
        let (code, why) = match self {
            Self::Large => ("out-of-range", "it has more digits than the declared precision holds"),
            Self::Fraction => ("inexact", "it has more decimal places than the declared scale keeps"),
        };
        Fault::new(code, format!("{} {why}", shown(text)))
    }
}

/// 10^0 to 10^38, all that 128 bits hold.
const POWERS: [i128; 39] = {
    let mut powers = [1; 39];
    let mut exponent = 1;
    while exponent < powers.len() {
        powers[exponent] = powers[exponent - 1] * 10;
        exponent += 1;
    }
    powers
};

fn power_of_ten(exponent: u32) -> Option<i128> {
    POWERS.get(usize::try_from(exponent).ok()?).copied()
}

fn within(value: Result<i128, Misfit>, precision: u8) -> Result<i128, Misfit> {
    let value = value?;
    match power_of_ten(precision.into()) {
        Some(limit) if -limit < value && value < limit => Ok(value),
        _ => Err(Misfit::Large),
    }
}

/// `value` × 10^`by`, exactly.
fn rescale(value: i128, by: i32) -> Result<i128, Misfit> {
    match (value, u32::try_from(by)) {
        (0, _) => Ok(0),
        (_, Ok(0)) => Ok(value),
        (_, Ok(by)) => 10i128.checked_pow(by).and_then(|power| value.checked_mul(power)).ok_or(Misfit::Large),
        // a divisor above 10^38 is above any i128, so that a digit is dropped
        (_, Err(_)) => match power_of_ten(by.unsigned_abs()) {
            Some(power) if value % power == 0 => Ok(value / power),
            _ => Err(Misfit::Fraction),
        },
    }
}

fn rescale_wide(value: i256, by: i32) -> Result<i128, Misfit> {
    if let Some(value) = value.to_i128() {
        return rescale(value, by);
    }
    if by >= 0 {
        return Err(Misfit::Large);
    }
    let power = i256::from_i128(10).checked_pow(by.unsigned_abs()).ok_or(Misfit::Fraction)?;
    match value.checked_div_rem(power) {
        Some((quotient, i256::ZERO)) => quotient.to_i128().ok_or(Misfit::Large),
        _ => Err(Misfit::Fraction),
    }
}

fn from_text(text: &str, precision: u8, scale: i32, reading: DecimalText) -> Result<i128, Fault> {
    let as_base64 = match reading {
        DecimalText::Number => false,
        DecimalText::Base64 => true,
        DecimalText::Either => {
            refuse_ambiguous_text(text)?;
            !is_number(text) && !text.eq_ignore_ascii_case("nan")
        }
    };
    let value = if as_base64 { from_base64(text)? } else { from_number(text, scale)? };
    within(value, precision).map_err(|misfit| misfit.fault(text))
}

fn from_number(text: &str, scale: i32) -> Result<Result<i128, Misfit>, Fault> {
    if is_number(text) {
        return Ok(parse(text, scale));
    }
    Err(Fault::new(
        "unreadable",
        format!("{} is not a number, and a decimal has neither NaN nor infinity", shown(text)),
    ))
}

fn from_base64(text: &str) -> Result<Result<i128, Misfit>, Fault> {
    // a decimal of 38 digits has at most 16 bytes
    let mut bytes = [0; 48];
    match BASE64.decode_slice(text, &mut bytes) {
        Ok(length @ 1..) => Ok(big_endian(&bytes[..length]).ok_or(Misfit::Large)),
        Err(base64::DecodeSliceError::OutputSliceTooSmall) => Ok(Err(Misfit::Large)),
        _ => Err(Fault::new(
            "unreadable",
            format!(
                "{} is neither the base64 of a decimal (decimal.handling.mode=precise) nor a number \
                 (decimal.handling.mode=string)",
                shown(text)
            ),
        )),
    }
}

/// Refuses text that may be a number or base64, unless the hints say which.
pub(super) fn refuse_ambiguous(text: &str, hints: Hints) -> Result<(), Fault> {
    if hints.decimal == DecimalText::Either { refuse_ambiguous_text(text) } else { Ok(()) }
}

fn refuse_ambiguous_text(text: &str) -> Result<(), Fault> {
    // "Infinity" is eight letters of the base64 alphabet
    let number = is_number(text) || text == "Infinity";
    if !number || !text.len().is_multiple_of(4) || BASE64.decode(text).is_err() {
        return Ok(());
    }
    Err(Fault::new(
        "ambiguous",
        format!(
            "{} is a number and also the base64 of another; say which with the input column's option \
             decimal = \"base64\" (the connector's decimal.handling.mode=precise) or decimal = \"string\" \
             (decimal.handling.mode=string), or set schemas.enable=true in the connector",
            shown(text)
        ),
    ))
}

/// Two's complement, big-endian; `None` beyond 128 bits.
fn big_endian(bytes: &[u8]) -> Option<i128> {
    let sign = if *bytes.first()? >= 0x80 { 0xff } else { 0 };
    let mut value = [sign; 16];
    let excess = bytes.len().saturating_sub(16);
    let (dropped, kept) = bytes.split_at(excess);
    value[16 - kept.len()..].copy_from_slice(kept);
    let value = i128::from_be_bytes(value);
    let keeps_sign = (value < 0) == (sign == 0xff);
    (keeps_sign && dropped.iter().all(|byte| *byte == sign)).then_some(value)
}

/// `[+-]digits[.digits][e[+-]digits]`
pub(super) fn is_number(text: &str) -> bool {
    Parts::of(text).is_some()
}

struct Parts<'a> {
    negative: bool,
    whole: &'a [u8],
    fraction: &'a [u8],
    exponent: Option<&'a str>,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str) -> Option<Self> {
        let (negative, unsigned) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            b'0'..=b'9' | b'.' => (false, text),
            _ => return None,
        };
        let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, Some(exponent)),
            None => (unsigned, None),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let exponent_is_integer = exponent.is_none_or(|e| {
            let e = e.strip_prefix(['-', '+']).unwrap_or(e);
            !e.is_empty() && digits(e)
        });
        let valid =
            digits(whole) && digits(fraction) && whole.len() + fraction.len() > 0 && exponent_is_integer;
        valid.then_some(Self { negative, whole: whole.as_bytes(), fraction: fraction.as_bytes(), exponent })
    }
}

/// The unscaled value of a number at `scale`; the caller has checked the form.
fn parse(text: &str, scale: i32) -> Result<i128, Misfit> {
    let Some(parts) = Parts::of(text) else { return Err(Misfit::Large) };
    let digits = parts.whole.iter().chain(parts.fraction).map(|b| b - b'0');
    let total = parts.whole.len() + parts.fraction.len();
    let trailing_zeros = digits.clone().rev().take_while(|d| *d == 0).count();
    if trailing_zeros == total {
        return Ok(0);
    }
    let mut value = 0i128;
    for digit in digits.take(total - trailing_zeros) {
        value = value.checked_mul(10).and_then(|v| v.checked_sub(digit.into())).ok_or(Misfit::Large)?;
    }
    let value = if parts.negative { value } else { value.checked_neg().ok_or(Misfit::Large)? };
    let exponent: i64 = match parts.exponent {
        None => 0,
        Some(e) => e.parse().unwrap_or(if e.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 }),
    };
    let places = |n: usize| i64::try_from(n).unwrap_or(i64::MAX / 4);
    let by = exponent
        .saturating_add(i64::from(scale))
        .saturating_add(places(trailing_zeros))
        .saturating_sub(places(parts.fraction.len()));
    // beyond this every power of ten overflows all the same
    rescale(value, i32::try_from(by.clamp(-1000, 1000)).unwrap_or_default())
}

/// An unconstrained numeric as schemaless JSON carries it:
/// `{"scale": 1, "value": "AQ=="}`. Nothing else becomes such an object:
/// documents of the source are sent as strings.
pub(super) struct VariableScale {
    pub(super) scale: i32,
    pub(super) value: Vec<u8>,
}

impl VariableScale {
    pub(super) fn parse(text: &str) -> Option<Self> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Wire {
            scale: i32,
            value: String,
        }
        let Wire { scale, value } = serde_json::from_str(text).ok()?;
        let value = BASE64.decode(value).ok().filter(|value| !value.is_empty())?;
        Some(Self { scale, value })
    }
}

/// Bytes of an unscaled value beyond which nothing is written out: PostgreSQL's
/// longest numeric has 147,455 digits.
const UNSCALED_BYTES_MAX: usize = 64 << 10;

/// A decimal of any length (big-endian two's complement) as a plain number.
pub(super) fn decimal_text(unscaled: &[u8], scale: i32) -> Result<String, Fault> {
    if unscaled.len() > UNSCALED_BYTES_MAX || scale.unsigned_abs() as usize > UNSCALED_BYTES_MAX * 3 {
        return Err(Fault::new("out-of-range", "a decimal of more than 150,000 digits".into()));
    }
    let negative = unscaled.first().is_some_and(|b| *b >= 0x80);
    let mut magnitude: Vec<u8> = unscaled.to_vec();
    if negative {
        magnitude.iter_mut().for_each(|b| *b = !*b);
        // + 1, from the last byte on; an overflow leaves 1 followed by zeros
        let carried = magnitude.iter_mut().rev().all(|b| {
            *b = b.wrapping_add(1);
            *b == 0
        });
        if carried {
            magnitude.insert(0, 1);
        }
    }
    let mut words: Vec<u32> = magnitude
        .rchunks(4)
        .map(|chunk| chunk.iter().fold(0, |word, byte| word << 8 | u32::from(*byte)))
        .collect();
    let mut groups = Vec::new();
    while words.iter().any(|word| *word != 0) {
        let mut remainder = 0u64;
        for word in words.iter_mut().rev() {
            let value = remainder << 32 | u64::from(*word);
            #[expect(clippy::cast_possible_truncation, reason = "remainder < 10^9, so the quotient < 2^32")]
            let quotient = (value / 1_000_000_000) as u32;
            *word = quotient;
            remainder = value % 1_000_000_000;
        }
        groups.push(remainder);
        while words.last() == Some(&0) {
            words.pop();
        }
    }
    let mut digits = String::from(if negative { "-" } else { "" });
    match groups.split_last() {
        None => digits.push('0'),
        Some((first, rest)) => {
            digits.push_str(&first.to_string());
            rest.iter().rev().for_each(|group| digits.push_str(&format!("{group:09}")));
        }
    }
    Ok(plain(&digits, scale))
}

/// Digits of an unscaled value (with `-` where negative) as a plain number.
pub(super) fn plain(unscaled: &str, scale: i32) -> String {
    let (sign, digits) = match unscaled.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", unscaled),
    };
    let places = scale.unsigned_abs() as usize;
    if scale <= 0 {
        let zeros = if digits == "0" { 0 } else { places };
        return format!("{sign}{digits}{:0<zeros$}", "");
    }
    let padded = format!("{digits:0>width$}", width = places + 1);
    let (whole, fraction) = padded.split_at(padded.len() - places);
    format!("{sign}{whole}.{fraction}")
}
