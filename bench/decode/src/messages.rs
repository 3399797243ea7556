//! Debezium messages of an order_items-like table of 12 columns.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Where the messages would come from.
pub(crate) const TOPIC: &str = "bench.shop.order_items";

/// With a Connect schema in front, or without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Schemaless,
    WithSchema,
    /// without a schema, the columns of each row in an order of its own: the
    /// worst case, where nothing can be guided
    Shuffled,
}

/// Key and value of a record.
pub(crate) struct Message {
    pub(crate) key: Vec<u8>,
    pub(crate) value: Vec<u8>,
}

/// Columns: name, Connect type, semantic name.
pub(crate) const COLUMNS: [(&str, &str, &str); 12] = [
    ("order_id", "int64", ""),
    ("line_no", "int16", ""),
    ("product_id", "int32", ""),
    ("qty", "int32", ""),
    ("unit_price", "bytes", "org.apache.kafka.connect.data.Decimal"),
    ("discount", "bytes", "org.apache.kafka.connect.data.Decimal"),
    ("currency", "string", ""),
    ("status", "string", "io.debezium.data.Enum"),
    ("gift", "boolean", ""),
    ("attrs", "string", "io.debezium.data.Json"),
    ("shipped_at", "string", "io.debezium.time.ZonedTimestamp"),
    ("updated_at", "int64", "io.debezium.time.MicroTimestamp"),
];

/// A linear congruential generator: the same messages in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.roll(of.len() as u64)).expect("below the length")]
    }
}

/// 60 % creates, 30 % updates, 8 % snapshot reads, 2 % deletes.
pub(crate) fn messages(shape: Shape, count: usize) -> Vec<Message> {
    let mut dice = Dice(42);
    (0..count).map(|index| message(shape, index, &mut dice)).collect()
}

