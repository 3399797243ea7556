//! Dates and times as the contract carries them: days and microseconds.
//!
//! The calendar is the proleptic Gregorian one throughout, as in PostgreSQL
//! and ISO 8601; years before 1 count down through 0.

use std::fmt;
use std::str::FromStr;

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// A text that is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    pub(crate) text: String,
    pub(crate) wanted: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not {}", self.text, self.wanted)
    }
}

impl std::error::Error for ParseError {}

/// A calendar day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

impl Date {
    /// PostgreSQL's `infinity`.
    pub const INFINITY: Self = Self(i32::MAX);
    /// PostgreSQL's `-infinity`.
    pub const NEG_INFINITY: Self = Self(i32::MIN);

    /// Is it `infinity` or `-infinity`?
    #[must_use]
    pub const fn is_infinite(self) -> bool {
        self.0 == i32::MAX || self.0 == i32::MIN
    }

    /// The day that many days after 1970-01-01.
    #[must_use]
    pub const fn from_days(days: i32) -> Self {
        Self(days)
    }

    /// The day of a year, month (1 to 12) and day (1 to 31), if there is one.
    #[must_use]
    pub fn from_ymd(year: i32, month: u32, day: u32) -> Option<Self> {
        let date = Self(i32::try_from(days_from_civil(i64::from(year), month, day)).ok()?);
        (date.ymd() == (year, month, day)).then_some(date)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn days(self) -> i32 {
        self.0
    }

    /// Year, month (1 to 12) and day (1 to 31).
    #[must_use]
    pub fn ymd(self) -> (i32, u32, u32) {
        let (year, month, day) = civil_from_days(i64::from(self.0));
        (i32::try_from(year).expect("days in 32 bits span 5.9 million years either way"), month, day)
    }

    /// Year.
    #[must_use]
    pub fn year(self) -> i32 {
        self.ymd().0
    }

    /// Month, 1 to 12.
    #[must_use]
    pub fn month(self) -> u32 {
        self.ymd().1
    }

    /// Day of the month, 1 to 31.
    #[must_use]
    pub fn day(self) -> u32 {
        self.ymd().2
    }

    /// ISO weekday: Monday is 1, Sunday 7.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the remainder is 0 to 6")]
    pub fn weekday(self) -> u32 {
        // 1970-01-01 was a Thursday.
        (i64::from(self.0) + 3).rem_euclid(7).unsigned_abs() as u32 + 1
    }

    /// The key that date dimensions use: 20260131 for 2026-01-31. `None` for
    /// years outside 1 to 9999.
    #[must_use]
    pub fn key(self) -> Option<i32> {
        let (year, month, day) = self.ymd();
        let month_and_day = (month * 100 + day).cast_signed();
        (1..=9999).contains(&year).then(|| year * 10_000 + month_and_day)
    }
}

/// ISO 8601: `2026-01-31`; years outside 0 to 9999 with their sign; `infinity`
/// and `-infinity` by name.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::INFINITY => f.write_str("infinity"),
            Self::NEG_INFINITY => f.write_str("-infinity"),
            _ => write_date(f, civil_from_days(i64::from(self.0))),
        }
    }
}

impl FromStr for Date {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parse = || {
            let (rest, day) = text.rsplit_once('-')?;
            let (year, month) = rest.rsplit_once('-')?;
            let two_digits = month.len() == 2 && day.len() == 2 && year.len() >= 4;
            two_digits.then_some(())?;
            Self::from_ymd(year.parse().ok()?, digits(month)?, digits(day)?)
        };
        parse().ok_or_else(|| ParseError { text: text.into(), wanted: "a date such as 2026-01-31" })
    }
}

/// A time of day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(i64);

impl Time {
    /// The time that many microseconds after midnight; 24:00 is allowed.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since midnight.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Hour, 0 to 24.
    #[must_use]
    pub const fn hour(self) -> i64 {
        self.0 / (3_600 * MICROS_PER_SECOND)
    }

    /// Minute, 0 to 59.
    #[must_use]
    pub const fn minute(self) -> i64 {
        self.0 / (60 * MICROS_PER_SECOND) % 60
    }

    /// Second, 0 to 59.
    #[must_use]
    pub const fn second(self) -> i64 {
        self.0 / MICROS_PER_SECOND % 60
    }
}

/// ISO 8601: `13:14:15.123456`, the fraction only if there is one.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_time(f, self.0)
    }
}

