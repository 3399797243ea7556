//! Source projects → modules, each built by its own language's toolchain.
//!
//! Owns which folders are projects, how each language is built, and where the
//! finished module goes. Does not own when to build (`cli`, `pipeline`), nor
//! what is in a module (`transform`).
//!
//! Invariants: a module appears whole under its name; a build that fails leaves
//! the one before as it was; a build gives way to everything else on the machine.

mod cargo;
mod project;

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::{Pid, setpriority_process};
use tokio::process::Command;

pub use project::{Language, Project};

/// How much a build gives way: half of the way to the last place.
const NICENESS: i32 = 10;

/// A module that was built.
#[derive(Clone, Debug)]
pub struct Built {
    /// The file.
    pub module: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// From the start of the toolchain until the file was there.
    pub took: Duration,
}

/// Why there is no new module.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The folder of projects cannot be read.
    #[error("read the transforms' folder {}: {source}; create it, or set transforms.dir", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The toolchain is not there.
    #[error("start {tool} for {project}: {source}; {remedy}, or put a finished .wasm there instead")]
    Toolchain {
        /// The project.
        project: String,
        /// The program.
        tool: String,
        /// What the system says.
        source: io::Error,
        /// How to get it.
        remedy: &'static str,
    },
    /// The toolchain refuses the source.
    #[error("{project} does not build{}:\n{text}", place.as_deref().map(|place| format!(" ({place})")).unwrap_or_default())]
    Failed {
        /// The project.
        project: String,
        /// `file:line:column` of the first error, where the toolchain gives one.
        place: Option<String>,
        /// Everything that the toolchain says about its errors.
        text: String,
    },
    /// It builds, but to something else.
    #[error("{project} builds, but to no module; {remedy}")]
    NoModule {
        /// The project.
        project: String,
        /// What to declare.
        remedy: &'static str,
    },
    /// The module cannot be put in its place.
    #[error("put the module of {project} to {}: {source}", path.display())]
    Store {
        /// The project.
        project: String,
        /// Where it was to be.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

impl Project {
    /// Builds it and puts the module into `modules`, named after the project.
    /// Dropped before it is done, it ends the toolchain.
    ///
    /// # Errors
    /// See [`BuildError`]; the module of the last build then stays.
    pub async fn build(&self, modules: &Path) -> Result<Built, BuildError> {
        let start = Instant::now();
        let fresh = match self.language() {
            Language::Rust => cargo::build(self).await?,
        };
        let module = self.module(modules);
        let bytes = store(&fresh, &module).map_err(|source| BuildError::Store {
            project: self.name().to_owned(),
            path: module.clone(),
            source,
        })?;
        Ok(Built { module, bytes, took: start.elapsed() })
    }
}

/// Copies `fresh` to `module` under another name first, so that nobody ever
/// sees half of it; not at all if it is there already. Gives its size.
fn store(fresh: &Path, module: &Path) -> io::Result<u64> {
    let bytes = std::fs::read(fresh)?;
    let size = bytes.len() as u64;
    if std::fs::read(module).is_ok_and(|present| present == bytes) {
        return Ok(size);
    }
    if let Some(folder) = module.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let part = module.with_extension("part");
    std::fs::write(&part, &bytes)?;
    std::fs::rename(&part, module)?;
    Ok(size)
}

/// What a toolchain left behind when it ended.
struct Ended {
    success: bool,
    output: Vec<u8>,
    log: String,
}

/// Runs a toolchain to its end, behind everything else on the machine.
async fn run(
    project: &Project,
    tool: &str,
    remedy: &'static str,
    command: &mut Command,
) -> Result<Ended, BuildError> {
    let failed = |source| BuildError::Toolchain {
        project: project.name().to_owned(),
        tool: tool.to_owned(),
        source,
        remedy,
    };
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped());
    let child = command.stderr(std::process::Stdio::piped()).kill_on_drop(true).spawn().map_err(failed)?;
    if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
        // It may have ended already, and a build in the front row is still a build.
        let _ = setpriority_process(Some(pid), NICENESS);
    }
    let ended = child.wait_with_output().await.map_err(failed)?;
    Ok(Ended {
        success: ended.status.success(),
        output: ended.stdout,
        log: String::from_utf8_lossy(&ended.stderr).into_owned(),
    })
}
