use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order;

#[derive(StarRow)]
#[star(table = "f_orders")]
struct FOrder {
    #[key]
    id: Passed<i64>,
}

#[dabi_sdk::transform]
fn orders(_: Order) -> (FOrder, Option<FOrder>) {
    (FOrder { id: passed() }, None)
}

fn main() {}
