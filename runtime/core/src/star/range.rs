//! Values that ClickHouse cannot hold.
//!
//! A date outside its range, or a text that is no label of its enum, would fail
//! the whole insert, so such rows are picked out before.

use std::collections::HashSet;
use std::ops::RangeInclusive;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType as Arrow, Date32Type, TimestampMicrosecondType};

use super::TargetTable;

/// 1900-01-01 and 2299-12-31, in days: the range of `Date32`.
const DAYS: RangeInclusive<i32> = -25_567..=120_529;
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
            let labels = column.sql_type.labels();
            let unfit = unfit_values(array, labels.as_ref()).into_iter();
            found.extend(unfit.map(|(row, what)| OutOfRange {
                row,
                message: format!("{}.{}: {what}", self.view, column.name),
            }));
        }
        found.sort_by_key(|fault| fault.row);
        found.dedup_by_key(|fault| fault.row);
        found
    }
}

/// Rows of `array` with such a value, and what is wrong with it.
fn unfit_values(array: &ArrayRef, labels: Option<&HashSet<&str>>) -> Vec<(usize, String)> {
    match array.data_type() {
        Arrow::Date32 => {
            let values = array.as_primitive::<Date32Type>().iter().enumerate();
            let bad =
                values.filter_map(|(row, day)| day.filter(|day| !holds_day(*day)).map(|day| (row, day)));
            bad.map(|(row, day)| (row, format!("day {day} since 1970 is outside 1900-01-01 to 2299-12-31")))
                .collect()
        }
        Arrow::Timestamp(..) => {
            let values = array.as_primitive::<TimestampMicrosecondType>().iter().enumerate();
            let bad = values
                .filter_map(|(row, time)| time.filter(|time| !holds_time(*time)).map(|time| (row, time)));
            bad.map(|(row, time)| (row, format!("{time} µs since 1970 is outside the years 1900 to 2299")))
                .collect()
        }
        Arrow::Utf8 => {
            let Some(labels) = labels else { return Vec::new() };
            let values = array.as_string::<i32>().iter().enumerate();
            let bad = values
                .filter_map(|(row, text)| text.filter(|text| !labels.contains(text)).map(|text| (row, text)));
            bad.map(|(row, text)| (row, format!("{text:?} is none of the labels of its enum"))).collect()
        }
        Arrow::List(_) => {
            let lists = array.as_list::<i32>();
            let of_items = unfit_values(lists.values(), None);
            if of_items.is_empty() {
                return Vec::new();
            }
            // Items are numbered through all lists; offsets ascend.
            let list_of = |item: usize| {
                lists
                    .value_offsets()
                    .partition_point(|from| usize::try_from(*from).is_ok_and(|from| from <= item))
            };
            let rows = of_items.into_iter().map(|(item, what)| (list_of(item).wrapping_sub(1), what));
            rows.filter(|(row, _)| *row < lists.len() && lists.is_valid(*row)).collect()
        }
        _ => Vec::new(),
    }
}

/// Can a date column hold this day since 1970?
pub(crate) fn holds_day(day: i32) -> bool {
    DAYS.contains(&day)
}

fn holds_time(time_us: i64) -> bool {
    i32::try_from(time_us.div_euclid(DAY_US)).is_ok_and(holds_day)
}
