//! Every type that PostgreSQL sends: a proof that nothing is bent on the way.
//!
//! What is read as what, and why:
//! - Dates and timestamps of the years 1 to 9999 and beyond, BC, and infinities
//!   do not fit ClickHouse's date types (1900 to 2299): they are read as dates
//!   and times, and kept as ISO 8601 text.
//! - `numeric` without precision is text: it may have 131,072 digits.
//! - `interval` arrives as microseconds in which a month is 30.4375 days, and
//!   saturates at the limits of 64 bits: it is kept as that number.
//! - A NaN in a `numeric` column arrives as null.
//! - Rows with timestamps beyond the year 294247 ("far future") cannot be read:
//!   64 bits of microseconds do not reach so far. They become dead letters.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "shop.type_zoo_full")]
struct Animal<'a> {
    c_date: Option<Date>,
    #[column(unit = "ms")]
    c_ts0: Option<Timestamp>,
    #[column(unit = "ms")]
    c_ts3: Option<Timestamp>,
    c_ts6: Option<Timestamp>,
    c_timestamptz: Option<TimestampTz>,
    // Through the module rather than passed on, so that each form crosses it.
    c_smallint: Option<i16>,
    c_int: Option<i32>,
    c_bigint: Option<i64>,
    #[column(decimal = "base64")]
    c_num_10_2: Option<Decimal<10, 2>>,
    #[column(decimal = "base64")]
    c_num_38_0: Option<Decimal<38, 0>>,
    c_real: Option<f32>,
    c_double: Option<f64>,
    c_bool: Option<bool>,
    c_text: Option<&'a str>,
    c_bytea: Option<&'a [u8]>,
    c_uuid: Option<Uuid>,
    c_json: Option<Json<&'a str>>,
    c_int_arr: Option<Vec<Option<i32>>>,
    c_text_arr: Option<Vec<Option<&'a str>>>,
    #[column(decimal = "base64")]
    c_num_arr: Option<Vec<Option<Decimal<10, 2>>>>,
}

/// One row per row of the zoo.
#[derive(StarRow, Debug, PartialEq)]
#[star(table = "zoo")]
struct Zoo<'a> {
    #[key]
    id: Passed<i32>,
    label: Passed<String>,
    c_smallint: Option<i16>,
    c_int: Option<i32>,
    c_bigint: Option<i64>,
    c_num_10_2: Option<Decimal<10, 2>>,
    c_num_38_0: Option<Decimal<38, 0>>,
    c_num: Passed<Option<String>>,
    #[column(decimal = "base64")]
    c_money: Passed<Option<Decimal<19, 2>>>,
    c_real: Option<f32>,
    c_double: Option<f64>,
    c_bool: Option<bool>,
    c_char: Passed<Option<String>>,
    c_varchar: Passed<Option<String>>,
    c_text: Option<&'a str>,
    c_bytea: Option<&'a [u8]>,
    /// ISO 8601
    c_date: Option<String>,
    /// microseconds since midnight
    c_time: Passed<Option<Time>>,
    /// microseconds since midnight
    #[column(unit = "ms")]
    c_time0: Passed<Option<Time>>,
    /// ISO 8601, moved to UTC by the connector
    c_timetz: Passed<Option<String>>,
    /// ISO 8601
    c_ts0: Option<String>,
    /// ISO 8601
    c_ts3: Option<String>,
    /// ISO 8601
    c_ts6: Option<String>,
    /// ISO 8601
    c_timestamptz: Option<String>,
    /// microseconds, a month counting 30.4375 days
    c_interval: Passed<Option<i64>>,
    c_uuid: Option<Uuid>,
    c_json: Option<Json<&'a str>>,
    c_jsonb: Passed<Option<Json>>,
    /// an object of texts and nulls
    c_hstore: Passed<Option<Json>>,
    #[column(low_cardinality)]
    c_enum: Passed<Option<String>>,
    c_int_arr: Option<Vec<Option<i32>>>,
    c_text_arr: Option<Vec<Option<&'a str>>>,
    c_num_arr: Option<Vec<Option<Decimal<10, 2>>>>,
    c_inet: Passed<Option<String>>,
    c_cidr: Passed<Option<String>>,
    c_macaddr: Passed<Option<String>>,
    c_macaddr8: Passed<Option<String>>,
    c_bit1: Passed<Option<bool>>,
    /// the bits as a little-endian number
    #[column(bytes = "base64")]
    c_bit5: Passed<Option<Vec<u8>>>,
    /// the bits as a little-endian number
    #[column(bytes = "base64")]
    c_varbit: Passed<Option<Vec<u8>>>,
    c_tsrange: Passed<Option<String>>,
    c_int4range: Passed<Option<String>>,
    /// an object with x, y and the well-known binary form
    c_point: Passed<Option<Json>>,
    c_xml: Passed<Option<String>>,
    c_ltree: Passed<Option<String>>,
    c_citext: Passed<Option<String>>,
    c_big_text: Passed<Option<String>>,
    c_def: Passed<String>,
    #[column(decimal = "base64")]
    c_num_def: Passed<Option<Decimal<6, 3>>>,
    c_ts_def: Passed<Option<TimestampTz>>,
}

#[dabi_sdk::transform]
fn type_zoo_full(animal: Animal) -> Zoo {
    Zoo {
        id: passed(),
        label: passed(),
        c_smallint: animal.c_smallint,
        c_int: animal.c_int,
        c_bigint: animal.c_bigint,
        c_num_10_2: animal.c_num_10_2,
        c_num_38_0: animal.c_num_38_0,
        c_num: passed(),
        c_money: passed(),
        c_real: animal.c_real,
        c_double: animal.c_double,
        c_bool: animal.c_bool,
        c_char: passed(),
        c_varchar: passed(),
        c_text: animal.c_text,
        c_bytea: animal.c_bytea,
        c_date: text(animal.c_date),
        c_time: passed(),
        c_time0: passed(),
        c_timetz: passed(),
        c_ts0: text(animal.c_ts0),
        c_ts3: text(animal.c_ts3),
        c_ts6: text(animal.c_ts6),
        c_timestamptz: text(animal.c_timestamptz),
        c_interval: passed(),
        c_uuid: animal.c_uuid,
        c_json: animal.c_json,
        c_jsonb: passed(),
        c_hstore: passed(),
        c_enum: passed(),
        c_int_arr: animal.c_int_arr,
        c_text_arr: animal.c_text_arr,
        c_num_arr: animal.c_num_arr,
        c_inet: passed(),
        c_cidr: passed(),
        c_macaddr: passed(),
        c_macaddr8: passed(),
        c_bit1: passed(),
        c_bit5: passed(),
        c_varbit: passed(),
        c_tsrange: passed(),
        c_int4range: passed(),
        c_point: passed(),
        c_xml: passed(),
        c_ltree: passed(),
        c_citext: passed(),
        c_big_text: passed(),
        c_def: passed(),
        c_num_def: passed(),
        c_ts_def: passed(),
    }
}

fn text(value: Option<impl ToString>) -> Option<String> {
    value.map(|value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_clickhouse_has_no_date_for_is_text() {
        assert_eq!(text(Some(Date::INFINITY)).as_deref(), Some("infinity"));
        assert_eq!(text(Date::from_ymd(-43, 3, 15)).as_deref(), Some("-0043-03-15"));
        assert_eq!(text(None::<Timestamp>), None);
    }
}
