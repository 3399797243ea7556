//! The source of a transform as a project that stands alone, to be edited.

use std::path::{Path, PathBuf};

use super::guests;

/// A copy of a transform's source.
pub(crate) struct SourceProject {
    lib: PathBuf,
    original: String,
}

impl SourceProject {
    /// Copies the guest or transform `name` to `dir`.
    pub(crate) fn copy_of(name: &str, dir: &Path) -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("src")).unwrap();
        // The module has another file name, because it is built beside the original.
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
             [lib]\nname = \"saved_{name}\"\ncrate-type = [\"cdylib\"]\n\
             [dependencies]\ndabi-sdk = {{ path = {:?} }}\n\
             [workspace]\n",
            workspace.join("guest-sdk/rust")
        );
        std::fs::write(dir.join("Cargo.toml"), manifest).unwrap();
        std::fs::copy(workspace.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
        let source = guests::folder(name).join("src/lib.rs");
        let this = Self { lib: dir.join("src/lib.rs"), original: std::fs::read_to_string(source).unwrap() };
        this.restore();
        this
    }

    /// Variables of a dabi that builds it: without the network, and where the
    /// dependencies are built already.
    pub(crate) fn environment() -> [(&'static str, &'static str); 2] {
        // The parent of what tests may write to.
        [("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/..")), ("CARGO_NET_OFFLINE", "true")]
    }

    /// Saves the original source with `from` replaced by `to`.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        self.edit_all(&[(from, to)]);
    }

    /// The same, with several replacements one after the other.
    pub(crate) fn edit_all(&self, replacements: &[(&str, &str)]) {
        let mut source = self.original.clone();
        for (from, to) in replacements {
            assert!(source.contains(from), "{from} is not in {}", self.lib.display());
            source = source.replace(from, to);
        }
        self.save(&source);
    }

    /// Saves the original source.
    pub(crate) fn restore(&self) {
        self.save(&self.original);
    }

    /// Saves as editors do, by renaming.
    fn save(&self, source: &str) {
        let part = self.lib.with_extension("rs.part");
        std::fs::write(&part, source).unwrap();
        std::fs::rename(part, &self.lib).unwrap();
    }
}
