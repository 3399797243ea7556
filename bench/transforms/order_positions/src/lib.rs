//! One row per order line, with the name of its place in the order: every order
//! has a first line, so that one row of the dimension has a million dependents.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.positions")]
struct Position<'a> {
    name: &'a str,
}

#[derive(SourceRow)]
#[source(table = "shop.order_items")]
struct OrderItem<'a> {
    #[lookup(on = "line_no")]
    position: Option<Position<'a>>,
}

/// One row per order line.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "f_order_positions")]
struct FOrderPosition<'a> {
    #[key]
    order_id: Passed<i64>,
    #[key]
    line_no: Passed<i16>,
    /// Empty where there is no such position.
    #[column(low_cardinality)]
    position: &'a str,
}

#[dabi_sdk::transform]
fn order_positions(item: OrderItem) -> FOrderPosition {
    FOrderPosition {
        order_id: passed(),
        line_no: passed(),
        position: item.position.map_or("", |position| position.name),
    }
}
