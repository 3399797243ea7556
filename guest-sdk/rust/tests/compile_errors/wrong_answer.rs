use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order {
    id: i64,
}

#[dabi_sdk::transform]
fn orders(order: Order) -> Option<i64> {
    Some(order.id)
}

fn main() {}
