//! One row per order.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order<'a> {
    note: Option<&'a str>,
    placed_at: TimestampTz,
    updated_at: Timestamp,
}

/// One row per order.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "f_orders")]
struct FOrder<'a> {
    #[key]
    id: Passed<i64>,
    customer_id: Passed<i64>,
    ship_address_id: Passed<Option<i64>>,
    #[column(low_cardinality)]
    status: Passed<String>,
    #[column(low_cardinality)]
    currency: Passed<String>,
    #[column(decimal = "base64")]
    total: Passed<Decimal<12, 2>>,
    /// What the customer wrote; null where that is only white space.
    note: Option<&'a str>,
    placed_at: Passed<TimestampTz>,
    updated_at: Passed<Timestamp>,
    /// Day of the order, yyyymmdd; null for a time without a year of four digits.
    date_key: Option<i32>,
    /// Microseconds from the order to its last change.
    #[column(name = "age_us")]
    age: Interval,
}

#[dabi_sdk::transform]
fn orders(order: Order) -> FOrder {
    FOrder {
        id: passed(),
        customer_id: passed(),
        ship_address_id: passed(),
        status: passed(),
        currency: passed(),
        total: passed(),
        note: order.note.filter(|note| !note.trim().is_empty()),
        placed_at: passed(),
        updated_at: passed(),
        date_key: order.placed_at.date().key(),
        age: Interval::from_micros(order.updated_at.micros().saturating_sub(order.placed_at.micros())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(note: Option<&str>) -> Order<'_> {
        let placed_at = TimestampTz::from_micros(1_738_459_009_381_905);
        Order { note, placed_at, updated_at: Timestamp::from_micros(placed_at.micros() + 5) }
    }

    #[test]
    fn the_date_key_is_the_day_in_utc() {
        let star = orders(order(Some("gift 🎁 wrap, bitte")));
        assert_eq!((star.date_key, star.note), (Some(20_250_202), Some("gift 🎁 wrap, bitte")));
        assert_eq!(star.age, Interval::from_micros(5));
    }

    #[test]
    fn a_note_of_white_space_is_none() {
        assert_eq!(orders(order(Some(" \n"))).note, None);
    }

    #[test]
    fn an_order_of_no_day_has_no_key() {
        assert_eq!(orders(Order { placed_at: TimestampTz::INFINITY, ..order(None) }).date_key, None);
    }
}
