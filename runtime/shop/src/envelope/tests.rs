//! Against captures of a real connector.

use dabi_fixtures::records;
use serde_json::Value;

use super::*;
use crate::row::{AisleId, DepartmentId, Order, OrderId, Product, ProductId, UserId};
use crate::transaction::TransactionId;

const COMMITTED: Micros = Micros(1_795_358_948_552_072);

fn envelopes(schemas: bool) -> Envelopes {
    Envelopes::new("cdc", Wire { schemas, ..Wire::default() })
}

fn transaction(changes: Vec<Change>) -> Transaction {
    let changes = (0..).zip(changes).map(|(n, change)| (Lsn(1_000 + n), change)).collect();
    let id = TransactionId(8_736);
    Transaction { id, committed: COMMITTED, begins: Lsn(1_000), ends: Lsn(2_000), snapshot: false, changes }
}

fn order(order_id: i64) -> Order {
    let order_date = Micros(1_738_459_009_381_900);
    Order { order_id: OrderId(order_id), user_id: UserId(3), order_date, tip_given: None }
}

fn product(description: &str) -> Product {
    Product {
        product_id: ProductId(5),
        product_name: "Jalapeño \"Dips\"".into(),
        aisle_id: AisleId(1),
        department_id: DepartmentId(2),
        description: Some(description.into()),
    }
}

/// The records of the tables, those of the transaction's topic left out.
fn events(changes: Vec<Change>) -> Vec<Record> {
    let records = envelopes(false).records(&transaction(changes));
    records.into_iter().filter(|record| *record.topic != *"cdc.transaction").collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The names of all objects in order, and the kinds of what is no row's value.
fn shape(value: &Value, at: &str) -> Value {
    match value {
        Value::Object(fields) if at == "before" || at == "after" => Value::from(!fields.is_empty()),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), shape(value, name))).collect::<Value>()
        }
        Value::Null => Value::Null,
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        other => other.clone(),
    }
}

/// The first record of a captured topic that has such an op and such headers.
fn captured(variant: &str, topic: &str, op: &str, headers: &[&str]) -> Value {
    let found = records(variant, topic).into_iter().find_map(|record| {
        let value = json(std::str::from_utf8(record.value.as_deref()?).unwrap());
        let event = value.get("payload").unwrap_or(&value);
        let has = |name: &&str| record.record().headers.last(name).is_some();
        (event["op"] == op && headers.iter().all(has)).then_some(value)
    });
    found.unwrap_or_else(|| panic!("no {op} in {topic}"))
}

fn check_shape(record: &Record, topic: &str, op: &str, headers: &[&str]) {
    let ours = json(record.value.as_deref().unwrap());
    assert_eq!(shape(&ours, ""), shape(&captured("plain", topic, op, headers), ""));
    for name in headers {
        assert!(record.headers.iter().any(|(have, _)| have == name), "{:?}", record.headers);
    }
}

