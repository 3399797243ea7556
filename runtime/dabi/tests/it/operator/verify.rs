//! `dabi verify` tells a right star from one that was tampered with, and says
//! which keys are wrong.

use serde_json::{Value, json};

use super::Captured;

/// Every target, and the fewest rows that say anything.
const TARGETS: [(&str, u64); 6] = [
    ("f_lines", 1000),
    ("dim_cities", 10),
    ("dim_customers", 100),
    ("zoo", 20),
    ("order_changes", 1000),
    ("order_sightings", 1000),
];

fn target<'a>(answer: &'a Value, name: &str) -> &'a Value {
    let targets = answer["targets"].as_array().expect("a list of targets");
    targets.iter().find(|target| target["target"] == name).expect("a target")
}

#[test]
fn a_star_is_equal_until_it_is_tampered_with() {
    let captured = Captured::caught_up();
    let (code, answer) = captured.ask_json(&["verify"]);
    assert_eq!((code, &answer["verdict"]), (0, &json!("equal")), "{answer:#}");
    for (name, rows_min) in TARGETS {
        let rows = captured.query(&format!("SELECT count() FROM {{db}}.{name}"));
        let target = target(&answer, name);
        assert_eq!(
            (target["rows"].to_string(), target["expected"].to_string()),
            (rows.clone(), rows),
            "{name}"
        );
        assert!(target["rows"].as_u64().is_some_and(|rows| rows >= rows_min), "{target}");
    }
    // Rows that no star can hold are told.
    assert!(target(&answer, "zoo")["dead_letters"].as_u64().is_some_and(|letters| letters > 0), "{answer:#}");

    // One row is changed, one is gone, and one is too much; of the changes one is gone.
    let line = captured.query("SELECT order_id, line_no FROM {db}.f_lines ORDER BY ALL LIMIT 1");
    let (order, number) = line.split_once('\t').expect("two columns");
    captured.query(&format!(
        "INSERT INTO {{db}}.f_lines__g1 SELECT * REPLACE ('tampered' AS tier) FROM {{db}}.f_lines__g1 FINAL \
         WHERE order_id = {order} AND line_no = {number}"
    ));
    let city = captured.query("SELECT min(city) FROM {db}.dim_cities");
    captured.query(&format!("DELETE FROM {{db}}.dim_cities__g1 WHERE city = '{city}'"));
    captured.query(
        "INSERT INTO {db}.dim_customers__g1 SELECT * REPLACE (id + 1000000 AS id) FROM {db}.dim_customers__g1 FINAL \
         LIMIT 1",
    );
    let change =
        captured.query("SELECT id, change_key FROM {db}.order_changes WHERE op = 'd' ORDER BY ALL LIMIT 1");
    let (id, change_key) = change.split_once('\t').expect("two columns");
    captured.query(&format!("DELETE FROM {{db}}.order_changes__g1 WHERE change_key = {change_key}"));

    let (code, answer) = captured.ask_json(&["verify"]);
    assert_eq!((code, &answer["verdict"]), (1, &json!("different")), "{answer:#}");
    let difference = |name: &str| {
        let target = target(&answer, name);
        assert_eq!(target["differing"], 1, "{target:#}");
        target["differences"][0].clone()
    };
    let changed = difference("f_lines");
    assert_eq!(
        (&changed["key"], &changed["found"]["tier"]),
        (&json!(format!("{order},{number}")), &json!("tampered"))
    );
    assert!(changed["expected"]["tier"].as_str().is_some_and(|tier| tier != "tampered"), "{changed}");
    let gone = difference("dim_cities");
    assert_eq!(
        (&gone["key"], gone["found"].is_null(), gone["expected"].is_null()),
        (&json!(city), true, false)
    );
    let extra = difference("dim_customers");
    assert_eq!((extra["found"].is_null(), extra["expected"].is_null()), (false, true));
    let unkept = difference("order_changes");
    assert_eq!(
        (&unkept["key"], unkept["found"].is_null(), &unkept["expected"]["op"]),
        (&json!(format!("{id},{change_key}")), true, &json!("d"))
    );
    for name in ["zoo", "order_sightings"] {
        assert_eq!(target(&answer, name)["differing"], 0);
    }

    // People see both rows.
    let (code, output, _) = captured.ask(&["verify", "--target", "dim_cities"]);
    assert_eq!(code, 1);
    assert!(output.contains("dim_cities: 1 key differs") && output.contains("found    no row"), "{output}");

    // What cannot be said is neither.
    let (code, _, log) = captured.ask(&["verify", "--target", "f_nothing"]);
    assert!(code == 2 && log.contains("there is no target f_nothing") && log.contains("f_lines"), "{log}");
    // Another module than the one that made the rows: an empty custom section
    // changes the hash, and nothing else.
    let module = captured.dabi.home().join("transforms/customers.wasm");
    let bytes = std::fs::read(&module).expect("the module is there");
    std::fs::write(&module, [&bytes[..], &[0, 2, 1, b'x']].concat()).expect("write it");
    let (code, answer) = captured.ask_json(&["verify", "--target", "dim_customers"]);
    assert_eq!((code, &answer["verdict"]), (2, &json!("unknown")), "{answer:#}");
    assert!(target(&answer, "dim_customers")["unknown"].to_string().contains("are of module"), "{answer:#}");
}
