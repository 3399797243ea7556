//! Compiled code on disk: used when whole, never when not.

use dabi::transform::{Module, Runtime, Settings};

use crate::support::{guests, sample};

#[test]
fn compiled_code_is_kept_and_a_damaged_file_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { cache_dir: Some(folder.path().join("compiled")), ..super::settings() };
    let wasm = guests::wasm("orders");
    let load = || {
        let runtime = Runtime::new(settings.clone()).unwrap();
        let module = Module::load(&runtime, "orders.wasm", &wasm).unwrap();
        let applied = module.instantiate().unwrap().apply(&sample::batch(module.spec(), 3, 1)).unwrap();
        assert_eq!(applied.outputs[0].origin, [0, 1, 2]);
    };
    load();
    let files: Vec<_> = std::fs::read_dir(folder.path().join("compiled")).unwrap().collect();
    let [Ok(file)] = files.as_slice() else { panic!("one compiled module, and no leftovers: {files:?}") };
    let whole = std::fs::read(file.path()).unwrap();
    load();

    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    for contents in [&damaged[..], &whole[..middle], b""] {
        std::fs::write(file.path(), contents).unwrap();
        load();
        assert!(std::fs::read(file.path()).unwrap() == whole, "the damaged file was replaced");
    }
}
