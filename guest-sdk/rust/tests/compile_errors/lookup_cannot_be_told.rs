use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "public.orders")]
struct Order {
    tip_given: Option<bool>,
}

#[derive(SourceRow)]
#[source(table = "public.stock", key = "shop_id, product_id")]
struct Stock {
    shop_id: i64,
}

#[derive(SourceRow)]
#[source(table = "public.order_products")]
struct Line {
    #[lookup(on = "order_id")]
    order: Option<Order>,
    #[lookup(on = "product_id")]
    stock: Stock,
    #[lookup(on = "shop_id, product_id", missing = "hold")]
    other_stock: Option<Stock>,
}

fn main() {}
