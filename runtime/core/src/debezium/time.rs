//! ISO 8601 instants, as `io.debezium.time.ZonedTimestamp` sends them.

const DAY_US: i128 = 86_400_000_000;

/// Microseconds since 1970 of an instant such as `2024-02-29T18:29:59.999999Z`,
/// with `Z` or an offset, a year of any sign, seconds optional; `infinity` and
/// `-infinity` are the ends of `i64`. `None` if it is none, lies outside of
/// `i64`, or is finer than a microsecond.
pub(super) fn zoned_us(text: &[u8]) -> Option<i64> {
    match text {
        b"infinity" => return Some(i64::MAX),
        b"-infinity" => return Some(i64::MIN),
        _ => {}
    }
    let (year, rest) = year(text)?;
    let mut rest = Cursor(rest);
    rest.expect(b'-')?;
    let month = rest.two()?;
    rest.expect(b'-')?;
    let day = rest.two()?;
    if !(1..=12).contains(&month) || day < 1 || day > month_days(year, month) {
        return None;
    }
    rest.expect(b'T')?;
    let hour = rest.two()?;
    rest.expect(b':')?;
    let minute = rest.two()?;
    let second = if rest.peek() == Some(b':') { rest.skip().two()? } else { 0 };
    let fraction = if rest.peek() == Some(b'.') { rest.skip().fraction_us()? } else { 0 };
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let offset = rest.offset_s()?;
    let seconds = hour * 3600 + minute * 60 + second - offset;
    let us =
        i128::from(days(year, month, day)) * DAY_US + i128::from(seconds) * 1_000_000 + i128::from(fraction);
    i64::try_from(us).ok()
}

/// The year: four digits or more, with a sign if there are more.
fn year(text: &[u8]) -> Option<(i64, &[u8])> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let len = digits.iter().position(|byte| !byte.is_ascii_digit())?;
    if !(4..=9).contains(&len) {
        return None;
    }
    let (digits, rest) = digits.split_at(len);
    let year = digits.iter().fold(0, |year, digit| year * 10 + i64::from(digit - b'0'));
    Some((if negative { -year } else { year }, rest))
}

fn month_days(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 in the proleptic Gregorian calendar (the algorithm of
/// Howard Hinnant's `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    fn skip(&mut self) -> &mut Self {
        self.0 = self.0.get(1..).unwrap_or_default();
        self
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek() == Some(byte)).then(|| {
            self.skip();
        })
    }

    fn two(&mut self) -> Option<i64> {
        let [tens, ones, rest @ ..] = self.0 else { return None };
        if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
            return None;
        }
        self.0 = rest;
        Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    }

    /// One to nine digits after the point, as microseconds.
    fn fraction_us(&mut self) -> Option<i64> {
        let len = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at_checked(len).filter(|_| (1..=9).contains(&len))?;
        self.0 = rest;
        let mut us = 0;
        for place in 0..6 {
            us = us * 10 + digits.get(place).map_or(0, |digit| i64::from(digit - b'0'));
        }
        digits.iter().skip(6).all(|digit| *digit == b'0').then_some(us)
    }

    /// `Z`, or `±HH:MM` with seconds if it has any, and then the end.
    fn offset_s(&mut self) -> Option<i64> {
        let sign = match self.peek()? {
            b'Z' => return (self.0.len() == 1).then_some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.skip().two()?;
        self.expect(b':')?;
        let minutes = self.two()?;
        let seconds = if self.peek() == Some(b':') { self.skip().two()? } else { 0 };
        let valid = hours <= 18 && minutes <= 59 && seconds <= 59 && self.0.is_empty();
        valid.then_some(sign * (hours * 3600 + minutes * 60 + seconds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(zoned_us(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn instants_are_read_exactly() {
        check("1970-01-01T00:00:00Z", Some(0));
        check("2024-02-29T18:29:59.999999Z", Some(1_709_231_399_999_999));
        check("2024-02-29T18:29:59.999999000Z", Some(1_709_231_399_999_999));
        check("1970-01-01T02:30+02:30", Some(0));
        check("1969-12-31T23:59:59.5Z", Some(-500_000));
        check("-0043-03-15T12:00:00Z", Some(-63_517_780_800_000_000));
        check("+294276-12-31T23:59:59.999999Z", None);
        check("+200000-01-01T00:00:00Z", Some(6_249_223_180_800_000_000));
        check("infinity", Some(i64::MAX));
        check("-infinity", Some(i64::MIN));
    }

    #[test]
    fn what_is_none_or_does_not_fit_is_refused() {
        for text in [
            "",
            "2024-02-29",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "2024-01-00T00:00:00Z",
            "2024-01-01T24:00:00Z",
            "2024-01-01T00:00:60Z",
            "2024-01-01T00:00:00",
            "2024-01-01T00:00:00Zx",
            "2024-01-01T00:00:00.Z",
            "2024-01-01T00:00:00.0000001Z",
            "2024-01-01T00:00:00+25:00",
            "99999-01-01T00:00:00Zz",
            "Infinity",
        ] {
            check(text, None);
        }
    }
}
