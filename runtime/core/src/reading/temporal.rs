//! Reading as date, time, timestamp and interval.
//!
//! Infinity is kept as the largest value of the type, −infinity as the
//! smallest: `i32::MAX` days, `i64::MAX` µs. Debezium has no such value on the
//! wire; it sends what Java's calendar makes of the driver's placeholders,
//! which differs between snapshot and stream. These numbers lie outside what
//! the sources can store, so nothing else is mistaken for them. All else that
//! no source can store (a timestamp that has wrapped around, for one) is a
//! fault.

use arrow::datatypes::TimeUnit;

use super::calendar::{self, DAY, Zone};
use super::sent::Sent;
use super::{Fault, Hints};

/// 4714-11-24 BC, Julian day 0: no database goes further back.
const DATE_MIN: i64 = -2_440_588;
/// 5874897-12-31, PostgreSQL's last day.
const DATE_MAX: i64 = 2_145_042_905;
/// [`DATE_MIN`] in µs.
const TIMESTAMP_MIN: i64 = DATE_MIN * DAY;

/// Days for `infinity`: in the stream, in a snapshot, and in a snapshot with
/// `time.precision.mode=isostring` (the text +292278994-08-16).
const DATE_INFINITY: [i64; 3] = [-2_147_472_692, -622_191_234, 106_751_991_166];
/// Days for `-infinity`, likewise (+292269055-12-02).
const DATE_NEGATIVE_INFINITY: [i64; 3] = [-2_147_472_691, -625_821_272, 106_748_361_128];
/// Milliseconds of the driver's placeholders; µs are a thousand times these.
const INFINITY_MS: i64 = 9_223_372_036_825_200;
const NEGATIVE_INFINITY_MS: i64 = -9_223_372_036_832_400;

pub(super) fn date(sent: Sent<'_>) -> Result<i32, Fault> {
    let days = match sent {
        Sent::Date(days) => days.into(),
        Sent::Integer(days) => days,
        Sent::Text("infinity") => return Ok(i32::MAX),
        Sent::Text("-infinity") => return Ok(i32::MIN),
        Sent::Text(text) => calendar::parse_date(text)
            .ok_or_else(|| Fault::unreadable(sent, "it is not a date such as 2024-02-29"))?,
        other => return Err(Fault::unreadable(other, "it is neither days since 1970 nor a date")),
    };
    if DATE_INFINITY.contains(&days) {
        return Ok(i32::MAX);
    }
    if DATE_NEGATIVE_INFINITY.contains(&days) {
        return Ok(i32::MIN);
    }
    in_calendar(days)
        .then(|| i32::try_from(days).ok())
        .flatten()
        .ok_or_else(|| Fault::out_of_range(sent, "no source has such a date (days since 1970 are expected)"))
}

fn in_calendar(days: i64) -> bool {
    (DATE_MIN..=DATE_MAX).contains(&days)
}

/// Whether days are dates as they stand: neither infinite nor out of range.
pub(super) fn are_plain_dates(days: &[i32]) -> bool {
    days.iter().all(|days| in_calendar((*days).into()))
}

/// Whether µs are times as they stand.
pub(super) fn are_plain_times(micros: &[i64]) -> bool {
    micros.iter().all(|micros| (0..=DAY).contains(micros))
}

/// Whether µs are timestamps as they stand.
pub(super) fn are_plain_timestamps(micros: &[i64]) -> bool {
    micros.iter().all(|micros| (TIMESTAMP_MIN..INFINITY_MS * 1000).contains(micros))
}

pub(super) fn time(sent: Sent<'_>, hints: Hints) -> Result<i64, Fault> {
    let micros = match sent {
        Sent::Time(value, unit) => micros(sent, value, unit)?,
        Sent::Integer(value) => micros(sent, value, hints.unit)?,
        Sent::Text(text) => match calendar::parse_time(text) {
            Some((time, Zone::None | Zone::Utc)) => time,
            Some((time, Zone::Offset(east))) => (time - east).rem_euclid(DAY),
            None => return Err(Fault::unreadable(sent, "it is not a time such as 13:14:15.123456")),
        },
        other => return Err(Fault::unreadable(other, "it is not a time")),
    };
    if (0..=DAY).contains(&micros) {
        return Ok(micros);
    }
    Err(Fault::out_of_range(
        sent,
        "it is beyond 24:00; if the source sends other units, set the input column's option unit = \"ms\", \
         \"us\" or \"ns\"",
    ))
}

pub(super) fn timestamp(sent: Sent<'_>, hints: Hints) -> Result<i64, Fault> {
    match sent {
        Sent::Timestamp(value, unit) => moment(sent, value, unit),
        Sent::Integer(value) => moment(sent, value, hints.unit),
        Sent::Text("infinity") => Ok(i64::MAX),
        Sent::Text("-infinity") => Ok(i64::MIN),
        Sent::Text(text) => match calendar::parse_timestamp(text) {
            Some((micros, Zone::None | Zone::Utc)) => narrow(sent, micros),
            Some((_, Zone::Offset(_))) => {
                Err(Fault::unreadable(sent, "it has a time zone; declare timestamptz"))
            }
            None => Err(Fault::unreadable(sent, "it is not a timestamp such as 2024-02-29T13:14:15.123456")),
        },
        other => Err(Fault::unreadable(other, "it is not a timestamp")),
    }
}

