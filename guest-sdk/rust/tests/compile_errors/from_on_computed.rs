use dabi_sdk::prelude::*;

#[derive(StarRow)]
#[star(table = "f_orders")]
struct FOrder {
    #[key(from = id)]
    id: i64,
}

fn main() {}
