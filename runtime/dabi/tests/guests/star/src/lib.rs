//! Order lines of the captures with all that they refer to: five tables, one of
//! them twice, in chains of up to three, and a table that several lines share.
//!
//! No decimals and no times without a zone: the captures are of connectors that
//! are set differently, and one declaration cannot say how each sends them.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.order_items")]
struct Item<'a> {
    qty: i64,
    #[lookup(on = "order_id")]
    order: Order<'a>,
    #[lookup(on = "product_id")]
    product: Option<Product<'a>>,
}

#[derive(SourceRow)]
#[source(table = "shop.orders", key = "id")]
struct Order<'a> {
    placed_at: TimestampTz,
    // Deleting an address takes it from its orders.
    #[lookup(on = "ship_address_id")]
    address: Option<Address<'a>>,
    #[lookup(on = "customer_id")]
    customer: Customer<'a>,
}

#[derive(SourceRow)]
#[source(table = "shop.customers", key = "id")]
struct Customer<'a> {
    full_name: &'a str,
}

#[derive(SourceRow)]
#[source(table = "shop.addresses", key = "id")]
struct Address<'a> {
    city: &'a str,
    country: &'a str,
}

#[derive(SourceRow)]
#[source(table = "shop.products", key = "id")]
struct Product<'a> {
    name: &'a str,
    // Long ones are stored apart, and not sent where an update leaves them alone.
    description: Option<&'a str>,
    #[lookup(on = "category_id")]
    category: Option<Category<'a>>,
}

#[derive(SourceRow)]
#[source(table = "shop.categories", key = "id")]
struct Category<'a> {
    name: &'a str,
    #[lookup(on = "parent_id")]
    parent: Option<Parent<'a>>,
}

#[derive(SourceRow)]
#[source(table = "shop.categories", key = "id")]
struct Parent<'a> {
    name: &'a str,
}

/// One row per line of an order.
#[derive(StarRow)]
#[star(table = "f_lines")]
struct FLine<'a> {
    #[key]
    order_id: Passed<i64>,
    #[key]
    line_no: Passed<i16>,
    product_id: Passed<i32>,
    qty: i64,
    #[column(from = "order.customer_id")]
    customer_id: Passed<i64>,
    #[column(from = "order.status")]
    status: Passed<String>,
    #[column(from = "order.placed_at")]
    placed_at: Passed<TimestampTz>,
    date_key: Option<i32>,
    customer: &'a str,
    #[column(from = "order.customer.tier")]
    tier: Passed<String>,
    #[column(from = "order.customer.birth_date")]
    birth_date: Passed<Option<Date>>,
    city: Option<&'a str>,
    product: Option<&'a str>,
    #[column(from = "product.active")]
    is_active: Passed<Option<bool>>,
    #[column(from = "product.description")]
    description: Passed<Option<String>>,
    /// Characters of the description.
    description_chars: Option<i32>,
    category: Option<&'a str>,
    parent_category: Option<&'a str>,
}

/// One row per city that something was sent to; the first line says where it is.
#[derive(StarRow)]
#[star(table = "dim_cities")]
struct DimCity<'a> {
    #[key]
    city: &'a str,
    country: &'a str,
}

#[dabi_sdk::transform]
fn star(item: Item) -> (FLine, Option<DimCity>) {
    let product = item.product.as_ref();
    let category = product.and_then(|product| product.category.as_ref());
    let description = product.and_then(|product| product.description);
    let address = item.order.address;
    let line = FLine {
        order_id: passed(),
        line_no: passed(),
        product_id: passed(),
        qty: item.qty,
        customer_id: passed(),
        status: passed(),
        placed_at: passed(),
        date_key: item.order.placed_at.date().key(),
        customer: item.order.customer.full_name,
        tier: passed(),
        birth_date: passed(),
        city: address.as_ref().map(|address| address.city),
        product: product.map(|product| product.name),
        is_active: passed(),
        description: passed(),
        description_chars: description.and_then(|text| text.chars().count().try_into().ok()),
        category: category.map(|category| category.name),
        parent_category: category.and_then(|category| Some(category.parent.as_ref()?.name)),
    };
    (line, address.map(|Address { city, country }| DimCity { city, country }))
}
