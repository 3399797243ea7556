//! `dabi.calendar`: a built-in source table, one row per day of a span.
//!
//! Owns its columns and its rows, as change events; so a date dimension is a
//! transform like any other. Does not own when they are evaluated: the engine
//! gives itself what its store lacks (`engine::stateful`).
//!
//! Invariant: a row depends on its day alone, and on none but the spans before
//! and after whether it comes or goes. The events have no commit time and no
//! LSN, and stand on no topic of Kafka: their offsets count days from 1900 on.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, AsArray, Date32Array, DictionaryArray, Int8Array, Int32Array, Int64Array, RecordBatch,
    StringArray, new_null_array,
};
use arrow::compute::{DatePart, date_part};
use arrow::datatypes::{DataType, Field, Fields, Int8Type, Int32Type};
use serde::{Deserialize, Serialize};

use crate::change::{ChangeBatch, Op, Wire, change_schema, meta, row_field};
use crate::reading::{date_text, parse_date};
use crate::star;
use crate::table::SourceTable;

/// The schema of dabi's built-in tables.
pub const SCHEMA: &str = "dabi";
/// Name of the table, and of the topic that its rows claim to be of.
const NAME: &str = "calendar";
/// The column that identifies a row.
const KEY: &str = "date";
/// 1900-01-01 in days since 1970: the first that ClickHouse holds, and that a span may have.
const FIRST_DAY: i32 = -25_567;

/// Columns that are numbers, and what each is of the day.
const PARTS: [(&str, DatePart); 8] = [
    ("year", DatePart::Year),
    ("quarter", DatePart::Quarter),
    ("month", DatePart::Month),
    ("day", DatePart::Day),
    ("day_of_year", DatePart::DayOfYear),
    // The year that the ISO week belongs to, which differs around New Year.
    ("iso_year", DatePart::YearISO),
    ("iso_week", DatePart::WeekISO),
    // 1 Monday to 7 Sunday
    ("iso_weekday", DatePart::DayOfWeekMonday1),
];

/// English names, for a number from 1 on.
const NAMES: [(&str, DatePart, &[&str]); 2] = [
    (
        "month_name",
        DatePart::Month,
        &[
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ],
    ),
    (
        "weekday_name",
        DatePart::DayOfWeekMonday1,
        &["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    ),
];

/// The table.
#[must_use]
pub fn table() -> SourceTable {
    SourceTable::new(SCHEMA, NAME)
}

/// Its columns, in order: `date`, whole numbers, English names.
#[must_use]
pub fn column_names() -> Vec<&'static str> {
    let parts = PARTS.iter().map(|(name, _)| *name);
    [KEY].into_iter().chain(parts).chain(NAMES.iter().map(|(name, ..)| *name)).collect()
}

/// The first and the last day of the calendar, both of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "Written", into = "Written")]
pub struct Span {
    from_days: i32,
    to_days: i32,
}

/// A span in settings, and in the engine's store.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    from: String,
    to: String,
}

impl Default for Written {
    fn default() -> Self {
        Self { from: "2000-01-01".to_owned(), to: "2049-12-31".to_owned() }
    }
}

/// Two texts that are no span.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSpan {
    /// One is no day that a date column of ClickHouse holds.
    #[error("{0:?} is not a day from 1900-01-01 to 2299-12-31; write it as \"2024-02-29\"")]
    Day(String),
    /// The last day comes first.
    #[error("the calendar ends on {to}, before it begins on {from}; set calendar.from and calendar.to")]
    Backwards {
        /// The first day.
        from: String,
        /// The last.
        to: String,
    },
}

impl Span {
    /// From one ISO date to another, both of it.
    ///
    /// # Errors
    /// If they are no dates that ClickHouse holds, or the second is before the first.
    pub fn parse(from: &str, to: &str) -> Result<Self, InvalidSpan> {
        let (from_days, to_days) = (days(from)?, days(to)?);
        if from_days > to_days {
            return Err(InvalidSpan::Backwards { from: from.to_owned(), to: to.to_owned() });
        }
        Ok(Self { from_days, to_days })
    }

