use dabi_sdk::prelude::*;

#[derive(StarRow)]
#[star(table = "dim_users", kind = "scd3")]
struct Unknown {
    #[key]
    user_id: Passed<i64>,
}

#[derive(StarRow)]
#[star(table = "dim_users", kind = "scd2")]
struct Reserved {
    #[key]
    user_id: Passed<i64>,
    valid_from: TimestampTz,
}

#[derive(StarRow)]
#[star(table = "dim_users")]
struct Tracked {
    #[key]
    user_id: Passed<i64>,
    #[column(tracked)]
    name: Passed<String>,
}

#[derive(StarRow)]
#[star(table = "dim_users", kind = "scd2")]
struct TrackedKey {
    #[key]
    #[column(tracked)]
    user_id: Passed<i64>,
}

#[derive(StarRow)]
#[star(table = "dim_users", ops = "c")]
struct OpsOfLatest {
    #[key]
    user_id: Passed<i64>,
}

#[derive(StarRow)]
#[star(table = "dim_users", kind = "append", ops = "c, t")]
struct UnknownOp {
    #[key]
    user_id: Passed<i64>,
}

fn main() {}
