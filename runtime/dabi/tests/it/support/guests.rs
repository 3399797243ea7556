//! WASM modules for tests: Rust guests and transforms built with cargo, once
//! per test run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock};

/// The .wasm of a workspace member that is a transform, as `dabi build` would
/// make it.
pub(crate) fn wasm(package: &str) -> Vec<u8> {
    static BUILT: OnceLock<Mutex<HashMap<String, PathBuf>>> = OnceLock::new();
    let mut built = BUILT.get_or_init(Mutex::default).lock().expect("a build panicked");
    let path = built.entry(package.to_owned()).or_insert_with(|| build(package));
    std::fs::read(path).expect("read the module that cargo has built")
}

fn build(package: &str) -> PathBuf {
    // cargo makes this folder inside of its target folder.
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target folder");
    let output = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--profile", "transform", "--target", "wasm32-unknown-unknown"])
        .args(["--package", package, "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("start cargo");
    assert!(
        output.status.success(),
        "build {package} for WASM (is the target there? `rustup target add wasm32-unknown-unknown`):\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    target.join("wasm32-unknown-unknown/transform").join(format!("{package}.wasm"))
}
