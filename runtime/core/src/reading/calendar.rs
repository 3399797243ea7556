//! ISO 8601 texts of dates, times and durations.
//!
//! Owns parsing and printing in the proleptic Gregorian calendar with
//! astronomical years (year 0 is 1 BC). By hand, because Debezium writes
//! PostgreSQL's limits, years up to 5,874,897 and its infinities, as year
//! 292,278,994, which are beyond chrono, jiff and time.

/// µs in a second.
pub(super) const SECOND: i64 = 1_000_000;
/// µs in a day.
pub(super) const DAY: i64 = 86_400 * SECOND;

/// What is left of a text.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn eat(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == byte).then(|| self.0 = rest)
    }

    fn eat_any(&mut self, bytes: &[u8]) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        bytes.contains(first).then(|| {
            self.0 = rest;
            *first
        })
    }

    /// A number of `min` to `max` digits; `max` is at most 18.
    fn number(&mut self, min: usize, max: usize) -> Option<i64> {
        let digits = self.0.iter().take(max).take_while(|b| b.is_ascii_digit()).count();
        if digits < min {
            return None;
        }
        let (number, rest) = self.0.split_at(digits);
        self.0 = rest;
        Some(number.iter().fold(0, |n, digit| n * 10 + i64::from(digit - b'0')))
    }

    /// Digits after a point, as µs; `None` for more than nine digits or for
    /// parts of a microsecond.
    fn fraction(&mut self) -> Option<i64> {
        if self.eat_any(b".,").is_none() {
            return Some(0);
        }
        let before = self.0.len();
        let number = self.number(1, 9)?;
        let digits = u32::try_from(before - self.0.len()).ok()?;
        let nanos = number * 10i64.pow(9 - digits);
        (nanos % 1000 == 0 && !self.0.first().is_some_and(u8::is_ascii_digit)).then_some(nanos / 1000)
    }

    /// Days since 1970-01-01.
    fn date(&mut self) -> Option<i64> {
        let sign = self.eat_any(b"+-");
        let year = self.number(4, 9)?;
        let year = if sign == Some(b'-') { -year } else { year };
        self.eat(b'-')?;
        let month = self.number(2, 2).filter(|m| (1..=12).contains(m))?;
        self.eat(b'-')?;
        let day = self.number(2, 2)?;
        (1..=days_in_month(year, month)).contains(&day).then(|| days_from_civil(year, month, day))
    }

    /// µs since midnight; 24:00 is a time.
    fn time(&mut self) -> Option<i64> {
        let hour = self.number(2, 2)?;
        self.eat(b':')?;
        let minute = self.number(2, 2).filter(|m| *m < 60)?;
        let mut micros = (hour * 60 + minute) * 60 * SECOND;
        if self.eat(b':').is_some() {
            micros += self.number(2, 2).filter(|s| *s < 60)? * SECOND;
            micros += self.fraction()?;
        }
        (micros <= DAY).then_some(micros)
    }

    /// Distance from UTC in µs.
    fn zone(&mut self) -> Option<Zone> {
        let Some(sign) = self.eat_any(b"Zz+-") else { return Some(Zone::None) };
        if matches!(sign, b'Z' | b'z') {
            return Some(Zone::Utc);
        }
        let hours = self.number(2, 2).filter(|h| *h < 24)?;
        let minutes = match self.eat(b':') {
            Some(()) => self.number(2, 2)?,
            None if self.0.is_empty() => 0,
            None => self.number(2, 2)?,
        };
        let seconds = if self.eat(b':').is_some() { self.number(2, 2)? } else { 0 };
        let distance = ((hours * 60 + minutes) * 60 + seconds) * SECOND;
        Some(Zone::Offset(if sign == b'-' { -distance } else { distance }))
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

/// The zone of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    None,
    /// `Z`; Debezium also puts it behind dates and times that have no zone
    Utc,
    /// µs east of UTC
    Offset(i64),
}

/// Days since 1970-01-01 of `2024-02-29`, `-0043-03-15Z`.
pub(crate) fn parse_date(text: &str) -> Option<i64> {
    let mut rest = Rest(text.as_bytes());
    let days = rest.date()?;
    matches!(rest.zone()?, Zone::None | Zone::Utc).then_some(())?;
    rest.end()?;
    Some(days)
}

/// µs since midnight of `10:44:15.5Z`.
pub(super) fn parse_time(text: &str) -> Option<(i64, Zone)> {
    let mut rest = Rest(text.as_bytes());
    let time = rest.time()?;
    let zone = rest.zone()?;
    rest.end()?;
    Some((time, zone))
}

/// µs since 1970-01-01T00:00:00 in the zone of the text. 128 bits, because
/// nine-digit years are allowed.
pub(super) fn parse_timestamp(text: &str) -> Option<(i128, Zone)> {
    let mut rest = Rest(text.as_bytes());
    let days = rest.date()?;
    rest.eat_any(b"T ")?;
    let time = rest.time()?;
    let zone = rest.zone()?;
    rest.end()?;
    Some((i128::from(days) * i128::from(DAY) + i128::from(time), zone))
}

/// µs of `P1Y2M3DT4H5M6.789012S`, each part with its own sign, a month being
/// 30.4375 days as in Debezium's numeric form.
pub(super) fn parse_duration(text: &str) -> Option<i128> {
    const MONTH: i128 = 2_629_800 * 1_000_000;
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let mut rest = Rest(text.as_bytes());
    rest.eat(b'P')?;
    let (mut total, mut in_time, mut parts) = (0i128, false, 0);
    while !rest.0.is_empty() {
        if !in_time && rest.eat(b'T').is_some() {
            in_time = true;
            continue;
        }
        let sign = rest.eat_any(b"+-");
        let number = i128::from(rest.number(1, 18)?);
        let fraction = i128::from(rest.fraction()?);
        let unit = match (rest.eat_any(b"YMWDHS")?, in_time) {
            (b'Y', false) => 12 * MONTH,
            (b'M', false) => MONTH,
            (b'W', false) => 7 * i128::from(DAY),
            (b'D', false) => i128::from(DAY),
            (b'H', true) => 3600 * i128::from(SECOND),
            (b'M', true) => 60 * i128::from(SECOND),
            (b'S', true) => i128::from(SECOND),
            _ => return None,
        };
        if fraction != 0 && unit != i128::from(SECOND) {
            return None;
        }
        let part = number * unit + fraction;
        total = total.saturating_add(if sign == Some(b'-') { -part } else { part });
        parts += 1;
    }
    (parts > 0).then_some(if negative { -total } else { total })
}

/// `2024-02-29`; years beyond four digits have a sign, as ISO 8601 wants.
pub(crate) fn date_text(days: i64) -> String {
    let (year, month, day) = civil_from_days(days);
    match year {
        0..=9999 => format!("{year:04}-{month:02}-{day:02}"),
        _ => format!("{year:+05}-{month:02}-{day:02}"),
    }
}

/// `13:14:15.123456`, without a fraction where it is zero.
pub(super) fn time_text(micros: i64) -> String {
    let (seconds, fraction) = (micros / SECOND, micros % SECOND);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = if fraction == 0 { String::new() } else { format!(".{fraction:06}") };
    format!("{hour:02}:{minute:02}:{second:02}{fraction}")
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Howard Hinnant, "chrono-compatible low-level date algorithms".
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
