use dabi_sdk::prelude::*;

#[derive(StarRow)]
#[star(table = "f_orders")]
struct FOrder {
    id: Passed<i64>,
    status: String,
}

fn main() {}
