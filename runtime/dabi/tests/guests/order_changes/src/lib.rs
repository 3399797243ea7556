//! Every change of an order of the captures, and two rows of everything that
//! showed an order for the first time.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Change<'a> {
    #[column(name = "_op")]
    op: &'a str,
}

/// One row per change.
#[derive(StarRow)]
#[star(table = "order_changes", kind = "append")]
struct OrderChange<'a> {
    #[key]
    id: Passed<i64>,
    op: &'a str,
    status: Passed<String>,
    #[column(from = "_ts")]
    changed_at: Passed<TimestampTz>,
}

/// Two rows per order that was inserted, or read by a snapshot.
#[derive(StarRow)]
#[star(table = "order_sightings", kind = "append", ops = "r, c")]
struct OrderSighting {
    #[key]
    id: Passed<i64>,
    number: i32,
}

#[dabi_sdk::transform]
fn order_changes(change: Change) -> (OrderChange, [OrderSighting; 2]) {
    let row = OrderChange { id: passed(), op: change.op, status: passed(), changed_at: passed() };
    (row, [0, 1].map(|number| OrderSighting { id: passed(), number }))
}
