//! `dabi explain` tells a row's source, what it looked up, and what it was.

use serde_json::{Value, json};

use super::Captured;

/// What was found in a table.
fn looked_up<'a>(source: &'a Value, table: &str) -> &'a Value {
    let lookups = source["lookups"].as_array().expect("a list of lookups");
    lookups.iter().find(|lookup| lookup["table"] == table).expect("a lookup of the transform")
}

#[test]
fn a_row_is_traced_to_its_events() {
    let captured = Captured::caught_up();
    let line = captured.query(
        "SELECT order_id, line_no, customer, product, category, _version FROM {db}.f_lines__g1 FINAL \
         WHERE category IS NOT NULL ORDER BY ALL LIMIT 1",
    );
    let fields: Vec<&str> = line.split('\t').collect();
    let [order, number, customer, product, category, version] = fields[..] else { panic!("{line}") };
    let key = format!("{order},{number}");
    let (code, answer) = captured.ask_json(&["explain", "f_lines", &key]);
    assert_eq!(code, 0);
    assert_eq!((&answer["key"], &answer["transform"]), (&json!(key), &json!("star")));
    assert!(answer["module"].as_str().is_some_and(|hash| hash.len() == 64), "{answer:#}");

    // The row with its version, taken apart.
    let star = &answer["star"];
    assert_eq!(star["version"].to_string(), version);
    let parts = (star["term"].as_u64().unwrap(), star["epoch"].as_u64().unwrap());
    assert_eq!((parts.0 << 40 | parts.1).to_string(), version);
    assert_eq!((&star["row"]["customer"], &star["row"]["category"]), (&json!(customer), &json!(category)));

    // The source row, and the chain that it looked up.
    let sources = answer["sources"].as_array().expect("a list of sources");
    assert_eq!(sources.len(), 1, "{answer:#}");
    let source = &sources[0];
    assert_eq!(source["row"]["order_id"].to_string(), order);
    assert!(
        source["event"]["topic"].as_str().is_some_and(|topic| topic.ends_with(".order_items")),
        "{source:#}"
    );
    assert_eq!(looked_up(source, "shop.orders")["row"]["id"].to_string(), order);
    assert_eq!(looked_up(source, "shop.products")["row"]["name"], json!(product));
    assert_eq!(looked_up(source, "shop.customers")["row"]["full_name"], json!(customer));
    assert_eq!(looked_up(source, "shop.categories")["row"]["name"], json!(category));
    assert!(looked_up(source, "shop.orders")["event"]["offset"].is_u64(), "{source:#}");

    // What it was: the last state is the row that stands, and each has its event.
    let history = answer["history"].as_array().expect("a list of moments");
    assert_eq!(history.last().unwrap()["row"], star["row"], "{answer:#}");
    assert!(history.iter().all(|moment| moment["event"]["offset"].is_u64()), "{answer:#}");

    // Several source rows give one city: all of them are told, the first one's stands.
    let city = captured.query("SELECT min(city) FROM {db}.dim_cities");
    let (code, shared) = captured.ask_json(&["explain", "dim_cities", &city]);
    assert_eq!((code, &shared["star"]["row"]["city"]), (0, &json!(city)), "{shared:#}");
    assert!(shared["sources"].as_array().is_some_and(|sources| sources.len() > 1), "{shared:#}");

    // A row that is gone still has a history.
    let gone = captured.query(
        "SELECT min(id) FROM {db}.dim_customers__g1 WHERE _deleted = 1 AND id NOT IN (SELECT id FROM {db}.dim_customers)",
    );
    let (code, answer) = captured.ask_json(&["explain", "dim_customers", &gone]);
    assert_eq!((code, answer["star"].is_null(), &answer["sources"]), (0, true, &json!([])), "{answer:#}");
    let history = answer["history"].as_array().unwrap();
    let id: i64 = gone.parse().unwrap();
    assert!(history.len() >= 2 && history[0]["row"]["id"] == id, "{answer:#}");
    let last = history.last().unwrap();
    assert_eq!((last["row"].is_null(), &last["event"]["op"]), (true, &json!("d")), "{answer:#}");

    explain_changes(&captured);

    // For people, and what is wrong with a question.
    let (code, output, _) = captured.ask(&["explain", "f_lines", &key]);
    assert!(code == 0 && output.contains("in ClickHouse: version") && output.contains(customer), "{output}");
    for (key, words) in [("17", "in the order order_id,line_no"), ("a,b", "is no key of f_lines")] {
        let (code, _, log) = captured.ask(&["explain", "f_lines", key]);
        assert!(code == 1 && log.contains(words), "{log}");
    }
}

/// Every change of a row, and one of them.
fn explain_changes(captured: &Captured) {
    let id = captured.query(
        "SELECT id FROM {db}.order_changes GROUP BY id HAVING count() > 2 AND countIf(op = 'd') = 1 ORDER BY id LIMIT 1",
    );
    let stored = captured.query(&format!("SELECT count() FROM {{db}}.order_changes WHERE id = {id}"));
    let (code, answer) = captured.ask_json(&["explain", "order_changes", &id]);
    let changes = answer["changes"].as_array().expect("a list of changes");
    assert_eq!((code, changes.len().to_string()), (0, stored), "{answer:#}");
    for change in changes {
        let (row, star) = (&change["row"], &change["star"]);
        assert_eq!((row, row["id"].to_string()), (&star["row"], id.clone()), "{change:#}");
        assert_eq!((&row["change_key"], &row["op"]), (&change["change_key"], &change["events"][0]["op"]));
        assert!(star["epoch"].is_u64() && change["events"][0]["offset"].is_u64(), "{change:#}");
    }
    let last = changes.last().unwrap();
    assert_eq!(last["row"]["op"], json!("d"), "{answer:#}");

    let key = format!("{id},{}", last["change_key"]);
    let (code, one) = captured.ask_json(&["explain", "order_changes", &key]);
    assert_eq!((code, &one["changes"]), (0, &json!([last])), "{one:#}");
    let (code, output, _) = captured.ask(&["explain", "order_changes", &key]);
    assert!(code == 0 && output.contains(&format!("change {}", last["change_key"])), "{output}");
    assert!(output.contains("d of shop.orders at") && output.contains("in ClickHouse: version"), "{output}");
}