fn message(shape: Shape, index: usize, dice: &mut Dice) -> Message {
    let order = 100_000 + index / 3;
    let line = index % 3 + 1;
    let row = row(shape, order, line, dice);
    let (op, snapshot) = match dice.roll(100) {
        0..60 => ("c", "false"),
        60..90 => ("u", "false"),
        90..98 => ("r", "true"),
        _ => ("d", "false"),
    };
    let (before, after) = if op == "d" { (row.as_str(), "null") } else { ("null", row.as_str()) };
    let ts_ns = 1_795_358_955_220_554_000 + index as u64 * 1_000_000 + dice.roll(1_000_000);
    let (ts_us, ts_ms) = (ts_ns / 1_000, ts_ns / 1_000_000);
    let lsn = 96_354_192 + index * 152;
    let payload = format!(
        r#"{{"before":{before},"after":{after},"source":{{"version":"3.6.3.Final","connector":"postgresql","name":"bench","ts_ms":{ts_ms},"snapshot":"{snapshot}","db":"shop","sequence":"[\"{}\",\"{lsn}\"]","ts_us":{ts_us},"ts_ns":{ts_ns},"schema":"shop","table":"order_items","txId":{},"lsn":{lsn},"xmin":null}},"transaction":null,"op":"{op}","ts_ms":{}}}"#,
        lsn - 288,
        9000 + index / 5,
        ts_ms + 40,
    );
    let key = format!(r#"{{"order_id":{order},"line_no":{line}}}"#);
    match shape {
        Shape::Schemaless | Shape::Shuffled => Message { key: key.into_bytes(), value: payload.into_bytes() },
        Shape::WithSchema => Message {
            key: format!(r#"{{"schema":{},"payload":{key}}}"#, key_schema()).into_bytes(),
            value: format!(r#"{{"schema":{},"payload":{payload}}}"#, value_schema()).into_bytes(),
        },
    }
}

fn row(shape: Shape, order: usize, line: usize, dice: &mut Dice) -> String {
    let mut decimal = |digits: u64| {
        let bytes = i32::try_from(dice.roll(digits)).expect("below i32::MAX").to_be_bytes();
        format!("\"{}\"", STANDARD.encode(&bytes[1..]))
    };
    let (price, discount) = (decimal(6_000_000), decimal(9_000));
    let attrs = match dice.roll(10) {
        0..7 => {
            let color = dice.pick(&["red", "grün", "blue"]);
            format!(r#""{{\"color\": \"{color}\", \"w\": {}}}""#, dice.roll(90))
        }
        7..9 => "\"plain note\"".to_owned(),
        _ => "null".to_owned(),
    };
    let shipped_at = format!(
        "\"2025-0{}-1{}T1{}:2{}:33.{:06}Z\"",
        dice.roll(9) + 1,
        dice.roll(10),
        dice.roll(10),
        dice.roll(10),
        dice.roll(1_000_000)
    );
    let values = [
        order.to_string(),
        line.to_string(),
        dice.roll(5_000).to_string(),
        (dice.roll(9) + 1).to_string(),
        price,
        discount,
        "\"EUR\"".to_owned(),
        format!("\"{}\"", dice.pick(&["new", "paid", "packed", "shipped", "delivered"])),
        (dice.roll(2) == 1).to_string(),
        attrs,
        shipped_at,
        (1_738_000_000_000_000 + dice.roll(1_000_000_000_000)).to_string(),
    ];
    let mut fields: Vec<String> =
        COLUMNS.iter().zip(values).map(|((name, ..), value)| format!("\"{name}\":{value}")).collect();
    if shape == Shape::Shuffled {
        for at in (1..fields.len()).rev() {
            fields.swap(at, usize::try_from(dice.roll(at as u64 + 1)).expect("below the length"));
        }
    }
    format!("{{{}}}", fields.join(","))
}

fn field((name, kind, semantic): (&str, &str, &str)) -> String {
    let mut text = format!(r#"{{"type":"{kind}","optional":true"#);
    if !semantic.is_empty() {
        write!(text, r#","name":"{semantic}","version":1"#).expect("a string takes any text");
    }
    if semantic.ends_with("Decimal") {
        text += r#","parameters":{"scale":"2","connect.decimal.precision":"10"}"#;
    }
    text + &format!(r#","field":"{name}"}}"#)
}

fn fields(columns: impl IntoIterator<Item = (&'static str, &'static str, &'static str)>) -> String {
    columns.into_iter().map(field).collect::<Vec<_>>().join(",")
}

fn key_schema() -> String {
    let fields = fields(COLUMNS.into_iter().take(2));
    format!(r#"{{"type":"struct","fields":[{fields}],"optional":false,"name":"bench.shop.order_items.Key"}}"#)
}

fn value_schema() -> String {
    let image = |name: &str| {
        let fields = fields(COLUMNS);
        format!(
            r#"{{"type":"struct","fields":[{fields}],"optional":true,"name":"bench.shop.order_items.Value","field":"{name}"}}"#
        )
    };
    let source = fields([
        ("version", "string", ""),
        ("connector", "string", ""),
        ("name", "string", ""),
        ("ts_ms", "int64", ""),
        ("snapshot", "string", "io.debezium.data.Enum"),
        ("db", "string", ""),
        ("sequence", "string", ""),
        ("ts_us", "int64", ""),
        ("ts_ns", "int64", ""),
        ("schema", "string", ""),
        ("table", "string", ""),
        ("txId", "int64", ""),
        ("lsn", "int64", ""),
        ("xmin", "int64", ""),
    ]);
    let transaction =
        fields([("id", "string", ""), ("total_order", "int64", ""), ("data_collection_order", "int64", "")]);
    format!(
        r#"{{"type":"struct","fields":[{},{},{{"type":"struct","fields":[{source}],"optional":false,"name":"io.debezium.connector.postgresql.Source","version":1,"field":"source"}},{{"type":"struct","fields":[{transaction}],"optional":true,"name":"event.block","version":1,"field":"transaction"}},{},{}],"optional":false,"name":"bench.shop.order_items.Envelope","version":2}}"#,
        image("before"),
        image("after"),
        field(("op", "string", "")),
        field(("ts_ms", "int64", "")),
    )
}
