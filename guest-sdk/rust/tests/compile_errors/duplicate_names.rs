use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order {
    id: i64,
    #[column(name = "id")]
    order_id: i64,
}

#[derive(StarRow)]
#[star(table = "f_orders")]
struct FOrder {
    #[key]
    id: Passed<i64>,
    #[column(name = "id")]
    order_id: i64,
}

fn main() {}
