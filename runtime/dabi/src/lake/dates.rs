//! The date under which an event is filed: its Kafka timestamp, UTC.
//!
//! Owns the cut of a batch into dates. A record without a timestamp, or with
//! one outside the years 1970 to 9999, is filed under 1970-01-01.

use arrow::array::Array;
use arrow::temporal_conversions::date32_to_datetime;
use dabi_core::change::ChangeBatch;
use dabi_core::manifest::TimeRange;

const MS_PER_DAY: i64 = 86_400_000;
/// 9999-12-31
const DAY_MAX: i32 = 2_932_896;

/// Days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Day(i32);

impl Day {
    /// The day of a Kafka timestamp, ms since 1970.
    pub(super) fn of(timestamp_ms: Option<i64>) -> Self {
        let day = timestamp_ms.and_then(|ms| i32::try_from(ms.div_euclid(MS_PER_DAY)).ok());
        Self(day.filter(|day| (0..=DAY_MAX).contains(day)).unwrap_or(0))
    }
}

impl std::fmt::Display for Day {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match date32_to_datetime(self.0) {
            Some(date) => date.format("%Y-%m-%d").fmt(f),
            None => f.write_str("1970-01-01"),
        }
    }
}

/// Consecutive rows of a batch that have one date.
pub(super) struct Piece {
    pub(super) day: Day,
    pub(super) from: usize,
    pub(super) len: usize,
    pub(super) kafka_ts_ms: Option<TimeRange>,
}

/// Cuts a batch where the date changes; nearly always there is one piece.
pub(super) fn pieces(batch: &ChangeBatch) -> Vec<Piece> {
    let timestamps = batch.kafka_ts();
    let mut pieces: Vec<Piece> = Vec::new();
    for row in 0..timestamps.len() {
        let timestamp = timestamps.is_valid(row).then(|| timestamps.value(row));
        let at = timestamp.map(|ms| TimeRange { min: ms, max: ms });
        let day = Day::of(timestamp);
        match pieces.last_mut().filter(|piece| piece.day == day) {
            Some(piece) => {
                piece.len += 1;
                piece.kafka_ts_ms = match (piece.kafka_ts_ms, at) {
                    (Some(a), Some(b)) => Some(TimeRange { min: a.min.min(b.min), max: a.max.max(b.max) }),
                    (a, b) => a.or(b),
                };
            }
            None => pieces.push(Piece { day, from: row, len: 1, kafka_ts_ms: at }),
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_written_as_dates_and_nonsense_goes_to_1970() {
        let check = |ms, expected: &str| assert_eq!(Day::of(ms).to_string(), expected);
        check(Some(0), "1970-01-01");
        check(Some(1_735_689_599_999), "2024-12-31");
        check(Some(1_735_689_600_000), "2025-01-01");
        check(Some(253_402_300_799_999), "9999-12-31");
        check(Some(253_402_300_800_000), "1970-01-01");
        check(Some(i64::MIN), "1970-01-01");
        check(Some(-1), "1970-01-01");
        check(None, "1970-01-01");
    }
}
