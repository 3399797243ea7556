//! Rows that look others up, in a chain and perhaps in vain, and fill two
//! tables, one of them with several rows.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "test.users", key = "id")]
struct User<'a> {
    name: &'a str,
}

#[derive(SourceRow)]
#[source(table = "test.orders", key = "id")]
struct Order<'a> {
    placed_at: TimestampTz,
    #[lookup(on = "user_id")]
    user: User<'a>,
}

#[derive(SourceRow)]
#[source(table = "test.lines")]
struct Line<'a> {
    count: i32,
    #[lookup(on = "order_id")]
    order: Option<Order<'a>>,
}

/// One row per line.
#[derive(StarRow)]
#[star(table = "f_lines")]
struct FLine<'a> {
    #[key]
    id: Passed<i64>,
    user_id: i64,
    #[column(from = "order.placed_at")]
    placed_at: Passed<Option<TimestampTz>>,
    #[as_of(dimension = "dim_users", key = "user_id", at = "placed_at")]
    user_key: Passed<Option<VersionKey>>,
    #[column(from = "order.user.city")]
    city: Passed<Option<String>>,
    user_name: Option<&'a str>,
    date_key: Option<i32>,
}

/// One row per piece of a line.
#[derive(StarRow)]
#[star(table = "f_pieces")]
struct FPiece {
    #[key]
    id: Passed<i64>,
    #[key]
    piece: i32,
}

#[dabi_sdk::transform]
fn lines<'a>(line: Line<'a>) -> (FLine<'a>, Vec<FPiece>) {
    let row = FLine {
        id: passed(),
        user_id: 0,
        placed_at: passed(),
        user_key: passed(),
        city: passed(),
        user_name: line.order.as_ref().map(|order| order.user.name),
        date_key: line.order.and_then(|order| order.placed_at.date().key()),
    };
    (row, (0..line.count).map(|piece| FPiece { id: passed(), piece }).collect())
}
