//! One row per day of the calendar that dabi keeps: `[calendar]` says which.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "dabi.calendar")]
struct Day {
    date: Date,
    // 1 Monday to 7 Sunday
    iso_weekday: i32,
}

/// One row per day.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "dim_date")]
struct DimDate {
    /// yyyymmdd, as facts have it.
    #[key]
    date_key: i32,
    date: Passed<Date>,
    year: Passed<i32>,
    month: Passed<i32>,
    #[column(low_cardinality)]
    month_name: Passed<String>,
    is_weekend: bool,
}

#[dabi_sdk::transform]
fn dim_date(day: Day) -> Option<DimDate> {
    Some(DimDate {
        date_key: day.date.key()?,
        date: passed(),
        year: passed(),
        month: passed(),
        month_name: passed(),
        is_weekend: day.iso_weekday >= 6,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn star(iso_weekday: i32) -> DimDate {
        dim_date(Day { date: Date::from_days(19_782), iso_weekday }).expect("a day with a key")
    }

    #[test]
    fn a_day_has_the_key_that_facts_have() {
        assert_eq!(star(4).date_key, 20_240_229);
    }

    #[test]
    fn a_week_ends_with_its_weekend() {
        assert_eq!([1, 5, 6, 7].map(|day| star(day).is_weekend), [false, false, true, true]);
    }
}
