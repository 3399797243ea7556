//! Values of every type that PostgreSQL stores apart when they are big, under the
//! default replica identity: an update that leaves one alone does not send it. Each
//! goes through the module.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.toast")]
struct Source<'a> {
    c_text: Option<&'a str>,
    c_varchar: Option<&'a str>,
    c_char: Option<&'a str>,
    c_citext: Option<&'a str>,
    c_json: Option<Json<&'a str>>,
    c_jsonb: Option<Json<&'a str>>,
    c_xml: Option<&'a str>,
    c_ltree: Option<&'a str>,
    c_hstore: Option<Json<&'a str>>,
    #[column(bytes = "base64")]
    c_bytea: Option<&'a [u8]>,
    #[column(bytes = "base64")]
    c_varbit: Option<&'a [u8]>,
    c_num: Option<&'a str>,
    c_smallint_arr: Option<Vec<Option<i16>>>,
    c_int_arr: Option<Vec<Option<i32>>>,
    c_bigint_arr: Option<Vec<Option<i64>>>,
    c_real_arr: Option<Vec<Option<f32>>>,
    c_double_arr: Option<Vec<Option<f64>>>,
    c_bool_arr: Option<Vec<Option<bool>>>,
    #[column(decimal = "base64")]
    c_num_arr: Option<Vec<Option<Decimal<10, 2>>>>,
    c_text_arr: Option<Vec<Option<&'a str>>>,
    c_varchar_arr: Option<Vec<Option<&'a str>>>,
    c_uuid_arr: Option<Vec<Option<Uuid>>>,
    c_date_arr: Option<Vec<Option<Date>>>,
    c_ts_arr: Option<Vec<Option<Timestamp>>>,
    c_tstz_arr: Option<Vec<Option<TimestampTz>>>,
    // Whoever looks rows up keeps its own, and so has what was not sent.
    #[lookup(on = "id")]
    full: Option<Full<'a>>,
}

#[derive(SourceRow)]
#[source(table = "shop.toast_full", key = "id")]
struct Full<'a> {
    n: i32,
    c_text: Option<&'a str>,
}

/// One row per row.
#[derive(StarRow)]
#[star(table = "f_toast")]
struct Star<'a> {
    #[key]
    id: Passed<i32>,
    n: Passed<i32>,
    c_text: Option<&'a str>,
    c_varchar: Option<&'a str>,
    c_char: Option<&'a str>,
    c_citext: Option<&'a str>,
    c_json: Option<Json<&'a str>>,
    c_jsonb: Option<Json<&'a str>>,
    c_xml: Option<&'a str>,
    c_ltree: Option<&'a str>,
    c_hstore: Option<Json<&'a str>>,
    c_bytea: Option<&'a [u8]>,
    c_varbit: Option<&'a [u8]>,
    c_num: Option<&'a str>,
    c_smallint_arr: Option<Vec<Option<i16>>>,
    c_int_arr: Option<Vec<Option<i32>>>,
    c_bigint_arr: Option<Vec<Option<i64>>>,
    c_real_arr: Option<Vec<Option<f32>>>,
    c_double_arr: Option<Vec<Option<f64>>>,
    c_bool_arr: Option<Vec<Option<bool>>>,
    c_num_arr: Option<Vec<Option<Decimal<10, 2>>>>,
    c_text_arr: Option<Vec<Option<&'a str>>>,
    c_varchar_arr: Option<Vec<Option<&'a str>>>,
    c_uuid_arr: Option<Vec<Option<Uuid>>>,
    c_date_arr: Option<Vec<Option<Date>>>,
    c_ts_arr: Option<Vec<Option<Timestamp>>>,
    c_tstz_arr: Option<Vec<Option<TimestampTz>>>,
    full_n: Option<i32>,
    full_text: Option<&'a str>,
}

#[dabi_sdk::transform]
fn toast<'a>(row: Source<'a>) -> Star<'a> {
    Star {
        id: passed(),
        n: passed(),
        c_text: row.c_text,
        c_varchar: row.c_varchar,
        c_char: row.c_char,
        c_citext: row.c_citext,
        c_json: row.c_json,
        c_jsonb: row.c_jsonb,
        c_xml: row.c_xml,
        c_ltree: row.c_ltree,
        c_hstore: row.c_hstore,
        c_bytea: row.c_bytea,
        c_varbit: row.c_varbit,
        c_num: row.c_num,
        c_smallint_arr: row.c_smallint_arr,
        c_int_arr: row.c_int_arr,
        c_bigint_arr: row.c_bigint_arr,
        c_real_arr: row.c_real_arr,
        c_double_arr: row.c_double_arr,
        c_bool_arr: row.c_bool_arr,
        c_num_arr: row.c_num_arr,
        c_text_arr: row.c_text_arr,
        c_varchar_arr: row.c_varchar_arr,
        c_uuid_arr: row.c_uuid_arr,
        c_date_arr: row.c_date_arr,
        c_ts_arr: row.c_ts_arr,
        c_tstz_arr: row.c_tstz_arr,
        full_n: row.full.as_ref().map(|full| full.n),
        full_text: row.full.and_then(|full| full.c_text),
    }
}
