use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "public.orders")]
struct Order {
    user_id: i64,
}

#[derive(SourceRow)]
#[source(table = "public.order_products")]
struct Line {
    #[lookup(on = "order_id")]
    order: Option<Order>,
}

#[derive(StarRow)]
#[star(table = "f_lines")]
struct OfNothing {
    #[key]
    id: Passed<i64>,
    #[column(from = "user.name")]
    user_name: Passed<String>,
}

#[derive(StarRow)]
#[star(table = "f_lines")]
struct NeverMissing {
    #[key]
    id: Passed<i64>,
    #[column(from = "order.note")]
    note: Passed<String>,
}

#[dabi_sdk::transform]
fn of_nothing(_: Line) -> Option<OfNothing> {
    None
}

#[dabi_sdk::transform]
fn never_missing(_: Line) -> Option<NeverMissing> {
    None
}

fn main() {}
