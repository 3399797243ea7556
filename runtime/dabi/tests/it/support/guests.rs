//! WASM modules for tests: Rust guests and transforms, built as `dabi build`
//! builds them, once per test run.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use dabi::build::Project;

use super::block_on;

/// The .wasm of a guest, or of a transform of the captures or of the shop.
pub(crate) fn wasm(name: &str) -> Vec<u8> {
    static BUILT: OnceLock<Mutex<HashMap<String, PathBuf>>> = OnceLock::new();
    let mut built = BUILT.get_or_init(Mutex::default).lock().expect("a build panicked");
    let path = built.entry(name.to_owned()).or_insert_with(|| build(name));
    std::fs::read(path).expect("read the module that was built")
}

fn build(name: &str) -> PathBuf {
    let folder = folder(name);
    let project = Project::at(&folder).unwrap_or_else(|| panic!("{} is no project", folder.display()));
    let built = block_on(project.build(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("modules")));
    built.unwrap_or_else(|error| panic!("{error}")).module
}

/// Where the source of a guest, or of a transform of the captures or of the shop, is.
pub(crate) fn folder(name: &str) -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = ["tests/guests", "../fixtures/transforms", "../../transforms"]
        .into_iter()
        .map(|folder| here.join(folder).join(name));
    folders.find(|folder| folder.exists()).unwrap_or_else(|| panic!("there is no guest or transform {name}"))
}
