use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order {
    total: Option<Decimal<12, 2>>,
}

#[derive(StarRow)]
#[star(table = "f_orders")]
struct FOrder {
    #[key]
    id: Passed<i64>,
    total: Passed<Decimal<12, 2>>,
}

#[dabi_sdk::transform]
fn orders(_: Order) -> FOrder {
    FOrder { id: passed(), total: passed() }
}

fn main() {}
