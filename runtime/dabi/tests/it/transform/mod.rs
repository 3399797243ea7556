//! Modules in the host: what goes in comes out, and nothing a module does
//! reaches further than its own rows.

mod cache;
mod echo;
mod hostile;
mod poison;
mod shop;

use std::time::Duration;

use dabi::transform::{Module, Runtime, Settings};

use crate::support::guests;

/// Limits small enough to be reached in a test.
fn settings() -> Settings {
    Settings {
        call_time_max: Duration::from_millis(1_000),
        memory_bytes_max: 64 << 20,
        ..Settings::default()
    }
}

fn runtime() -> Runtime {
    Runtime::new(settings()).expect("the engine starts")
}

fn guest(package: &str) -> Module {
    load(package, &guests::wasm(package))
}

fn load(name: &str, bytes: &[u8]) -> Module {
    Module::load(&runtime(), name, bytes).unwrap_or_else(|error| panic!("{error}"))
}