pub(super) fn timestamptz(sent: Sent<'_>, hints: Hints) -> Result<i64, Fault> {
    match sent {
        Sent::Instant(micros @ (i64::MAX | i64::MIN)) => Ok(micros),
        Sent::Instant(micros) => narrow(sent, micros.into()),
        Sent::Integer(value) => moment(sent, value, hints.unit),
        Sent::Text("infinity") => Ok(i64::MAX),
        Sent::Text("-infinity") => Ok(i64::MIN),
        Sent::Text(text) => match calendar::parse_timestamp(text) {
            Some((micros, Zone::Utc)) => narrow(sent, micros),
            Some((micros, Zone::Offset(east))) => narrow(sent, micros - i128::from(east)),
            Some((_, Zone::None)) => Err(Fault::unreadable(sent, "it has no time zone; declare timestamp")),
            None => Err(Fault::unreadable(sent, "it is not a timestamp such as 2024-02-29T13:14:15.123456Z")),
        },
        other => Err(Fault::unreadable(other, "it is not a timestamp")),
    }
}

pub(super) fn interval(sent: Sent<'_>, nanos: bool) -> Result<i64, Fault> {
    match sent {
        Sent::Integer(i64::MAX | i64::MIN) => Err(Fault::out_of_range(
            sent,
            "the interval did not fit 64 bits in the connector, its value is lost; set \
             interval.handling.mode=string and declare text",
        )),
        Sent::Integer(value) if nanos => micros(sent, value, TimeUnit::Nanosecond),
        Sent::Integer(value) => Ok(value),
        Sent::Text(text) => match calendar::parse_duration(text) {
            Some(micros) => i64::try_from(micros)
                .map_err(|_| Fault::out_of_range(sent, "declare text for such intervals")),
            None => Err(Fault::unreadable(sent, "it is not an ISO 8601 duration such as P1Y2M3DT4H5M6.7S")),
        },
        other => Err(Fault::unreadable(other, "it is not an interval")),
    }
}

fn micros(sent: Sent<'_>, value: i64, unit: TimeUnit) -> Result<i64, Fault> {
    let micros = match unit {
        TimeUnit::Second => value.checked_mul(1_000_000),
        TimeUnit::Millisecond => value.checked_mul(1000),
        TimeUnit::Microsecond => Some(value),
        TimeUnit::Nanosecond if value % 1000 == 0 => Some(value / 1000),
        TimeUnit::Nanosecond => {
            return Err(Fault::inexact(sent, "it has parts of a microsecond; declare int64 for nanoseconds"));
        }
    };
    micros.ok_or_else(|| Fault::out_of_range(sent, "it is beyond the year 294247"))
}

fn moment(sent: Sent<'_>, value: i64, unit: TimeUnit) -> Result<i64, Fault> {
    match (unit, value) {
        (TimeUnit::Millisecond, INFINITY_MS) => Ok(i64::MAX),
        (TimeUnit::Millisecond, NEGATIVE_INFINITY_MS) => Ok(i64::MIN),
        _ => narrow(sent, micros(sent, value, unit)?.into()),
    }
}

/// µs as a timestamp, the placeholders of infinity recognised.
fn narrow(sent: Sent<'_>, micros: i128) -> Result<i64, Fault> {
    if micros == i128::from(INFINITY_MS) * 1000 {
        return Ok(i64::MAX);
    }
    if micros == i128::from(NEGATIVE_INFINITY_MS) * 1000 {
        return Ok(i64::MIN);
    }
    // i64::MAX itself means infinity
    i64::try_from(micros).ok().filter(|micros| (TIMESTAMP_MIN..i64::MAX).contains(micros)).ok_or_else(|| {
        Fault::out_of_range(
            sent,
            "no source has such a time, or 64 bits of microseconds do not hold it (a timestamp beyond the \
             year 294247 wraps around in the connector)",
        )
    })
}

pub(super) fn date_text(days: i32) -> String {
    match date(Sent::Date(days)) {
        Ok(i32::MAX) => "infinity".into(),
        Ok(i32::MIN) => "-infinity".into(),
        _ => calendar::date_text(days.into()),
    }
}

/// `2024-02-29T13:14:15.123456`, infinities by name. `None`: beyond what can be
/// written.
pub(super) fn timestamp_text(sent: Sent<'_>, value: i64, unit: TimeUnit) -> Result<String, Fault> {
    Ok(match moment(sent, value, unit)? {
        i64::MAX => "infinity".into(),
        i64::MIN => "-infinity".into(),
        micros => format!(
            "{}T{}",
            calendar::date_text(micros.div_euclid(DAY)),
            calendar::time_text(micros.rem_euclid(DAY))
        ),
    })
}

pub(super) fn instant_text(sent: Sent<'_>, micros: i64) -> Result<String, Fault> {
    Ok(match timestamptz(sent, Hints::default())? {
        i64::MAX => "infinity".into(),
        i64::MIN => "-infinity".into(),
        _ => timestamp_text(sent, micros, TimeUnit::Microsecond)? + "Z",
    })
}

pub(super) fn time_text(sent: Sent<'_>) -> Result<String, Fault> {
    time(sent, Hints::default()).map(calendar::time_text)
}
