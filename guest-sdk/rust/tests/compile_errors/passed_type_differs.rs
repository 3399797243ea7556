use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order {
    placed_at: TimestampTz,
}

#[derive(StarRow)]
#[star(table = "f_orders")]
struct FOrder {
    #[key]
    id: Passed<i64>,
    #[column(from = "placed_at")]
    ordered_at: Passed<Timestamp>,
}

#[dabi_sdk::transform]
fn orders(_: Order) -> Option<FOrder> {
    None
}

fn main() {}
