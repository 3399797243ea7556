use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order {
    #[column(units = "ms")]
    at: Timestamp,
    #[column(unit = "minutes")]
    until: Timestamp,
}

fn main() {}
