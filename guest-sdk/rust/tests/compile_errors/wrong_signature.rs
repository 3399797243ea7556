use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order {
    id: i64,
}

#[dabi_sdk::transform]
fn two_rows(_: Order, _: Order) -> Option<i64> {
    None
}

#[dabi_sdk::transform]
async fn waits(_: Order) -> Option<i64> {
    None
}

fn main() {}
