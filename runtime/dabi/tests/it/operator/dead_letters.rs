//! A source row that a transform cannot use is a dead letter until it is repaired
//! or gone; it can be listed, shown and tried again.

use serde_json::{Value, json};

use super::LIMIT;
use crate::support::clickhouse::ClickHouse;
use crate::support::dabi::Dabi;
use crate::support::load::TOPIC;
use crate::support::shop_events::{GOOD, ShopEvents, TOO_EARLY};
use crate::support::{free_port, guests, wait_until};

/// The open letters, by key.
fn open(dabi: &Dabi) -> Vec<Value> {
    let (code, output, log) = dabi.ask(&["dead-letters", "list", "--json"], LIMIT);
    assert_eq!(code, 0, "{log}");
    let mut letters: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    letters.sort_by_key(|letter| letter["id"].to_string());
    letters
}

fn keys(letters: &[Value]) -> Vec<&str> {
    letters.iter().map(|letter| letter["id"].as_str().unwrap()).collect()
}

#[test]
fn a_letter_is_open_until_its_row_is_repaired_or_gone() {
    let clickhouse = ClickHouse::start();
    let (brokers, web) = (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let dabi = Dabi::new(&format!(
        "[kafka]\nbrokers = '{brokers}'\ntopics = ['{TOPIC}']\n[lake]\nurl = 'lake'\n\
         [warehouse]\nurl = '{}'\npassword = '{}'\n[limits.lake]\nflush_age_ms = 100\n[web]\nlisten = '{web}'\n",
        clickhouse.url(),
        ClickHouse::PASSWORD,
    ));
    std::fs::create_dir(dabi.home().join("transforms")).unwrap();
    std::fs::write(dabi.home().join("transforms/orders.wasm"), guests::wasm("orders")).unwrap();
    let broker = dabi.start(&["broker", "--listen", &brokers]);
    wait_until("the broker listens", LIMIT, || broker.output().contains("Kafka on"));
    let mut shop = ShopEvents::new(&brokers);
    for (id, placed_at) in [(1, GOOD), (2, TOO_EARLY), (3, TOO_EARLY), (4, TOO_EARLY)] {
        shop.order("c", id, placed_at);
    }
    // Nobody runs who could try again.
    let (code, _, log) = dabi.ask(&["dead-letters", "retry", "--all"], LIMIT);
    assert!(code == 1 && log.contains("no dabi runs at"), "{log}");

    let mut running = dabi.start(&["run"]);
    let rows = |sql: &str| clickhouse.query(&format!("SELECT count() FROM dabi.{sql}")).trim().to_owned();
    wait_until("the good order is in the star", LIMIT, || {
        running.log().contains("starts") && open(&dabi).len() == 3
    });
    assert_eq!(rows("f_orders"), "1");
    let letters = open(&dabi);
    assert_eq!(keys(&letters), ["2", "3", "4"]);
    assert_eq!((&letters[0]["stage"], &letters[0]["code"]), (&json!("star"), &json!("out-of-range")));

    let (code, output, _) = dabi.ask(&["dead-letters", "show", "orders", "2", "--json"], LIMIT);
    let letter: Value = serde_json::from_str(&output).unwrap();
    let row: Value = serde_json::from_str(letter["row"].as_str().unwrap()).unwrap();
    assert_eq!((code, &row["id"], &letter["source"]), (0, &json!(2), &json!("shop.orders")), "{letter:#}");
    assert_eq!(letter["module"].as_str().map(str::len), Some(64), "{letter:#}");
    let (code, _, log) = dabi.ask(&["dead-letters", "show", "orders", "1"], LIMIT);
    assert!(code == 1 && log.contains("no open dead letter 1"), "{log}");

    // What is wrong with the row is still wrong; each is tried once its event is in
    // the lake.
    let retried = || {
        let (code, output, log) =
            dabi.ask(&["dead-letters", "retry", "--transform", "orders", "--json"], LIMIT);
        assert_eq!(code, 0, "{log}");
        serde_json::from_str::<Value>(&output).unwrap()["orders"]["retrying"].clone()
    };
    wait_until("all are tried again", LIMIT, || retried() == json!(3));
    assert_eq!(keys(&open(&dabi)), ["2", "3", "4"]);

    // One is repaired, one is deleted, and one goes wrong once more.
    shop.order("u", 2, GOOD);
    shop.order("d", 3, GOOD);
    shop.order("u", 4, "1400-01-01T00:00:00Z");
    wait_until("one is left", LIMIT, || keys(&open(&dabi)) == ["4"]);
    assert_eq!((rows("f_orders"), rows("_dead_letters")), ("2".to_owned(), "1".to_owned()));
    assert_eq!(open(&dabi)[0]["offset"], 6, "it is that of the last event");
    let (code, output, log) = dabi.ask(&["verify"], LIMIT);
    assert!(code == 0 && output.contains("1 dead letters"), "{output}\n{log}");

    // It is known after a restart, and goes with its table.
    assert!(running.terminate(LIMIT).success(), "{}", running.log());
    let letters = dabi.home().join("lake/_dabi/dead_letters");
    assert!(letters.read_dir().is_ok_and(|days| days.count() > 0), "they are in the lake, too");
    let mut running = dabi.start(&["run"]);
    shop.order("u", 4, GOOD);
    wait_until("none is left", LIMIT, || open(&dabi).is_empty());
    assert_eq!(rows("f_orders"), "3");
    assert!(running.terminate(LIMIT).success(), "{}", running.log());
}
