//! Orders, some of which break it until it is mended.

use dabi_sdk::prelude::*;

mod poison;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order<'a> {
    id: i64,
    note: Option<&'a str>,
}

/// One row per order.
#[derive(StarRow)]
#[star(table = "f_orders")]
struct FOrder<'a> {
    #[key]
    id: Passed<i64>,
    customer_id: Passed<i64>,
    #[column(low_cardinality)]
    status: Passed<String>,
    #[column(decimal = "base64")]
    total: Passed<Decimal<12, 2>>,
    note: Option<&'a str>,
}

#[dabi_sdk::transform]
fn fragile_orders(order: Order) -> FOrder {
    FOrder {
        id: passed(),
        customer_id: passed(),
        status: passed(),
        total: passed(),
        note: poison::taste(order.id).or(order.note),
    }
}
