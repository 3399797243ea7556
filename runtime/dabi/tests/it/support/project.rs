//! The source of a transform as a project that stands alone, to be edited.

use std::path::{Path, PathBuf};

/// A copy of a transform's source.
pub(crate) struct SourceProject {
    lib: PathBuf,
    original: String,
}

impl SourceProject {
    /// Copies `transforms/<name>` to `dir`.
    pub(crate) fn of_transform(name: &str, dir: &Path) -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        std::fs::create_dir_all(dir.join("src")).unwrap();
        let manifest = format!(
            "[package]\nname = \"{name}\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\
             [lib]\ncrate-type = [\"cdylib\"]\n\
             [dependencies]\ndabi-sdk = {{ path = {:?} }}\n\
             [workspace]\n",
            workspace.join("guest-sdk/rust")
        );
        std::fs::write(dir.join("Cargo.toml"), manifest).unwrap();
        std::fs::copy(workspace.join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
        let source = workspace.join("transforms").join(name).join("src/lib.rs");
        let this = Self { lib: dir.join("src/lib.rs"), original: std::fs::read_to_string(source).unwrap() };
        this.save(&this.original);
        this
    }

    /// Variables of a dabi that builds it: the dependencies are built once, for
    /// all tests, and without the network.
    pub(crate) fn environment() -> [(&'static str, &'static str); 2] {
        [
            ("CARGO_TARGET_DIR", concat!(env!("CARGO_TARGET_TMPDIR"), "/transforms")),
            ("CARGO_NET_OFFLINE", "true"),
        ]
    }

    /// Saves the original source with `from` replaced by `to`.
    pub(crate) fn edit(&self, from: &str, to: &str) {
        assert!(self.original.contains(from), "{from} is not in {}", self.lib.display());
        self.save(&self.original.replace(from, to));
    }

    /// Saves as editors do, by renaming.
    fn save(&self, source: &str) {
        let part = self.lib.with_extension("rs.part");
        std::fs::write(&part, source).unwrap();
        std::fs::rename(part, &self.lib).unwrap();
    }
}
