//! Gives back every type, as it came: once non-null, once nullable, borrowed
//! and owned. Rows can also ask for trouble by their `action`.

use dabi_sdk::prelude::*;

#[derive(SourceRow)]
#[source(table = "test.echo")]
struct Source<'a> {
    action: &'a str,
    boolean: bool,
    int16: i16,
    int32: i32,
    int64: i64,
    uint64: u64,
    float32: f32,
    float64: f64,
    decimal64: Decimal<18, 4>,
    decimal128: Decimal<38, 10>,
    text: &'a str,
    bytes: &'a [u8],
    json: Json<&'a str>,
    date: Date,
    time: Time,
    timestamp: Timestamp,
    timestamptz: TimestampTz,
    uuid: Uuid,
    interval: Interval,
    list: Vec<i64>,
    boolean_or_null: Option<bool>,
    int64_or_null: Option<i64>,
    decimal64_or_null: Option<Decimal<18, 4>>,
    decimal128_or_null: Option<Decimal<38, 10>>,
    text_or_null: Option<String>,
    bytes_or_null: Option<Vec<u8>>,
    json_or_null: Option<Json>,
    uuid_or_null: Option<Uuid>,
    texts: Option<Vec<Option<&'a str>>>,
    decimals: Option<Vec<Option<Decimal<38, 10>>>>,
    booleans: Option<Vec<Option<bool>>>,
}

#[derive(StarRow)]
#[star(table = "echo")]
struct Star<'a> {
    #[key]
    id: Passed<i64>,
    #[column(from = "text_or_null")]
    passed_text: Passed<Option<String>>,
    boolean: bool,
    int16: i16,
    int32: i32,
    int64: i64,
    uint64: u64,
    float32: f32,
    float64: f64,
    decimal64: Decimal<18, 4>,
    decimal128: Decimal<38, 10>,
    text: &'a str,
    bytes: &'a [u8],
    json: Json<&'a str>,
    date: Date,
    time: Time,
    timestamp: Timestamp,
    timestamptz: TimestampTz,
    uuid: Uuid,
    interval: Interval,
    list: Vec<i64>,
    boolean_or_null: Option<bool>,
    int64_or_null: Option<i64>,
    decimal64_or_null: Option<Decimal<18, 4>>,
    decimal128_or_null: Option<Decimal<38, 10>>,
    text_or_null: Option<String>,
    bytes_or_null: Option<Vec<u8>>,
    json_or_null: Option<Json>,
    uuid_or_null: Option<Uuid>,
    texts: Option<Vec<Option<&'a str>>>,
    decimals: Option<Vec<Option<Decimal<38, 10>>>>,
    booleans: Option<Vec<Option<bool>>>,
}

#[dabi_sdk::transform]
fn echo<'a>(row: Source<'a>) -> Result<Option<Star<'a>>, RowError> {
    match row.action {
        "" => {}
        "skip" => return Ok(None),
        "refuse" => return Err(RowError::new("refused", "the row asked for it")),
        "panic" => panic!("the row asked for it"),
        "loop" => loop {
            std::hint::black_box(());
        },
        "hoard" => {
            let mut hoard: Vec<Vec<u8>> = Vec::new();
            loop {
                hoard.push(vec![1; 1 << 20]);
                std::hint::black_box(&hoard);
            }
        }
        other => return Err(RowError::new("unknown-action", other)),
    }
    Ok(Some(Star {
        id: passed(),
        passed_text: passed(),
        boolean: row.boolean,
        int16: row.int16,
        int32: row.int32,
        int64: row.int64,
        uint64: row.uint64,
        float32: row.float32,
        float64: row.float64,
        decimal64: row.decimal64,
        decimal128: row.decimal128,
        text: row.text,
        bytes: row.bytes,
        json: row.json,
        date: row.date,
        time: row.time,
        timestamp: row.timestamp,
        timestamptz: row.timestamptz,
        uuid: row.uuid,
        interval: row.interval,
        list: row.list,
        boolean_or_null: row.boolean_or_null,
        int64_or_null: row.int64_or_null,
        decimal64_or_null: row.decimal64_or_null,
        decimal128_or_null: row.decimal128_or_null,
        text_or_null: row.text_or_null,
        bytes_or_null: row.bytes_or_null,
        json_or_null: row.json_or_null,
        uuid_or_null: row.uuid_or_null,
        texts: row.texts,
        decimals: row.decimals,
        booleans: row.booleans,
    }))
}
