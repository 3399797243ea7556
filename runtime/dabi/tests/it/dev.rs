//! `dabi dev` as a person runs it: over a capture, and over a broker of one's own.

use std::time::Duration;

use dabi_fixtures::{Truth, folder};

use crate::demo::{Watched, nothing_runs_in};
use crate::support::dabi::Dabi;
use crate::support::{free_port, guests, wait_until};

const LIMIT: Duration = Duration::from_secs(120);
const VARIANT: &str = "plain";

/// A folder with one finished module, and nothing that says where production is.
fn home() -> Dabi {
    let dabi = Dabi::new("");
    let transforms = dabi.home().join("mine");
    std::fs::create_dir(&transforms).unwrap();
    std::fs::write(transforms.join("customers.wasm"), guests::wasm("customers")).unwrap();
    dabi
}

fn customers() -> u64 {
    Truth::load("customers").len() as u64
}

#[test]
fn a_capture_is_followed_and_a_module_that_is_dropped_beside_it_is_filled() {
    let dabi = home();
    let capture = folder(VARIANT).display().to_string();
    let mut dev = dabi.start(&["dev", "--capture", &capture, "--transforms", "mine"]);
    let watched = Watched::new(&dev);
    wait_until("the star is the source", LIMIT, || watched.rows("dim_customers", "1") == customers());
    // Everything has been played: rows for a new transform are in the lake alone.
    wait_until("it is read to the end", LIMIT, || watched.overview()["now"]["lag"] == 0);
    std::fs::write(dabi.home().join("mine/orders.wasm"), guests::wasm("orders")).unwrap();
    let orders = Truth::load("orders").len() as u64;
    wait_until("older rows are there", LIMIT, || watched.rows("f_orders", "1") == orders);
    let status = dev.interrupt(LIMIT);
    assert!(status.success(), "{status}\n{}\n{}", dev.output(), dev.log());
    assert!(nothing_runs_in(dabi.home()));
}

#[test]
fn a_broker_of_ones_own_is_read_to_its_end() {
    let dabi = home();
    let brokers = format!("127.0.0.1:{}", free_port());
    let mut broker = dabi.start(&["broker", "--listen", &brokers]);
    wait_until("the broker listens", LIMIT, || broker.output().contains("Kafka on"));
    let capture = folder(VARIANT).display().to_string();
    let mut play = dabi.start(&["capture", "play", &capture, "--brokers", &brokers]);
    assert!(play.wait(LIMIT).success(), "{}", play.log());
    let topic = format!("^cdc_{VARIANT}[.]");
    let dev = ["dev", "--brokers", &brokers, "--topic", &topic, "--transforms", "mine", "--until-caught-up"];
    let mut dev = dabi.start(&dev);
    let status = dev.wait(LIMIT);
    assert!(status.success(), "{status}\n{}\n{}", dev.output(), dev.log());
    let shown = format!("dim_customers {}", customers());
    let log = dev.log();
    assert!(log.split_whitespace().collect::<Vec<_>>().join(" ").contains(&shown), "{shown}\n{log}");
    assert!(broker.interrupt(LIMIT).success());
    assert!(nothing_runs_in(dabi.home()));
}
