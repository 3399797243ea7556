use dabi_sdk::prelude::*;

#[derive(StarRow)]
#[star(table = "f_orders")]
struct WithoutTime {
    #[key]
    order_id: Passed<i64>,
    #[as_of(dimension = "dim_users", key = "user_id")]
    user_key: Passed<VersionKey>,
}

#[derive(StarRow)]
#[star(table = "f_orders")]
struct WithoutColumn {
    #[key]
    order_id: Passed<i64>,
    user_id: Passed<i64>,
    #[as_of(dimension = "dim_users", key = "user_id", at = "order_date")]
    user_key: Passed<VersionKey>,
}

#[derive(StarRow)]
#[star(table = "f_orders")]
struct Computed {
    #[key]
    order_id: Passed<i64>,
    user_id: Passed<i64>,
    order_date: Passed<TimestampTz>,
    #[as_of(dimension = "dim_users", key = "user_id", at = "order_date")]
    user_key: VersionKey,
    #[as_of(dimension = "dim_users", key = "user_id", at = "order_date", missing = "hold")]
    other_key: Passed<Option<VersionKey>>,
}

#[derive(StarRow)]
#[star(table = "dim_users", kind = "scd2")]
struct Dimension {
    #[key]
    user_id: Passed<i64>,
    since: Passed<TimestampTz>,
    #[as_of(dimension = "dim_users", key = "user_id", at = "since")]
    user_key: Passed<VersionKey>,
}

fn main() {}
