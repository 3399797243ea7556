//! A table without a primary key: its changes can be kept, and whatever needs its
//! rows is refused with what to do.

use std::time::Duration;

use dabi_fixtures::records;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;

use super::LIMIT;
use crate::support::clickhouse::ClickHouse;
use crate::support::dabi::Dabi;
use crate::support::{free_port, guests, wait_until};

const TOPIC: &str = "cdc_plain.shop.orders";
/// Events of the capture; the mock cluster of a broker holds so many at once.
const EVENTS: usize = 2_000;

/// Sends the orders of the capture as they are sent of a table without a key.
fn send_keyless(brokers: &str) -> Vec<String> {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", brokers).create().unwrap();
    let mut ops = Vec::new();
    // A table without a key has no tombstones, and its rows all lie where they may.
    for value in records("plain", TOPIC).into_iter().filter_map(|record| record.value).take(EVENTS) {
        let event: serde_json::Value = serde_json::from_slice(&value).expect("a value is JSON");
        ops.push(event["op"].as_str().expect("an envelope has an op").to_owned());
        producer.send(BaseRecord::<(), _>::to(TOPIC).partition(0).payload(&value)).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(LIMIT).unwrap();
    ops
}

#[test]
fn changes_are_kept_and_rows_refused_with_the_remedy() {
    let clickhouse = ClickHouse::start();
    let brokers = format!("127.0.0.1:{}", free_port());
    let pipeline = |name: &str| {
        let dabi = Dabi::new(&format!(
            "pipeline = '{name}'\n[kafka]\nbrokers = '{brokers}'\ntopics = ['{TOPIC}']\n[lake]\nurl = 'lake'\n\
             [warehouse]\nurl = '{}'\npassword = '{}'\ndatabase = '{name}'\n[web]\nlisten = '127.0.0.1:0'\n",
            clickhouse.url(),
            ClickHouse::PASSWORD,
        ));
        std::fs::create_dir(dabi.home().join("transforms")).unwrap();
        std::fs::write(dabi.home().join(format!("transforms/{name}.wasm")), guests::wasm(name)).unwrap();
        dabi
    };
    let keeps = pipeline("order_changes");
    let broker = keeps.start(&["broker", "--listen", &brokers]);
    wait_until("the broker listens", LIMIT, || broker.output().contains("Kafka on"));
    let ops = send_keyless(&brokers);

    let (code, _, log) = keeps.ask(&["run", "--until-caught-up"], LIMIT);
    assert!(code == 0 && log.contains("known by where they stand"), "{log}");
    let kept = ops.iter().filter(|op| ["c", "u", "d"].contains(&op.as_str())).count();
    assert!(kept > 100 && ops.iter().any(|op| op == "d"), "{kept} changes");
    let stored = clickhouse.query("SELECT count(), uniq(change_key) FROM order_changes.order_changes");
    assert_eq!(stored.trim(), format!("{kept}\t{kept}"));
    let (code, output, log) = keeps.ask(&["verify", "--json"], LIMIT);
    let answer: serde_json::Value = serde_json::from_str(&output).unwrap();
    assert_eq!((code, &answer["verdict"]), (0, &json!("equal")), "{output}\n{log}");

    // Current rows, and rows that look one up.
    for (name, words) in [("orders", "transform orders"), ("star", "no row of it can be kept")] {
        let (code, _, log) = pipeline(name).ask(&["run", "--until-caught-up"], LIMIT);
        assert_eq!(code, 1, "{name}: {log}");
        for words in [words, "shop.orders has no primary key", "REPLICA IDENTITY FULL", "append targets"] {
            assert!(log.contains(words), "{name}: {words} in\n{log}");
        }
    }
}
