//! Values that ClickHouse cannot hold.
//!
//! A date outside its range would fail the whole insert, so such rows are
//! picked out before.

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType as Arrow, Date32Type, TimestampMicrosecondType};

use super::TargetTable;

/// 1900-01-01 and 2299-12-31, in days: the range of `Date32`.
const DAYS: std::ops::RangeInclusive<i32> = -25_567..=120_529;
const DAY_US: i64 = 86_400_000_000;

/// A value that its column in ClickHouse cannot hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutOfRange {
    /// The row of the output.
    pub row: usize,
    /// The column, the value and the range.
    pub message: String,
}

impl TargetTable {
    /// The rows with a value that ClickHouse cannot hold, ascending, each once.
    /// `columns` are the target's, as a transform gave them.
    #[must_use]
    pub fn out_of_range(&self, columns: &[ArrayRef]) -> Vec<OutOfRange> {
        let mut found: Vec<OutOfRange> = Vec::new();
        for (column, array) in self.columns.iter().zip(columns) {
            let place = format!("{}.{}", self.view, column.name);
            match array.data_type() {
                Arrow::Date32 => {
                    let values = array.as_primitive::<Date32Type>();
                    let bad = values.iter().enumerate().filter_map(|(row, day)| Some((row, day?)));
                    found.extend(bad.filter(|(_, day)| !DAYS.contains(day)).map(|(row, day)| OutOfRange {
                        row,
                        message: format!("{place}: day {day} since 1970 is outside 1900-01-01 to 2299-12-31"),
                    }));
                }
                Arrow::Timestamp(..) => {
                    let values = array.as_primitive::<TimestampMicrosecondType>();
                    let bad = values.iter().enumerate().filter_map(|(row, time)| Some((row, time?)));
                    found.extend(bad.filter(|(_, time)| !holds_time(*time)).map(|(row, time)| OutOfRange {
                        row,
                        message: format!("{place}: {time} µs since 1970 is outside the years 1900 to 2299"),
                    }));
                }
                _ => {}
            }
        }
        found.sort_by_key(|fault| fault.row);
        found.dedup_by_key(|fault| fault.row);
        found
    }
}

fn holds_time(time_us: i64) -> bool {
    let day = time_us.div_euclid(DAY_US);
    i32::try_from(day).is_ok_and(|day| DAYS.contains(&day))
}
