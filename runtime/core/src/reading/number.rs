//! Reading as boolean, integer and float.
//!
//! Integers are exact or a fault. Floats are exact from integers and floats;
//! from decimal digits they are the nearest value, as a float is by nature.

use super::decimal;
use super::sent::Sent;
use super::{Fault, Hints, shown};

pub(super) fn boolean(sent: Sent<'_>) -> Result<bool, Fault> {
    match sent {
        Sent::Boolean(value) => Ok(value),
        // MySQL's boolean is tinyint(1)
        Sent::Integer(0) | Sent::Text("false") => Ok(false),
        Sent::Integer(1) | Sent::Text("true") => Ok(true),
        other => Err(Fault::unreadable(other, "it is neither true, false, 0 nor 1")),
    }
}

/// An integer of any width: 128 bits are wider than all of them.
fn wide(sent: Sent<'_>, hints: Hints) -> Result<i128, Fault> {
    match sent {
        Sent::Integer(value) => Ok(value.into()),
        other => decimal::decimal(other, 38, 0, hints),
    }
}

pub(super) fn integer<T: TryFrom<i64> + TryFrom<i128>>(sent: Sent<'_>, hints: Hints) -> Result<T, Fault> {
    let narrow = match sent {
        Sent::Integer(value) => T::try_from(value).ok(),
        other => T::try_from(wide(other, hints)?).ok(),
    };
    narrow.ok_or_else(|| Fault::out_of_range(sent, "it does not fit; declare a wider type"))
}

pub(super) fn unsigned(sent: Sent<'_>, hints: Hints) -> Result<u64, Fault> {
    u64::try_from(wide(sent, hints)?).map_err(|_| {
        Fault::out_of_range(
            sent,
            "it is not an unsigned 64-bit integer (an unsigned source column above 2^63 is sent as a \
             negative number: set the connector's bigint.unsigned.handling.mode=precise)",
        )
    })
}

pub(super) fn double(sent: Sent<'_>, hints: Hints) -> Result<f64, Fault> {
    match sent {
        Sent::Double(value) => Ok(value),
        Sent::Single(value) => Ok(value.into()),
        // 2^53: up to there every integer is a double
        Sent::Integer(value) if value.unsigned_abs() <= 1 << 53 =>
        {
            #[expect(clippy::cast_precision_loss, reason = "the guard has checked that none is lost")]
            Ok(value as f64)
        }
        other => digits(other, hints, |text| text.parse().ok().filter(|v: &f64| v.is_finite())),
    }
}

pub(super) fn single(sent: Sent<'_>, hints: Hints) -> Result<f32, Fault> {
    match sent {
        Sent::Single(value) => Ok(value),
        Sent::Double(value) => {
            #[expect(clippy::cast_possible_truncation, reason = "checked right below")]
            let narrow = value as f32;
            if f64::from(narrow) == value || value.is_nan() {
                Ok(narrow)
            } else {
                Err(Fault::inexact(sent, "a single-precision float does not hold it; declare float64"))
            }
        }
        // 2^24: up to there every integer is a float
        Sent::Integer(value) if value.unsigned_abs() <= 1 << 24 =>
        {
            #[expect(clippy::cast_precision_loss, reason = "the guard has checked that none is lost")]
            Ok(value as f32)
        }
        other => digits(other, hints, |text| text.parse().ok().filter(|v: &f32| v.is_finite())),
    }
}

/// A float written in decimal digits, or one of the names that Debezium gives
/// to what JSON cannot write.
fn digits<T: From<f32>>(sent: Sent<'_>, hints: Hints, parse: impl Fn(&str) -> Option<T>) -> Result<T, Fault> {
    let special = match sent {
        Sent::Text("NaN" | "NAN") => Some(f32::NAN),
        Sent::Text("Infinity" | "POSITIVE_INFINITY") => Some(f32::INFINITY),
        Sent::Text("-Infinity" | "NEGATIVE_INFINITY") => Some(f32::NEG_INFINITY),
        _ => None,
    };
    if let Some(special) = special {
        return Ok(special.into());
    }
    let value = match sent {
        Sent::Number(text) => parse(text),
        Sent::Text(text) if decimal::is_number(text) => {
            decimal::refuse_ambiguous(text, hints)?;
            parse(text)
        }
        Sent::Text(text) => {
            let why = format!(
                "it is not a number; a numeric column needs decimal.handling.mode=string or double in the \
                 connector to be read as a float: {}",
                shown(text)
            );
            return Err(Fault::new("unreadable", why));
        }
        Sent::Decimal(value, scale) => parse(&decimal::plain(&value.to_string(), scale.into())),
        Sent::WideDecimal(value, scale) => parse(&decimal::plain(&value.to_string(), scale.into())),
        Sent::Integer(_) => return Err(Fault::inexact(sent, "a float does not hold it; declare int64")),
        other => return Err(Fault::unreadable(other, "it is not a number")),
    };
    value.ok_or_else(|| Fault::out_of_range(sent, "it is beyond the largest float"))
}
