use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "public.orders")]
struct Order {
    user_id: i64,
}

#[derive(SourceRow)]
#[source(table = "public.order_products")]
struct WithoutOn {
    #[lookup]
    order: Order,
}

#[derive(SourceRow)]
#[source(table = "public.order_products")]
struct WithoutLookup {
    order: Order,
}

#[derive(SourceRow)]
#[source(table = "public.order_products")]
struct Dotted {
    #[lookup(on = "order.user_id")]
    order: Order,
}

#[derive(SourceRow)]
#[source(table = "public.order_products")]
struct UnknownPolicy {
    #[lookup(on = "order_id", missing = "skip")]
    order: Order,
}

fn main() {}
