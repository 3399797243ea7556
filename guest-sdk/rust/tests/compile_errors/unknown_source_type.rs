use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order {
    id: usize,
    placed_at: Option<std::time::SystemTime>,
}

fn main() {}
