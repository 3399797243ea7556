//! What an operator asks of a pipeline: is the star right, where does a row come
//! from, what went wrong.

mod dead_letters;
mod explain;
mod keyless;
mod preflight;
mod verify;

use std::time::Duration;

use serde_json::Value;

use crate::captures::{capture, pipeline};
use crate::support::clickhouse::ClickHouse;
use crate::support::dabi::Dabi;
use crate::support::process::Process;
use crate::support::{free_port, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

/// The capture that the embedded broker holds whole, and the name of its database.
const CAPTURE: &str = "plain";
/// Lookups in chains and a table that several lines share, a table of its own key,
/// every type there is, and changes that are kept.
const PACKAGES: [&str; 4] = ["star", "customers", "type_zoo_full", "order_changes"];

/// A capture on a broker, and its star.
struct Captured {
    // First: it ends in the folder of `dabi`.
    _broker: Process,
    dabi: Dabi,
    clickhouse: ClickHouse,
}

impl Captured {
    /// A capture whose events have all become lake and star; dabi has stopped.
    fn caught_up() -> Self {
        let clickhouse = ClickHouse::start();
        let brokers = format!("127.0.0.1:{}", free_port());
        let dabi = pipeline(CAPTURE, &brokers, &clickhouse, &PACKAGES);
        let broker = dabi.start(&["broker", "--listen", &brokers]);
        wait_until("the broker listens", LIMIT, || broker.output().contains("Kafka on"));
        let captured = Self { _broker: broker, dabi, clickhouse };
        for arguments in [
            &["capture", "play", &capture(CAPTURE), "--brokers", &brokers][..],
            &["run", "--until-caught-up"],
        ] {
            let (code, _, log) = captured.ask(arguments);
            assert_eq!(code, 0, "dabi {arguments:?}\n{log}");
        }
        captured
    }

    /// Runs dabi; its exit code, stdout and log.
    fn ask(&self, arguments: &[&str]) -> (i32, String, String) {
        self.dabi.ask(arguments, LIMIT)
    }

    /// The same, with JSON as its answer.
    fn ask_json(&self, arguments: &[&str]) -> (i32, Value) {
        let (code, output, log) = self.ask(&[arguments, &["--json"]].concat());
        let answer = serde_json::from_str(&output);
        (code, answer.unwrap_or_else(|error| panic!("dabi {arguments:?}: {error}\n{output}\n{log}")))
    }

    fn query(&self, sql: &str) -> String {
        self.clickhouse.query(&sql.replace("{db}", CAPTURE)).trim().to_owned()
    }
}
