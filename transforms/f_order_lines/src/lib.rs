//! One row per line of an order, with the product and the user as they were when
//! it was ordered.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "public.order_products")]
struct Line {
    // A line whose order has not arrived yet waits for it.
    #[lookup(on = "order_id")]
    order: Order,
}

#[derive(SourceRow)]
#[source(table = "public.orders")]
struct Order {
    order_date: TimestampTz,
}

/// One row per line of an order.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "f_order_lines")]
struct FOrderLine {
    #[key]
    order_id: Passed<i64>,
    #[key]
    product_id: Passed<i32>,
    #[column(from = "order.user_id")]
    user_id: Passed<i64>,
    #[column(from = "order.order_date")]
    order_date: Passed<TimestampTz>,
    /// The product as it was when it was ordered; null if nobody knows.
    #[as_of(dimension = "dim_products", key = "product_id", at = "order_date")]
    product_key: Passed<Option<VersionKey>>,
    /// The user as they were when they ordered.
    #[as_of(dimension = "dim_users", key = "user_id", at = "order_date")]
    user_key: Passed<VersionKey>,
    /// Day of the order in UTC, yyyymmdd.
    date_key: Option<i32>,
    /// The place in the cart, from 1.
    add_to_cart_order: Passed<i32>,
}

#[dabi_sdk::transform]
fn f_order_lines(line: Line) -> FOrderLine {
    FOrderLine {
        order_id: passed(),
        product_id: passed(),
        user_id: passed(),
        order_date: passed(),
        product_key: passed(),
        user_key: passed(),
        date_key: line.order.order_date.date().key(),
        add_to_cart_order: passed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_key_is_the_day_of_the_order() {
        let order = Order { order_date: TimestampTz::from_micros(1_764_115_200_000_000) };
        assert_eq!(f_order_lines(Line { order }).date_key, Some(20_251_126));
    }
}
