//! One row per line of an order, with what the line refers to.
//!
//! dabi joins before the function is called, and calls it again for every line
//! whose order, product, aisle or department has changed.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "public.order_products")]
struct Line<'a> {
    // A line whose order has not arrived yet waits for it.
    #[lookup(on = "order_id")]
    order: Order,
    #[lookup(on = "product_id")]
    product: Option<Product<'a>>,
}

#[derive(SourceRow)]
#[source(table = "public.orders")]
struct Order {
    order_date: TimestampTz,
}

#[derive(SourceRow)]
#[source(table = "public.products")]
struct Product<'a> {
    product_name: &'a str,
    #[lookup(on = "aisle_id")]
    aisle: Option<Aisle<'a>>,
    #[lookup(on = "department_id")]
    department: Option<Department<'a>>,
}

#[derive(SourceRow)]
#[source(table = "public.aisles")]
struct Aisle<'a> {
    aisle: &'a str,
}

#[derive(SourceRow)]
#[source(table = "public.departments")]
struct Department<'a> {
    department: &'a str,
}

/// One row per line of an order.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "f_order_lines")]
struct FOrderLine<'a> {
    #[key]
    order_id: Passed<i64>,
    #[key]
    product_id: Passed<i32>,
    /// The place in the cart, from 1.
    add_to_cart_order: Passed<i32>,
    #[column(from = "order.user_id")]
    user_id: Passed<i64>,
    #[column(from = "order.order_date")]
    order_date: Passed<TimestampTz>,
    /// Day of the order in UTC, yyyymmdd.
    date_key: Option<i32>,
    #[column(low_cardinality)]
    product_name: Option<&'a str>,
    #[column(low_cardinality)]
    aisle: Option<&'a str>,
    #[column(low_cardinality)]
    department: Option<&'a str>,
}

#[dabi_sdk::transform]
fn f_order_lines(line: Line) -> FOrderLine {
    FOrderLine {
        order_id: passed(),
        product_id: passed(),
        add_to_cart_order: passed(),
        user_id: passed(),
        order_date: passed(),
        date_key: line.order.order_date.date().key(),
        product_name: line.product.as_ref().map(|product| product.product_name),
        aisle: line.product.as_ref().and_then(|product| Some(product.aisle.as_ref()?.aisle)),
        department: line.product.as_ref().and_then(|product| Some(product.department.as_ref()?.department)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_product_and_what_it_refers_to() {
        let order = Order { order_date: TimestampTz::from_micros(1_764_115_200_000_000) };
        let aisle = Some(Aisle { aisle: "tea" });
        let product = Some(Product { product_name: "Organic Tea", aisle, department: None });
        let row = f_order_lines(Line { order, product });
        assert_eq!(row.date_key, Some(20_251_126));
        assert_eq!((row.product_name, row.aisle, row.department), (Some("Organic Tea"), Some("tea"), None));
    }

    #[test]
    fn a_product_that_is_gone_leaves_the_line() {
        let order = Order { order_date: TimestampTz::from_micros(0) };
        let row = f_order_lines(Line { order, product: None });
        assert_eq!((row.product_name, row.aisle), (None, None));
    }
}
