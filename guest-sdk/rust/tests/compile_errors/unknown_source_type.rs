use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct Order {
    id: usize,
}

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct OrderWithTime {
    placed_at: Option<std::time::SystemTime>,
}

#[derive(SourceRow)]
#[source(table = "shop.orders")]
struct OrderWithLists {
    tags: Vec<Option<Vec<String>>>,
}

fn main() {}
