//! Modules in the host: what goes in comes out, and nothing a module does
//! reaches further than its own rows.

mod cache;
mod echo;
mod hostile;
mod lookups;
mod poison;
mod shop;

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};
use std::time::Duration;

use dabi::transform::{Module, Runtime, Settings, Worker};

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

/// A guest, compiled once per test run.
fn guest(package: &str) -> Module {
    static LOADED: LazyLock<Mutex<HashMap<String, Module>>> = LazyLock::new(Mutex::default);
    let mut loaded = LOADED.lock().expect("a guest does not load");
    let load = || load(&runtime(), package);
    loaded.entry(package.to_owned()).or_insert_with(load).clone()
}

fn load(runtime: &Runtime, package: &str) -> Module {
    let name = format!("{package}.wasm");
    Module::load(runtime, &name, &guests::wasm(package)).unwrap_or_else(|error| panic!("{error}"))
}

/// Workers move to the threads of the pipeline's pool.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Worker>();
    is_send::<Module>();
};
