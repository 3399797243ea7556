use dabi_sdk::prelude::*;

#[derive(SourceRow)]
struct Order {
    id: i64,
}

#[derive(SourceRow)]
#[source(table = "orders")]
struct OrderWithoutSchema {
    id: i64,
}

#[derive(StarRow)]
struct FOrder {
    #[key]
    id: Passed<i64>,
}

fn main() {}
