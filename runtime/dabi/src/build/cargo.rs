//! Rust projects, by cargo.
//!
//! Owns the profile of a transform, so that a project needs none of its own,
//! and what of cargo's messages matters.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio::process::Command;

use super::{BuildError, Project, run};

const TARGET: &str = "wasm32-unknown-unknown";
/// Given with each build, over whatever the project says of this profile. Fat
/// LTO costs nothing here: half a second of CPU from a save to a module, as
/// without it, because a transform is small; and it gives the smallest module.
const PROFILE: [&str; 7] = [
    "profile.transform.inherits='release'",
    "profile.transform.opt-level=3",
    "profile.transform.lto='fat'",
    "profile.transform.codegen-units=1",
    "profile.transform.panic='abort'",
    "profile.transform.strip=true",
    "profile.transform.debug=false",
];
const TOOLCHAIN_REMEDY: &str = "install Rust (https://rustup.rs)";
const MODULE_REMEDY: &str = "declare crate-type = [\"cdylib\", \"rlib\"] under [lib] in its Cargo.toml";

/// A line of cargo's output.
#[derive(Deserialize)]
#[serde(tag = "reason")]
enum Line {
    #[serde(rename = "compiler-message")]
    Diagnostic { message: Diagnostic },
    #[serde(rename = "compiler-artifact")]
    Artifact { manifest_path: PathBuf, filenames: Vec<PathBuf> },
    #[serde(other)]
    Other,
}

/// What rustc says about a place.
#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
    spans: Vec<SourceSpan>,
}

#[derive(Deserialize)]
struct SourceSpan {
    file_name: String,
    line_start: u32,
    column_start: u32,
    is_primary: bool,
}

/// Builds `project`; gives the module that cargo left.
pub(super) async fn build(project: &Project) -> Result<PathBuf, BuildError> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let manifest = project.dir().join("Cargo.toml");
    let mut command = Command::new(&cargo);
    // Where people run it too: cargo and rustup look for settings from there up.
    command.current_dir(project.dir());
    command.args(["build", "--lib", "--profile", "transform", "--target", TARGET]);
    command.args(["--message-format", "json"]);
    for setting in PROFILE {
        command.args(["--config", setting]);
    }
    let ended = run(project, &cargo, TOOLCHAIN_REMEDY, &mut command).await?;
    let lines: Vec<Line> = ended
        .output
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    if !ended.success {
        return Err(failure(project, &lines, &ended.log));
    }
    module_of(&manifest, &lines)
        .ok_or_else(|| BuildError::NoModule { project: project.name().to_owned(), remedy: MODULE_REMEDY })
}

fn module_of(manifest: &Path, lines: &[Line]) -> Option<PathBuf> {
    let manifest = manifest.canonicalize().ok()?;
    lines.iter().find_map(|line| match line {
        Line::Artifact { manifest_path, filenames }
            if manifest_path.canonicalize().is_ok_and(|path| path == manifest) =>
        {
            filenames
                .iter()
                .find(|file| file.extension().is_some_and(|extension| extension == "wasm"))
                .cloned()
        }
        _ => None,
    })
}

/// rustc's errors; where there are none, cargo's own words (a dependency that
/// cannot be had, a manifest with a fault).
fn failure(project: &Project, lines: &[Line], log: &str) -> BuildError {
    let errors: Vec<&Diagnostic> = lines
        .iter()
        .filter_map(|line| match line {
            Line::Diagnostic { message } if message.level == "error" => Some(message),
            _ => None,
        })
        .collect();
    let place = errors.iter().flat_map(|error| &error.spans).find(|span| span.is_primary);
    let place = place.map(|span| {
        // rustc names files from the workspace's root, which may be the project.
        let own = project.dir().join(&span.file_name);
        let file = if own.exists() { own.display().to_string() } else { span.file_name.clone() };
        format!("{file}:{}:{}", span.line_start, span.column_start)
    });
    let mut text: String = errors.iter().filter_map(|error| error.rendered.as_deref()).collect();
    if text.is_empty() {
        log.clone_into(&mut text);
    }
    BuildError::Failed { project: project.name().to_owned(), place, text: text.trim_end().to_owned() }
}
