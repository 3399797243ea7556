use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order {
    total: Decimal<40, 2>,
}

fn main() {}
