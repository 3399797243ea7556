//! What a running dabi says of itself over HTTP.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::{free_port, wait_until};

const LIMIT: Duration = Duration::from_secs(120);

/// Where one dabi listens.
pub(crate) struct Web {
    address: String,
}

impl Web {
    /// A free place on loopback.
    pub(crate) fn free() -> Self {
        Self { address: format!("127.0.0.1:{}", free_port()) }
    }

    /// Its `[web] listen`.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// Waits until dabi is ready.
    pub(crate) fn wait_until_ready(&self) {
        wait_until("dabi is ready", LIMIT, || self.report().is_some_and(|report| report["ready"] == true));
    }

    /// What `/readyz` says; `None` while nobody listens.
    pub(crate) fn report(&self) -> Option<Value> {
        serde_json::from_str(&self.get("/readyz")?).ok()
    }

    /// What it says of the transform that came from `entry`.
    pub(crate) fn report_of(&self, entry: &str) -> Value {
        let report = self.report().unwrap_or_default();
        let transforms = report["transforms"].as_array().cloned().unwrap_or_default();
        transforms.into_iter().find(|transform| transform["entry"] == entry).unwrap_or_default()
    }

    /// Waits until what is said of the transform that came from `entry` is so, and
    /// gives it.
    pub(crate) fn wait_for(&self, entry: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let mut report = Value::Null;
        wait_until(&format!("{entry} {what}"), LIMIT, || {
            report = self.report_of(entry);
            is_so(&report)
        });
        report
    }

    /// The value of a counter or gauge, 0 while it has none.
    pub(crate) fn counter(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics").expect("dabi serves metrics");
        let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.trim().parse().expect("a count"))
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(&self.address).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\nHost: dabi\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer.split_once("\r\n\r\n")?.1.to_owned())
    }
}
