//! Exact decimals with precision and scale in the type.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, Neg, Sub};
use std::str::FromStr;

use crate::data_type::Scalar;
use crate::temporal::ParseError;

/// A decimal of `P` digits in all, `S` of them after the point.
///
/// The value is `units() / 10^S`, and `|units()| < 10^P`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const P: u8, const S: u8>(i128);

/// A result has more digits than its type can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecimalOverflow {
    precision: u8,
    scale: u8,
}

impl fmt::Display for DecimalOverflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the result does not fit decimal({},{})", self.precision, self.scale)
    }
}

impl std::error::Error for DecimalOverflow {}

/// What to do with digits that are cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// To the nearest; a tie goes away from zero. PostgreSQL's `round(numeric)`.
    HalfUp,
    /// To the nearest; a tie goes to the even digit (banker's rounding).
    HalfEven,
    /// Towards zero.
    Down,
}

impl<const P: u8, const S: u8> Decimal<P, S> {
    /// Nought.
    pub const ZERO: Self = Self(0);
    /// The greatest value: `P` nines.
    pub const MAX: Self = Self(10_i128.pow(P as u32) - 1);
    /// The smallest value.
    pub const MIN: Self = Self(-Self::MAX.0);

    pub(crate) const SCALAR: Scalar = {
        assert!(
            P >= 1 && P <= 38 && S <= P,
            "a decimal has 1 to 38 digits, and at most all of them after the point"
        );
        Scalar::Decimal { precision: P, scale: S }
    };
    /// Is it carried in one 64-bit word?
    pub(crate) const IS_NARROW: bool = P <= 18;

    const OVERFLOW: DecimalOverflow = DecimalOverflow { precision: P, scale: S };

    /// `units / 10^S`.
    ///
    /// # Errors
    /// It has more than `P` digits.
    pub const fn from_units(units: i128) -> Result<Self, DecimalOverflow> {
        if units.unsigned_abs() <= Self::MAX.0.unsigned_abs() { Ok(Self(units)) } else { Err(Self::OVERFLOW) }
    }

    pub(crate) const fn from_units_unchecked(units: i128) -> Self {
        Self(units)
    }

    /// A whole number.
    ///
    /// # Errors
    /// It has more than `P - S` digits.
    pub fn from_whole(whole: i64) -> Result<Self, DecimalOverflow> {
        let units = i128::from(whole).checked_mul(10_i128.pow(S.into())).ok_or(Self::OVERFLOW)?;
        Self::from_units(units)
    }

    /// The value times `10^S`.
    #[must_use]
    pub const fn units(self) -> i128 {
        self.0
    }

    /// Is it nought?
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Is it below nought?
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Without its sign.
    #[must_use]
    pub const fn abs(self) -> Self {
        Self(self.0.abs())
    }

    /// The nearest double.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        // Correctly rounded, which units as f64 / 10^S as f64 is not.
        self.to_string().parse().unwrap_or(f64::NAN)
    }

    /// The sum.
    ///
    /// # Errors
    /// It does not fit.
    pub fn checked_add(self, other: Self) -> Result<Self, DecimalOverflow> {
        // Two numbers below 10^38 have a sum below 2^127.
        Self::from_units(self.0.checked_add(other.0).ok_or(Self::OVERFLOW)?)
    }

    /// The difference.
    ///
    /// # Errors
    /// It does not fit.
    pub fn checked_sub(self, other: Self) -> Result<Self, DecimalOverflow> {
        Self::from_units(self.0.checked_sub(other.0).ok_or(Self::OVERFLOW)?)
    }

    /// The product, rounded to the scale wanted.
    ///
    /// # Errors
    /// It does not fit, or has more than 38 digits before it is rounded.
    pub fn checked_mul<const P2: u8, const S2: u8, const P3: u8, const S3: u8>(
        self,
        other: Decimal<P2, S2>,
        rounding: Rounding,
    ) -> Result<Decimal<P3, S3>, DecimalOverflow> {
        let product = self.0.checked_mul(other.0).ok_or(Decimal::<P3, S3>::OVERFLOW)?;
        Decimal::from_units(rescale(product, S + S2, S3, rounding).ok_or(Decimal::<P3, S3>::OVERFLOW)?)
    }

    /// The same value with another precision and scale.
    ///
    /// # Errors
    /// It does not fit.
    pub fn rescale<const P2: u8, const S2: u8>(
        self,
        rounding: Rounding,
    ) -> Result<Decimal<P2, S2>, DecimalOverflow> {
        Decimal::from_units(rescale(self.0, S, S2, rounding).ok_or(Decimal::<P2, S2>::OVERFLOW)?)
    }
}

fn rescale(units: i128, from: u8, to: u8, rounding: Rounding) -> Option<i128> {
    if from <= to {
        return units.checked_mul(10_i128.pow((to - from).into()));
    }
    let cut = u32::from(from - to);
    // A scale of two factors can reach 76 digits; cutting more than an i128 has leaves nothing.
    let Some(divisor) = 10_i128.checked_pow(cut) else { return Some(0) };
    let (quotient, remainder) = (units / divisor, units % divisor);
    let twice = remainder.unsigned_abs().checked_mul(2)?;
    let away = match rounding {
        Rounding::Down => false,
        Rounding::HalfUp => twice >= divisor.unsigned_abs(),
        Rounding::HalfEven => {
            twice > divisor.unsigned_abs() || (twice == divisor.unsigned_abs() && quotient % 2 != 0)
        }
    };
    Some(if away { quotient + units.signum() } else { quotient })
}

