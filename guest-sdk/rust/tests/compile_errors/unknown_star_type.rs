use dabi_sdk::prelude::*;

#[derive(StarRow)]
#[star(table = "f_orders")]
struct FOrder {
    #[key]
    id: Passed<i64>,
    amount: char,
}

fn main() {}
