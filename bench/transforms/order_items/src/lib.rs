//! One row per order line: what the bench measures dabi with.
//!
//! Twelve columns, as a fact table has them: keys and most measures pass
//! through, three are computed.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.order_items")]
struct OrderItem<'a> {
    quantity: i32,
    #[column(decimal = "base64")]
    unit_price: Decimal<10, 2>,
    note: Option<&'a str>,
    placed_at: TimestampTz,
}

/// One row per order line.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "f_order_items")]
struct FOrderItem {
    #[key]
    order_id: Passed<i64>,
    #[key]
    line_no: Passed<i16>,
    product_id: Passed<i32>,
    warehouse_id: Passed<i32>,
    quantity: Passed<i32>,
    unit_price: Passed<Decimal<10, 2>>,
    gift: Passed<bool>,
    title: Passed<String>,
    #[column(unit = "us")]
    updated_at: Passed<Timestamp>,
    /// Quantity times unit price.
    line_total: Decimal<18, 2>,
    /// Did the customer write anything?
    has_note: bool,
    /// Day of the order, yyyymmdd.
    date_key: Option<i32>,
}

#[dabi_sdk::transform]
fn order_items(item: OrderItem) -> Result<FOrderItem, RowError> {
    let quantity = Decimal::<10, 0>::from_whole(item.quantity.into())?;
    Ok(FOrderItem {
        order_id: passed(),
        line_no: passed(),
        product_id: passed(),
        warehouse_id: passed(),
        quantity: passed(),
        unit_price: passed(),
        gift: passed(),
        title: passed(),
        updated_at: passed(),
        line_total: item.unit_price.checked_mul(quantity, Rounding::HalfUp)?,
        has_note: item.note.is_some_and(|note| !note.trim().is_empty()),
        date_key: item.placed_at.date().key(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_total_is_exact() {
        let item = OrderItem {
            quantity: 3,
            unit_price: "0.10".parse().unwrap(),
            note: Some(" "),
            placed_at: TimestampTz::from_micros(1_738_459_009_381_905),
        };
        let row = order_items(item).unwrap();
        assert_eq!(
            (row.line_total, row.has_note, row.date_key),
            ("0.30".parse().unwrap(), false, Some(20_250_202))
        );
    }
}
