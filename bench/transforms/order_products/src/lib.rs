//! One row per order line, with the version of its product at the time of the
//! order: what the bench measures as-of references with.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.order_items")]
struct OrderItem {
    placed_at: TimestampTz,
}

/// One row per order line.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "f_order_products")]
struct FOrderProduct {
    #[key]
    order_id: Passed<i64>,
    #[key]
    line_no: Passed<i16>,
    product_id: Passed<i32>,
    placed_at: Passed<TimestampTz>,
    /// The product as it was then; null if nobody knows.
    #[as_of(dimension = "dim_products", key = "product_id", at = "placed_at")]
    product_key: Passed<Option<VersionKey>>,
    quantity: Passed<i32>,
    /// Day of the order, yyyymmdd.
    date_key: Option<i32>,
}

#[dabi_sdk::transform]
fn order_products(item: OrderItem) -> FOrderProduct {
    FOrderProduct {
        order_id: passed(),
        line_no: passed(),
        product_id: passed(),
        placed_at: passed(),
        product_key: passed(),
        quantity: passed(),
        date_key: item.placed_at.date().key(),
    }
}
