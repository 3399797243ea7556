use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "public.order_products")]
struct Line {
    #[lookup(on = "order_id")]
    order: i64,
}

fn main() {}