impl<const P: u8, const S: u8> Default for Decimal<P, S> {
    fn default() -> Self {
        Self::ZERO
    }
}

/// # Panics
/// When the sum does not fit, as with integers: use `checked_add` where that
/// can happen, since a panic costs dabi a search for the row.
impl<const P: u8, const S: u8> Add for Decimal<P, S> {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.checked_add(other).unwrap_or_else(|overflow| panic!("{overflow}"))
    }
}

/// # Panics
/// When the difference does not fit: see `Add`.
impl<const P: u8, const S: u8> Sub for Decimal<P, S> {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.checked_sub(other).unwrap_or_else(|overflow| panic!("{overflow}"))
    }
}

impl<const P: u8, const S: u8> Neg for Decimal<P, S> {
    type Output = Self;

    fn neg(self) -> Self {
        Self(-self.0)
    }
}

impl<const P: u8, const S: u8> Sum for Decimal<P, S> {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// Plain digits, always `S` of them after the point.
impl<const P: u8, const S: u8> fmt::Display for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.unsigned_abs().to_string();
        let scale = usize::from(S);
        if scale == 0 {
            return f.pad_integral(self.0 >= 0, "", &digits);
        }
        let digits = format!("{digits:0>width$}", width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        f.pad_integral(self.0 >= 0, "", &format!("{whole}.{fraction}"))
    }
}

impl<const P: u8, const S: u8> fmt::Debug for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Plain digits with an optional sign and point. Nothing is rounded: more than
/// `S` digits after the point are refused unless they are noughts.
impl<const P: u8, const S: u8> FromStr for Decimal<P, S> {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        parse(text, S)
            .and_then(|units| Self::from_units(units).ok())
            .ok_or_else(|| ParseError { text: text.into(), wanted: "a decimal that fits the column" })
    }
}

fn parse(text: &str, scale: u8) -> Option<i128> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let (kept, cut) = fraction.split_at_checked(scale.into()).unwrap_or((fraction, ""));
    if cut.bytes().any(|digit| digit != b'0') {
        return None;
    }
    let mut units: i128 = 0;
    for digit in whole.bytes().chain(kept.bytes()) {
        let digit = digit.is_ascii_digit().then(|| i128::from(digit - b'0'))?;
        units = units.checked_mul(10)?.checked_add(digit)?;
    }
    let missing = usize::from(scale) - kept.len();
    units = units.checked_mul(10_i128.checked_pow(u32::try_from(missing).ok()?)?)?;
    Some(if text.starts_with('-') { -units } else { units })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Money = Decimal<12, 2>;

    fn money(text: &str) -> Money {
        text.parse().unwrap()
    }

    #[test]
    fn text_and_decimal_are_each_others_inverse() {
        for text in ["0.00", "-0.01", "12345678.90", "-9999999999.99"] {
            assert_eq!(money(text).to_string(), text);
        }
        let wide = "-99999999999999999999999999999999999999";
        assert_eq!(wide.parse::<Decimal<38, 0>>().unwrap().to_string(), wide);
        assert_eq!("1.5".parse::<Decimal<38, 38>>().ok(), None);
        assert_eq!(money("+.5").to_string(), "0.50");
        assert_eq!(money("7.1000").to_string(), "7.10");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for text in ["", ".", "-", "1.001", "10000000000.00", "1e3", "NaN", "1_0", "12 "] {
            assert!(text.parse::<Money>().is_err(), "{text:?}");
        }
        assert_eq!(
            Money::from_whole(10_000_000_000).unwrap_err().to_string(),
            "the result does not fit decimal(12,2)"
        );
    }

    #[test]
    fn rounding() {
        let check = |text: &str, rounding, expected: &str| {
            let exact: Decimal<12, 3> = text.parse().unwrap();
            let rounded: Decimal<12, 2> = exact.rescale(rounding).unwrap();
            assert_eq!(rounded.to_string(), expected, "{text} {rounding:?}");
        };
        check("0.125", Rounding::HalfUp, "0.13");
        check("0.125", Rounding::HalfEven, "0.12");
        check("0.135", Rounding::HalfEven, "0.14");
        check("-0.125", Rounding::HalfUp, "-0.13");
        check("-0.129", Rounding::Down, "-0.12");
    }

    #[test]
    fn arithmetic() {
        assert_eq!(money("1.10") + money("2.25") - money("0.05"), money("3.30"));
        assert_eq!([money("1.00"), money("2.50")].into_iter().sum::<Money>(), money("3.50"));
        let rate: Decimal<4, 3> = "0.195".parse().unwrap();
        let tax: Decimal<12, 2> = money("100.10").checked_mul(rate, Rounding::HalfUp).unwrap();
        assert_eq!(tax, money("19.52"));
        assert!(Money::MAX.checked_add(money("0.01")).is_err());
        assert!((money("0.1").to_f64() - 0.1).abs() < f64::EPSILON);
    }
}
