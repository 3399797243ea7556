//! Which folders are projects, and of which language.

use std::path::{Path, PathBuf};

use super::BuildError;

/// A language whose projects dabi can build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// Built by cargo.
    Rust,
}

/// The file that tells the language of a folder; the first that is there decides.
const MARKERS: [(&str, Language); 1] = [("Cargo.toml", Language::Rust)];

impl Language {
    /// What people call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rust => "Rust",
        }
    }
}

/// A folder with the source of one transform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    name: String,
    dir: PathBuf,
    language: Language,
}

impl Project {
    /// The project in `dir`; `None` if that is no folder, or of no known language.
    #[must_use]
    pub fn at(dir: &Path) -> Option<Self> {
        let name = dir.file_name()?.to_str()?.to_owned();
        let (_, language) = MARKERS.into_iter().find(|(marker, _)| dir.join(marker).is_file())?;
        Some(Self { name, dir: dir.to_owned(), language })
    }

    /// The projects in `dir`, by name.
    ///
    /// # Errors
    /// If `dir` cannot be read.
    pub fn all(dir: &Path) -> Result<Vec<Self>, BuildError> {
        let unreadable = |source| BuildError::Folder { path: dir.to_owned(), source };
        let mut projects = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(unreadable)? {
            projects.extend(Self::at(&entry.map_err(unreadable)?.path()));
        }
        projects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(projects)
    }

    /// The folder's name, which becomes the module's.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Whose toolchain builds it.
    #[must_use]
    pub fn language(&self) -> Language {
        self.language
    }

    /// Where its module lies among `modules`.
    #[must_use]
    pub fn module(&self, modules: &Path) -> PathBuf {
        modules.join(format!("{}.wasm", self.name))
    }
}
