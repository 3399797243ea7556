//! A real browser: Chromium without a screen, driven through WebDriver.
//!
//! Owns the few commands of WebDriver that the tests of the page need.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::Server;
use super::{free_port, installed};

const LIMIT: Duration = Duration::from_secs(30);

/// One window of one browser; ends on drop.
pub(crate) struct Browser {
    _driver: Server,
    session: String,
    _dir: TempDir,
}

impl Browser {
    /// Starts driver and browser.
    pub(crate) fn start() -> Self {
        let (driver, chromium) = (installed("DABI_TEST_CHROMEDRIVER"), installed("DABI_TEST_CHROMIUM"));
        let dir = TempDir::with_prefix("dabi-chromium-").expect("make a folder for Chromium");
        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let command = move || {
            let mut command = Command::new(&driver);
            command.args([format!("--port={port}"), "--log-level=SEVERE".to_owned()]);
            command
        };
        let probe = format!("{url}/status");
        let driver =
            Server::start("chromedriver", dir.path(), command, move || ureq::get(&probe).call().is_ok());
        let profile = dir.path().join("profile");
        let session = call(&format!("{url}/session"), &capabilities(&chromium, &profile));
        let id = session["sessionId"].as_str().expect("a session has an id");
        Self { session: format!("{url}/session/{id}"), _driver: driver, _dir: dir }
    }

    /// Goes to an address and waits until it is loaded.
    pub(crate) fn open(&self, url: &str) {
        self.command("url", &json!({ "url": url }));
    }

    /// The value of a JavaScript expression.
    pub(crate) fn eval(&self, expression: &str) -> Value {
        let script = format!("return ({expression})");
        self.command("execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// What a person reads in an element.
    pub(crate) fn text(&self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({selector:?})?.innerText ?? ''"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Waits until an element reads as `wanted`.
    pub(crate) fn wait_for(&self, selector: &str, wanted: &str) {
        let mut seen = String::new();
        let reads = |seen: &mut String| {
            *seen = self.text(selector);
            seen.contains(wanted)
        };
        let started = Instant::now();
        while !reads(&mut seen) {
            assert!(started.elapsed() < LIMIT, "{selector} reads {seen:?}, not {wanted:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Gives the window a size in CSS pixels, and the page a colour scheme.
    pub(crate) fn look(&self, width: u32, height: u32, scheme: &str) {
        let metrics = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        let feature = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.devtools("Emulation.setEmulatedMedia", &feature);
    }

    /// Writes a picture of the whole page.
    pub(crate) fn screenshot(&self, path: &Path) {
        let size = |edge: &str| self.eval(&format!("document.documentElement.scroll{edge}"));
        let clip = json!({ "x": 0, "y": 0, "width": size("Width"), "height": size("Height"), "scale": 1 });
        let options = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let picture = self.devtools("Page.captureScreenshot", &options);
        let bytes = STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64");
        std::fs::write(path, bytes).expect("write a picture");
    }

    /// Errors and warnings that the page caused since the last call.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = self.command("se/log", &json!({ "type": "browser" }));
        let lines = log.as_array().map(Vec::as_slice).unwrap_or_default();
        lines.iter().map(|line| line["message"].to_string()).collect()
    }

    fn devtools(&self, method: &str, parameters: &Value) -> Value {
        self.command("goog/cdp/execute", &json!({ "cmd": method, "params": parameters }))
    }

    fn command(&self, path: &str, body: &Value) -> Value {
        call(&format!("{}/{path}", self.session), body)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session; where that fails, with the pipe to its driver.
        let _ended = ureq::delete(&self.session).call();
    }
}

fn capabilities(chromium: &Path, profile: &Path) -> Value {
    let profile = format!("--user-data-dir={}", profile.display());
    let arguments = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        // It ends with its driver, also where that is killed.
        "--remote-debugging-pipe",
        profile.as_str(),
    ];
    json!({ "capabilities": { "alwaysMatch": {
        "goog:loggingPrefs": { "browser": "WARNING" },
        "goog:chromeOptions": { "binary": chromium, "args": arguments },
    } } })
}

/// Sends a command of WebDriver and gives its value.
fn call(url: &str, body: &Value) -> Value {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let answer = agent.post(url).header("content-type", "application/json").send(body.to_string());
    let answer = answer.and_then(|mut answer| answer.body_mut().read_to_string());
    let answer = answer.unwrap_or_else(|error| panic!("{url}: {error}"));
    let mut answer: Value =
        serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{url}: {error}: {answer}"));
    assert!(answer["value"]["error"].is_null(), "{url}: {answer}");
    answer["value"].take()
}
