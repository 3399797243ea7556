use dabi_sdk::prelude::*;

struct Money;

#[derive(StarRow)]
#[star(table = "f_orders")]
struct FOrder {
    #[key]
    id: Passed<i64>,
    total: Money,
}

fn main() {}
