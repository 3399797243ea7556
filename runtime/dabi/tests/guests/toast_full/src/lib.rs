//! The same values under `REPLICA IDENTITY FULL`, where all are sent: no row state
//! is needed. Each is passed on, and none enters the module.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.toast_full")]
struct Source {}

/// One row per row.
#[derive(StarRow)]
#[star(table = "f_toast_full")]
struct Star {
    #[key]
    id: Passed<i32>,
    n: Passed<i32>,
    c_text: Passed<Option<String>>,
    c_varchar: Passed<Option<String>>,
    c_char: Passed<Option<String>>,
    c_citext: Passed<Option<String>>,
    c_json: Passed<Option<Json>>,
    c_jsonb: Passed<Option<Json>>,
    c_xml: Passed<Option<String>>,
    c_ltree: Passed<Option<String>>,
    c_hstore: Passed<Option<Json>>,
    #[column(bytes = "base64")]
    c_bytea: Passed<Option<Vec<u8>>>,
    #[column(bytes = "base64")]
    c_varbit: Passed<Option<Vec<u8>>>,
    c_num: Passed<Option<String>>,
    c_smallint_arr: Passed<Option<Vec<Option<i16>>>>,
    c_int_arr: Passed<Option<Vec<Option<i32>>>>,
    c_bigint_arr: Passed<Option<Vec<Option<i64>>>>,
    c_real_arr: Passed<Option<Vec<Option<f32>>>>,
    c_double_arr: Passed<Option<Vec<Option<f64>>>>,
    c_bool_arr: Passed<Option<Vec<Option<bool>>>>,
    #[column(decimal = "base64")]
    c_num_arr: Passed<Option<Vec<Option<Decimal<10, 2>>>>>,
    c_text_arr: Passed<Option<Vec<Option<String>>>>,
    c_varchar_arr: Passed<Option<Vec<Option<String>>>>,
    c_uuid_arr: Passed<Option<Vec<Option<Uuid>>>>,
    c_date_arr: Passed<Option<Vec<Option<Date>>>>,
    c_ts_arr: Passed<Option<Vec<Option<Timestamp>>>>,
    c_tstz_arr: Passed<Option<Vec<Option<TimestampTz>>>>,
}

#[dabi_sdk::transform]
fn toast_full(_row: Source) -> Star {
    Star {
        id: passed(),
        n: passed(),
        c_text: passed(),
        c_varchar: passed(),
        c_char: passed(),
        c_citext: passed(),
        c_json: passed(),
        c_jsonb: passed(),
        c_xml: passed(),
        c_ltree: passed(),
        c_hstore: passed(),
        c_bytea: passed(),
        c_varbit: passed(),
        c_num: passed(),
        c_smallint_arr: passed(),
        c_int_arr: passed(),
        c_bigint_arr: passed(),
        c_real_arr: passed(),
        c_double_arr: passed(),
        c_bool_arr: passed(),
        c_num_arr: passed(),
        c_text_arr: passed(),
        c_varchar_arr: passed(),
        c_uuid_arr: passed(),
        c_date_arr: passed(),
        c_ts_arr: passed(),
        c_tstz_arr: passed(),
    }
}
