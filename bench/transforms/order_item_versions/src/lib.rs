//! Every version of every order line: what the bench measures scd2 with. A change
//! of the quantity begins one.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.order_items")]
struct OrderItem<'a> {
    title: &'a str,
}

/// One row per version of an order line.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "dim_order_items", kind = "scd2")]
struct DimOrderItem<'a> {
    #[key]
    order_id: Passed<i64>,
    #[key]
    line_no: Passed<i16>,
    product_id: Passed<i32>,
    #[column(tracked)]
    quantity: Passed<i32>,
    title: &'a str,
}

#[dabi_sdk::transform]
fn order_item_versions(item: OrderItem) -> DimOrderItem {
    DimOrderItem {
        order_id: passed(),
        line_no: passed(),
        product_id: passed(),
        quantity: passed(),
        title: item.title,
    }
}