/// What `Timestamp` and `TimestampTz` share; they differ in what they mean.
macro_rules! timestamp {
    ($(#[$doc:meta])* $name:ident, $suffix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(i64);

        impl $name {
            /// PostgreSQL's `infinity`.
            pub const INFINITY: Self = Self(i64::MAX);
            /// PostgreSQL's `-infinity`.
            pub const NEG_INFINITY: Self = Self(i64::MIN);

            /// The moment that many microseconds after 1970-01-01T00:00:00.
            #[must_use]
            pub const fn from_micros(micros: i64) -> Self {
                Self(micros)
            }

            /// Midnight of a day.
            #[must_use]
            pub const fn from_date(date: Date) -> Self {
                // At most 2^31 days, which is 1.9e20 microseconds: saturate.
                Self((date.days() as i64).saturating_mul(MICROS_PER_DAY))
            }

            /// Microseconds since 1970-01-01T00:00:00.
            #[must_use]
            pub const fn micros(self) -> i64 {
                self.0
            }

            /// Is it `infinity` or `-infinity`?
            #[must_use]
            pub const fn is_infinite(self) -> bool {
                self.0 == i64::MAX || self.0 == i64::MIN
            }

            /// The day.
            #[must_use]
            #[expect(clippy::cast_possible_truncation, reason = "2^63 microseconds are 107 million days")]
            pub const fn date(self) -> Date {
                Date::from_days(self.0.div_euclid(MICROS_PER_DAY) as i32)
            }

            /// The time of day.
            #[must_use]
            pub const fn time(self) -> Time {
                Time::from_micros(self.0.rem_euclid(MICROS_PER_DAY))
            }

            /// The year.
            #[must_use]
            pub fn year(self) -> i32 {
                self.date().year()
            }

            /// The hour, 0 to 23.
            #[must_use]
            pub const fn hour(self) -> i64 {
                self.time().hour()
            }
        }

        /// ISO 8601, the fraction only if there is one; `infinity` and
        /// `-infinity` by name.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match *self {
                    Self::INFINITY => f.write_str("infinity"),
                    Self::NEG_INFINITY => f.write_str("-infinity"),
                    _ => write!(f, "{}T{}{}", self.date(), self.time(), $suffix),
                }
            }
        }
    };
}

timestamp! {
    /// A date and time without a zone.
    Timestamp, ""
}

timestamp! {
    /// A moment, in UTC.
    TimestampTz, "Z"
}

/// A length of time. Months and years of the source count 30.4375 days and
/// twelve times that, as Debezium sends them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(i64);

impl Interval {
    /// That many microseconds.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Seconds, with their fraction.
    #[must_use]
    pub fn seconds(self) -> f64 {
        self.0 as f64 / MICROS_PER_SECOND as f64
    }
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn write_date(f: &mut fmt::Formatter<'_>, (year, month, day): (i64, u32, u32)) -> fmt::Result {
    if (0..=9999).contains(&year) {
        write!(f, "{year:04}-{month:02}-{day:02}")
    } else {
        write!(f, "{year:+05}-{month:02}-{day:02}")
    }
}

fn write_time(f: &mut fmt::Formatter<'_>, micros: i64) -> fmt::Result {
    let (seconds, fraction) = (micros.div_euclid(MICROS_PER_SECOND), micros.rem_euclid(MICROS_PER_SECOND));
    write!(f, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
    if fraction != 0 { write!(f, ".{fraction:06}") } else { Ok(()) }
}

// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms": eras of 400
// years that begin on March 1st of year 0.

const DAYS_PER_ERA: i64 = 146_097;
/// 1970-01-01 counted from 0000-03-01.
const EPOCH_FROM_ERA_ZERO: i64 = 719_468;

fn days_from_civil(year: i64, month: u32, day: u32) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let month_from_march = i64::from((month + 9) % 12);
    let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(day) - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * DAYS_PER_ERA + day_of_era - EPOCH_FROM_ERA_ZERO
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a day of the month and a month are small and positive by construction"
)]
fn civil_from_days(days: i64) -> (i64, u32, u32) {
    let days = days + EPOCH_FROM_ERA_ZERO;
    let (era, day_of_era) = (days.div_euclid(DAYS_PER_ERA), days.rem_euclid(DAYS_PER_ERA));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 } as u32;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_civil_dates_are_each_others_inverse() {
        for days in (-2_000_000..2_000_000).step_by(37) {
            let date = Date::from_days(days);
            let (year, month, day) = date.ymd();
            assert_eq!(Date::from_ymd(year, month, day), Some(date));
        }
    }

    #[test]
    fn dates_print_as_iso_8601() {
        let check = |days, expected: &str| {
            assert_eq!(Date::from_days(days).to_string(), expected);
            assert_eq!(expected.parse(), Ok(Date::from_days(days)));
        };
        check(0, "1970-01-01");
        check(19_782, "2024-02-29");
        check(-719_162, "0001-01-01");
        check(-735_160, "-0043-03-15");
        check(2_145_042_905, "+5874897-12-31");
    }

    #[test]
    fn a_date_that_does_not_exist_is_refused() {
        assert_eq!(Date::from_ymd(2023, 2, 29), None);
        assert_eq!(Date::from_ymd(2023, 13, 1), None);
        assert_eq!(
            "2023-2-01".parse::<Date>().unwrap_err().to_string(),
            r#""2023-2-01" is not a date such as 2026-01-31"#
        );
        assert!("2023-02-+1".parse::<Date>().is_err());
    }

    #[test]
    fn date_parts() {
        let date = Date::from_ymd(2026, 1, 31).unwrap();
        assert_eq!((date.weekday(), date.key()), (6, Some(20_260_131)));
        assert_eq!(Date::from_days(2_145_042_905).key(), None);
    }

    #[test]
    fn timestamps_before_1970_count_forward_within_the_day() {
        let moment = TimestampTz::from_micros(-1);
        assert_eq!(moment.to_string(), "1969-12-31T23:59:59.999999Z");
        assert_eq!((moment.date(), moment.hour()), (Date::from_days(-1), 23));
    }

    #[test]
    fn infinity_has_a_name() {
        assert_eq!(Timestamp::INFINITY.to_string(), "infinity");
        assert_eq!(Date::NEG_INFINITY.to_string(), "-infinity");
        assert!(TimestampTz::NEG_INFINITY.is_infinite());
        assert_eq!(Time::from_micros(86_400_000_000).to_string(), "24:00:00");
    }
}
