//! `dabi check` looks at the first events and at the connector, and refuses what
//! would make the star wrong.

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::LIMIT;
use crate::support::dabi::Dabi;
use crate::support::{block_on, free_port, guests, wait_until};

/// A Kafka Connect with these connectors.
fn kafka_connect(connectors: &Value) -> String {
    let address = format!("127.0.0.1:{}", free_port());
    let listener = block_on(tokio::net::TcpListener::bind(address.clone())).unwrap();
    let expanded: Value = connectors
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, config)| (name.clone(), json!({"info": {"name": name, "config": config}})))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let router = Router::new().route("/connectors", get(async move || Json(expanded)));
    // It ends with the process of the test.
    std::thread::spawn(|| block_on(axum::serve(listener, router).into_future()));
    format!("http://{address}")
}

/// A capture of `variant` on a broker, with its transforms.
fn check(variant: &str, connect: Option<&str>) -> (i32, String, String) {
    let brokers = format!("127.0.0.1:{}", free_port());
    let mut dabi = Dabi::new(&format!(
        "[kafka]\nbrokers = '{brokers}'\ntopics = ['^cdc_{variant}[.]']\n[lake]\nurl = 'lake'\n\
         [warehouse]\nurl = 'embedded'\n"
    ));
    if let Some(url) = connect {
        dabi.environment(&[("DABI_CONNECT_URL", url)]);
    }
    std::fs::create_dir(dabi.home().join("transforms")).unwrap();
    for name in ["orders", "customers"] {
        std::fs::write(dabi.home().join(format!("transforms/{name}.wasm")), guests::wasm(name)).unwrap();
    }
    let broker = dabi.start(&["broker", "--listen", &brokers]);
    wait_until("the broker listens", LIMIT, || broker.output().contains("Kafka on"));
    let capture = dabi_fixtures::folder(variant);
    let played = dabi.ask(&["capture", "play", capture.to_str().unwrap(), "--brokers", &brokers], LIMIT);
    assert_eq!(played.0, 0, "{}", played.2);
    let (code, output, log) = dabi.ask(&["check"], LIMIT);
    assert!(!dabi.home().join("lake").exists(), "nothing is written");
    (code, output, log)
}

#[test]
fn a_good_source_is_let_through() {
    let (code, output, log) = check("plain", None);
    assert_eq!(code, 0, "{output}\n{log}");
    assert!(output.contains("looked at the first events of") && output.contains("shop.orders"), "{output}");
    assert!(!output.contains("refused"), "{output}");
}

#[test]
fn a_connector_that_loses_values_is_refused() {
    let connect = kafka_connect(&json!({
        "other": {"topic.prefix": "elsewhere", "time.precision.mode": "connect"},
        "shop": {
            "topic.prefix": "cdc_plain", "decimal.handling.mode": "double", "database.password": "hunter2",
        },
    }));
    let (code, output, log) = check("plain", Some(&connect));
    assert_eq!(code, 1, "{output}\n{log}");
    assert!(output.contains("refused: connector shop, decimal.handling.mode"), "{output}");
    assert!(output.contains("warning: connector shop, skipped.operations"), "{output}");
    assert!(output.contains("set it to precise or string"), "{output}");
    assert!(!output.contains("time.precision.mode") && !output.contains("hunter2"), "{output}");
    assert!(log.contains("would make the star wrong"), "{log}");
}

#[test]
fn flattened_rows_without_order_are_a_warning() {
    let (code, output, log) = check("flat", None);
    assert_eq!(code, 0, "{output}\n{log}");
}
