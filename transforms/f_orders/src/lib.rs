//! One row per order.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "public.orders")]
struct Order {
    order_date: TimestampTz,
    // Null until the courier has been.
    tip_given: Option<bool>,
}

/// One row per order.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "f_orders")]
struct FOrder {
    #[key]
    order_id: Passed<i64>,
    user_id: Passed<i64>,
    order_date: Passed<TimestampTz>,
    /// The user as they were when they ordered.
    #[as_of(dimension = "dim_users", key = "user_id", at = "order_date")]
    user_key: Passed<VersionKey>,
    /// Day of the order in UTC, yyyymmdd.
    date_key: Option<i32>,
    /// When the order was made: night, morning, afternoon or evening, in UTC.
    #[column(low_cardinality)]
    day_part: &'static str,
    /// Was a tip given? Not, as long as nobody knows.
    is_tip_given: bool,
}

#[dabi_sdk::transform]
fn f_orders(order: Order) -> FOrder {
    FOrder {
        order_id: passed(),
        user_id: passed(),
        order_date: passed(),
        user_key: passed(),
        date_key: order.order_date.date().key(),
        // A line to try: name the parts of the day as you like, and save.
        day_part: ["night", "morning", "afternoon", "evening"][quarter(order.order_date)],
        is_tip_given: order.tip_given.unwrap_or(false),
    }
}

/// The quarter of the day, from 0.
fn quarter(time: TimestampTz) -> usize {
    usize::try_from(time.hour() / 6).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn star(order_date: i64, tip_given: Option<bool>) -> FOrder {
        f_orders(Order { order_date: TimestampTz::from_micros(order_date), tip_given })
    }

    #[test]
    fn the_date_key_is_the_day_in_utc() {
        assert_eq!(star(1_764_115_199_999_999, None).date_key, Some(20_251_125));
        assert_eq!(star(1_764_115_200_000_000, None).date_key, Some(20_251_126));
    }

    #[test]
    fn a_day_has_four_parts() {
        let part = |hour: i64| star(1_764_115_200_000_000 + hour * 3_600_000_000, None).day_part;
        assert_eq!(
            [0, 5, 6, 12, 18, 23].map(part),
            ["night", "night", "morning", "afternoon", "evening", "evening"]
        );
    }

    #[test]
    fn no_tip_is_given_as_long_as_nobody_knows() {
        assert_eq!(
            [None, Some(false), Some(true)].map(|tip| star(0, tip).is_tip_given),
            [false, false, true]
        );
    }
}