    /// What makes of a table with the days `before` one with the days of this
    /// span, an event per day and in their order: those that come are read, as by
    /// a snapshot, and those that go are deleted. `None` if nothing changes.
    ///
    /// # Panics
    /// If the layout of change batches and this module differ: a defect.
    #[must_use]
    pub fn changes_from(&self, before: Option<Self>) -> Option<ChangeBatch> {
        let old = before.unwrap_or(*self);
        let had = |day: &i32| before.is_some_and(|before| before.holds(*day));
        let all = self.from_days.min(old.from_days)..=self.to_days.max(old.to_days);
        let changed: Vec<i32> = all.filter(|day| self.holds(*day) != had(day)).collect();
        if changed.is_empty() {
            return None;
        }
        let ops = changed.iter().map(|day| if self.holds(*day) { Op::Read } else { Op::Delete });
        let ops: DictionaryArray<Int8Type> = ops.map(Op::letter).collect();
        let days = Date32Array::from(changed);
        let (fields, mut columns): (Vec<Field>, Vec<ArrayRef>) = row_columns(&days).into_iter().unzip();
        let schema = change_schema(&table(), &[KEY], &Fields::from(fields), false);
        for field in schema.fields().iter().skip(columns.len()) {
            columns.push(meta_column(field, &ops, &days));
        }
        let batch = RecordBatch::try_new(schema, columns).expect("a column per field, of its type");
        Some(ChangeBatch::try_new(batch).expect("events of one partition in offset order"))
    }

    fn holds(&self, day: i32) -> bool {
        (self.from_days..=self.to_days).contains(&day)
    }
}

impl Default for Span {
    fn default() -> Self {
        Written::default().try_into().expect("two dates in their order")
    }
}

impl TryFrom<Written> for Span {
    type Error = InvalidSpan;

    fn try_from(written: Written) -> Result<Self, InvalidSpan> {
        Self::parse(&written.from, &written.to)
    }
}

impl From<Span> for Written {
    fn from(span: Span) -> Self {
        Self { from: date_text(span.from_days.into()), to: date_text(span.to_days.into()) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Written { from, to } = (*self).into();
        write!(f, "{from} to {to}")
    }
}

fn days(text: &str) -> Result<i32, InvalidSpan> {
    let days = parse_date(text).and_then(|days| i32::try_from(days).ok());
    days.filter(|days| star::holds_day(*days)).ok_or_else(|| InvalidSpan::Day(text.to_owned()))
}

fn row_columns(days: &Date32Array) -> Vec<(Field, ArrayRef)> {
    let part = |part| date_part(days, part).expect("a date has every part of a date");
    let typed = |name, data_type, connect| row_field(name, data_type, Wire::Typed, connect);
    let date = typed(KEY, DataType::Date32, Some("io.debezium.time.Date"));
    let mut columns = vec![(date, Arc::new(days.clone()) as ArrayRef)];
    for (name, of) in PARTS {
        columns.push((typed(name, DataType::Int32, None), part(of)));
    }
    for (name, of, names) in NAMES {
        let numbers = part(of);
        let named = |number: &i32| usize::try_from(number - 1).ok().and_then(|index| names.get(index));
        let texts: StringArray = numbers.as_primitive::<Int32Type>().values().iter().map(named).collect();
        columns.push((typed(name, DataType::Utf8, None), Arc::new(texts)));
    }
    columns
}

fn meta_column(field: &Field, ops: &DictionaryArray<Int8Type>, days: &Date32Array) -> ArrayRef {
    let rows = days.len();
    match field.name().as_str() {
        meta::OP => Arc::new(ops.clone()),
        meta::TOPIC => {
            let topic = Arc::new(StringArray::from_iter_values([table().to_string()]));
            Arc::new(DictionaryArray::new(Int8Array::from_value(0, rows), topic))
        }
        meta::PARTITION => Arc::new(Int32Array::from_value(0, rows)),
        meta::OFFSET => {
            let offsets = days.values().iter().map(|day| i64::from(day - FIRST_DAY));
            Arc::new(Int64Array::from_iter_values(offsets))
        }
        _ => new_null_array(field.data_type(), rows),
    }
}

#[cfg(test)]
mod tests;