#[test]
fn each_operation_looks_as_a_real_one() {
    let tipped = Order { tip_given: Some(true), ..order(1) };
    let update = |before: Order, after: Order| Change::Update { before: before.into(), after: after.into() };
    let records = events(vec![
        Change::Insert(order(1).into()),
        update(order(1), tipped.clone()),
        update(tipped.clone(), Order { order_id: OrderId(2), ..tipped.clone() }),
        Change::Delete(Order { order_id: OrderId(2), ..tipped }.into()),
        Change::Truncate(Table::Orders),
    ]);
    let context = ["__debezium.context.connectorLogicalName", "__debezium.context.runId"];
    let topic = "cdc_plain.shop.orders";
    check_shape(&records[0], topic, "c", &context);
    check_shape(&records[1], topic, "u", &context);
    check_shape(&records[2], topic, "d", &["__debezium.newkey"]);
    assert_eq!((&records[3].key, &records[3].value), (&records[2].key, &None));
    assert_eq!(records[3].headers, records[2].headers);
    check_shape(&records[4], topic, "c", &["__debezium.oldkey"]);
    check_shape(&records[5], topic, "d", &context);
    assert_eq!((&records[6].key, &records[6].value), (&records[5].key, &None));
    check_shape(&records[7], "cdc_plain.shop.carts", "t", &context);
    assert_eq!(records[7].key, None);
    assert_eq!(records[2].headers[0], ("__debezium.newkey", r#"{"order_id":2}"#.into()));
    assert_eq!(records[4].headers[0], ("__debezium.oldkey", r#"{"order_id":1}"#.into()));
    assert_eq!(records.len(), 8);
}

#[test]
fn a_snapshot_looks_as_a_real_one() {
    let changes = (1..=3).map(|id| Change::Insert(order(id).into()));
    let changes = changes.chain([Change::Insert(product("").into()), Change::Insert(product("").into())]);
    let snapshot = Transaction { snapshot: true, ..transaction(changes.collect()) };
    let records = envelopes(false).records(&snapshot);
    let marks: Vec<Value> = records
        .iter()
        .map(|record| json(record.value.as_deref().unwrap())["source"]["snapshot"].clone())
        .collect();
    assert_eq!(marks, ["first", "true", "last_in_data_collection", "first_in_data_collection", "last"]);
    check_shape(&records[1], "cdc_plain.shop.orders", "r", &[]);
}

#[test]
fn events_of_a_transaction_are_numbered_and_counted() {
    let moved = Order { order_id: OrderId(2), ..order(1) };
    let changes = vec![
        Change::Insert(order(1).into()),
        Change::Insert(product("").into()),
        Change::Update { before: order(1).into(), after: moved.into() },
    ];
    let records = envelopes(false).records(&transaction(changes));
    let numbers: Vec<Value> = records
        .iter()
        .filter(|record| *record.topic != *"cdc.transaction")
        .filter_map(|record| Some(json(record.value.as_deref()?)["transaction"].clone()))
        .map(|block| serde_json::json!([block["id"], block["total_order"], block["data_collection_order"]]))
        .collect();
    let expected = serde_json::json!([
        ["8736:1000", 1, 1],
        ["8736:1001", 2, 1],
        ["8736:1002", 3, 2],
        ["8736:1002", 4, 3]
    ]);
    assert_eq!(Value::from(numbers), expected);
    let (begin, end) = (records.first().unwrap(), records.last().unwrap());
    assert_eq!(json(begin.value.as_deref().unwrap())["status"], "BEGIN");
    assert_eq!(
        json(end.value.as_deref().unwrap()),
        json(
            r#"{"status":"END","id":"8736:2000","event_count":4,"data_collections":[
                {"data_collection":"public.products","event_count":1},
                {"data_collection":"public.orders","event_count":3}],"ts_ms":1795358948552}"#
        )
    );
}

#[test]
fn what_the_database_does_not_log_is_not_sent() {
    let long = "long ".repeat(500);
    let renamed = Product { product_name: "Dips".into(), ..product(&long) };
    let moved = Product { product_id: ProductId(6), ..product(&long) };
    let update =
        |before: Product, after: Product| Change::Update { before: before.into(), after: after.into() };
    let changes = vec![
        update(product(&long), renamed),
        update(product(&long), moved),
        update(product(&long), product(&"other".repeat(500))),
        update(product("short"), Product { product_name: "Dips".into(), ..product("short") }),
    ];
    let sent = |identity| -> Vec<Value> {
        let envelopes = Envelopes::new("cdc", Wire { identity, transactions: false, ..Wire::default() });
        let records = envelopes.records(&transaction(changes.clone()));
        records.iter().filter_map(|record| Some(json(record.value.as_deref()?))).collect()
    };
    let default = sent(Identity::Default);
    assert_eq!(default[0]["after"]["description"], UNAVAILABLE);
    assert_eq!(default[0]["before"], Value::Null);
    assert_eq!(
        default[1]["before"],
        json(r#"{"product_id":5,"product_name":"","aisle_id":0,"department_id":0,"description":null}"#)
    );
    assert_eq!(default[2]["after"]["description"], UNAVAILABLE);
    assert_eq!(default[3]["after"]["description"], "other".repeat(500));
    assert_eq!(default[4]["after"]["description"], "short");
    let full = sent(Identity::Full);
    for event in &full[..3] {
        let image = if event["after"].is_null() { &event["before"] } else { &event["after"] };
        assert_eq!(image["description"], long);
    }
    assert_eq!(full[3]["before"]["description"], long);
}

#[test]
fn schemas_are_those_of_a_real_connector() {
    let real = captured("schema", "cdc_schema.shop.orders", "c", &[]);
    let records = envelopes(true).records(&transaction(vec![Change::Insert(order(1).into())]));
    let ours = json(records[1].value.as_deref().unwrap());
    // The blocks behind the row's images, which are of other tables.
    let behind = |schema: &Value| schema["fields"].as_array().unwrap()[2..].to_vec();
    assert_eq!(behind(&ours["schema"]), behind(&real["schema"]));
    assert_eq!(ours["schema"]["name"], "cdc.public.orders.Envelope");
    let time = |schema: &Value, column: &str| {
        let columns = schema["fields"][1]["fields"].as_array().unwrap();
        let found = columns.iter().find(|field| field["field"] == column).unwrap();
        serde_json::json!([found["type"], found["optional"], found["name"], found["version"]])
    };
    assert_eq!(time(&ours["schema"], "order_date"), time(&real["schema"], "placed_at"));
    assert_eq!(
        json(records[1].key.as_deref().unwrap()),
        json(
            r#"{"schema":{"type":"struct","fields":[{"type":"int64","optional":false,"field":"order_id"}],
                "optional":false,"name":"cdc.public.orders.Key"},"payload":{"order_id":1}}"#
        )
    );
}

#[test]
fn transactions_and_heartbeats_have_the_schemas_of_real_ones() {
    let first = |topic: &str| {
        let record = &records("schema", topic)[0];
        let text = |bytes: &Option<Vec<u8>>| json(std::str::from_utf8(bytes.as_deref().unwrap()).unwrap());
        (text(&record.key)["schema"].clone(), text(&record.value)["schema"].clone())
    };
    assert_eq!(schema::transaction(), first("cdc_schema.transaction"));
    assert_eq!(schema::heartbeat(), first("__debezium-heartbeat.cdc_schema"));
    let heartbeat = envelopes(false).heartbeat(COMMITTED);
    assert_eq!(heartbeat.key.as_deref(), Some(r#"{"serverName":"cdc"}"#));
    assert_eq!(heartbeat.value.as_deref(), Some(r#"{"ts_ms":1795358948552}"#));
}

#[test]
fn keys_go_where_a_real_connector_sent_them() {
    for topic in ["cdc_plain.shop.orders", "cdc_schema.shop.orders", "cdc_plain.shop.order_items"] {
        let variant = if topic.starts_with("cdc_plain") { "plain" } else { "schema" };
        let keyed =
            records(variant, topic).into_iter().filter_map(|record| Some((record.partition, record.key?)));
        let wrong = keyed
            .filter(|(sent_to, key)| partition(Some(std::str::from_utf8(key).unwrap()), 3) != *sent_to)
            .count();
        assert_eq!(wrong, 0, "{topic}");
    }
}

#[test]
fn texts_and_times_are_written_as_a_real_connector_does() {
    let changes = vec![Change::Insert(product("a\nb").into()), Change::Insert(order(1).into())];
    let records = events(changes);
    let after = |record: &Record| json(record.value.as_deref().unwrap())["after"].clone();
    assert_eq!(after(&records[0])["product_name"], "Jalapeño \"Dips\"");
    assert_eq!(after(&records[1])["order_date"], "2025-02-02T01:16:49.381900Z");
    assert_eq!(after(&records[1])["tip_given"], Value::Null);
    assert_eq!(records[0].timestamp_ms, 1_795_358_948_552);
}
