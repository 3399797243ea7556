//! One row per order line, with the name of its product: what the bench measures
//! a lookup with.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.products")]
struct Product<'a> {
    name: &'a str,
}

#[derive(SourceRow)]
#[source(table = "shop.order_items")]
struct OrderItem<'a> {
    quantity: i32,
    #[column(decimal = "base64")]
    unit_price: Decimal<10, 2>,
    placed_at: TimestampTz,
    #[lookup(on = "product_id")]
    product: Option<Product<'a>>,
}

/// One row per order line.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "f_order_lines")]
struct FOrderLine<'a> {
    #[key]
    order_id: Passed<i64>,
    #[key]
    line_no: Passed<i16>,
    product_id: Passed<i32>,
    /// Empty where there is no such product.
    product: &'a str,
    quantity: Passed<i32>,
    #[column(unit = "us")]
    updated_at: Passed<Timestamp>,
    /// Quantity times unit price.
    line_total: Decimal<18, 2>,
    /// Day of the order, yyyymmdd.
    date_key: Option<i32>,
}

#[dabi_sdk::transform]
fn order_lines(item: OrderItem) -> Result<FOrderLine, RowError> {
    let quantity = Decimal::<10, 0>::from_whole(item.quantity.into())?;
    Ok(FOrderLine {
        order_id: passed(),
        line_no: passed(),
        product_id: passed(),
        product: item.product.map_or("", |product| product.name),
        quantity: passed(),
        updated_at: passed(),
        line_total: item.unit_price.checked_mul(quantity, Rounding::HalfUp)?,
        date_key: item.placed_at.date().key(),
    })
}
