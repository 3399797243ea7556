//! Change events of a made-up table `shop.order_items`, as a decoder would give
//! them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field};
use dabi_core::change::testing::{Event, change_batch};
use dabi_core::change::{ChangeBatch, Op, Wire, row_field};
use dabi_core::debezium::Decoded;
use dabi_core::position::{Offset, Span};
use dabi_core::table::SourceTable;

pub(crate) const TOPIC: &str = "cdc.shop.order_items";

pub(crate) fn table() -> SourceTable {
    SourceTable::new("shop", "order_items")
}

/// `len` events of `partition` from offset `from` on.
pub(crate) fn batch(partition: i32, from: i64, len: i64) -> ChangeBatch {
    build(partition, from, len, DataType::Int32, |event| event)
}

/// As [`batch`], but from after `qty` became a bigint.
pub(crate) fn altered_batch(partition: i32, from: i64, len: i64) -> ChangeBatch {
    build(partition, from, len, DataType::Int64, |event| event)
}

/// As [`batch`], each event's Kafka timestamp being what `kafka_ts_ms` says.
pub(crate) fn batch_at(
    partition: i32,
    from: i64,
    len: i64,
    kafka_ts_ms: impl Fn(i64) -> Option<i64>,
) -> ChangeBatch {
    build(partition, from, len, DataType::Int32, |event| Event {
        kafka_ts_ms: kafka_ts_ms(event.offset),
        ..event
    })
}

fn build(partition: i32, from: i64, len: i64, qty: DataType, change: impl Fn(Event) -> Event) -> ChangeBatch {
    let offsets = || from..from + len;
    let id = |offset: i64| offset * 16 + i64::from(partition);
    // values without a pattern that an encoding could find (splitmix64)
    let spread = |offset: i64| {
        let mut x = id(offset).cast_unsigned().wrapping_add(0x9E37_79B9_7F4A_7C15);
        x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((x ^ (x >> 31)) >> 1).cast_signed()
    };
    let ops = [Op::Create, Op::Update, Op::Create, Op::Read, Op::Update, Op::Delete];
    let op = |offset: i64| ops[usize::try_from(offset % 6).expect("offsets are not negative")];
    let events: Vec<Event> = offsets().map(|offset| change(Event::new(op(offset), offset))).collect();
    let statuses = ["new", "paid", "packed", "shipped", "returned"];
    let status = |o: i64| statuses[usize::try_from(spread(o) % 5).expect("not negative")];
    let qty_values: ArrayRef = match qty {
        DataType::Int32 => {
            Arc::new(offsets().map(|o| i32::try_from(spread(o) % 9).ok()).collect::<Int32Array>())
        }
        _ => Arc::new(offsets().map(|o| Some(spread(o) % 9)).collect::<Int64Array>()),
    };
    let typed =
        |name: &str, data_type, connect: Option<&str>| row_field(name, data_type, Wire::Typed, connect);
    let timestamp = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
    let columns: Vec<(Field, ArrayRef)> = vec![
        (
            typed("id", DataType::Int64, None),
            Arc::new(offsets().map(|o| Some(id(o))).collect::<Int64Array>()),
        ),
        (
            typed("order_id", DataType::Int64, None),
            Arc::new(offsets().map(|o| Some(id(o) / 3)).collect::<Int64Array>()),
        ),
        (
            typed("product_id", DataType::Int32, None),
            Arc::new(offsets().map(|o| i32::try_from(spread(o) % 50_000).ok()).collect::<Int32Array>()),
        ),
        (typed("qty", qty, None), qty_values),
        (
            typed("price", DataType::Decimal128(12, 2), Some("org.apache.kafka.connect.data.Decimal")),
            Arc::new(
                offsets()
                    .map(|o| Some(i128::from(spread(o) % 100_000)))
                    .collect::<Decimal128Array>()
                    .with_precision_and_scale(12, 2)
                    .expect("12 digits, 2 after the point"),
            ),
        ),
        (
            typed("discount", DataType::Float64, None),
            Arc::new(
                offsets()
                    .map(|o| (o % 3 == 0).then_some(0.05 * (spread(o) % 7) as f64))
                    .collect::<Float64Array>(),
            ),
        ),
        (
            typed("gift", DataType::Boolean, None),
            Arc::new(offsets().map(|o| Some(spread(o) % 10 == 0)).collect::<BooleanArray>()),
        ),
        (
            typed("status", DataType::Utf8, Some("io.debezium.data.Enum")),
            Arc::new(offsets().map(|o| Some(status(o))).collect::<StringArray>()),
        ),
        (
            typed("sku", DataType::Utf8, None),
            Arc::new(
                offsets().map(|o| Some(format!("SKU-{:08}", spread(o) % 50_000))).collect::<StringArray>(),
            ),
        ),
        (
            typed("note", DataType::Utf8, None),
            Arc::new(
                offsets()
                    .map(|o| (o % 4 == 0).then(|| format!("note {} of {}", spread(o), o)))
                    .collect::<StringArray>(),
            ),
        ),
        (
            typed("created_at", timestamp.clone(), Some("io.debezium.time.MicroTimestamp")),
            Arc::new(
                offsets()
                    .map(|o| Some(1_735_689_600_000_000 + o * 977))
                    .collect::<TimestampMicrosecondArray>(),
            ),
        ),
        (
            typed("updated_at", timestamp, Some("io.debezium.time.MicroTimestamp")),
            Arc::new(
                offsets()
                    .map(|o| Some(1_735_689_700_000_000 + o * 1013))
                    .collect::<TimestampMicrosecondArray>(),
            ),
        ),
    ];
    change_batch(&table(), &["id"], columns, (TOPIC, partition), &events)
}

/// What a decoder gives for `batches`: no other records, no holes.
pub(crate) fn decoded(batches: Vec<ChangeBatch>) -> Decoded {
    let mut spans: BTreeMap<i32, Span> = BTreeMap::new();
    let mut records = 0;
    for batch in &batches {
        records += batch.num_rows() as u64;
        let span = batch.span();
        let whole = spans.entry(batch.partition()).or_insert(span);
        whole.from = whole.from.min(span.from);
        whole.to = whole.to.max(span.to);
    }
    Decoded {
        topic: TOPIC.into(),
        spans,
        records,
        batches,
        skipped: BTreeMap::new(),
        dead_letters: Vec::new(),
    }
}

/// What a decoder gives for records of which none is a change event.
pub(crate) fn without_rows(
    partition: i32,
    span: (i64, i64),
    skipped: &[(dabi_core::debezium::Skip, u64)],
) -> Decoded {
    let skipped: BTreeMap<_, _> = skipped.iter().copied().collect();
    Decoded {
        topic: TOPIC.into(),
        spans: BTreeMap::from([(partition, Span::new(Offset(span.0), Offset(span.1)))]),
        records: skipped.values().sum(),
        batches: Vec::new(),
        skipped,
        dead_letters: Vec::new(),
    }
}
