//! The transforms of a folder: found, built, loaded, and fit to run together.
//!
//! Owns what an entry of the folder is, and the rules between transforms. Does
//! not own how a project is built (`build`) or a module loaded (`transform`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dabi_core::spec::Spec;
use dabi_core::star::TargetTable;

use super::PipelineError;
use super::status::{Status, now_ms};
use crate::build::Project;
use crate::transform::{Module, Runtime, TransformSettings};

/// The first generation of a target's table.
pub(super) const FIRST_GENERATION: u32 = 1;

/// A module, and the entry of the folder that it came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The name of a project's folder, or of a .wasm.
    pub entry: String,
    /// The module.
    pub module: Module,
}

impl Loaded {
    /// Does its declaration ask for row state? (Whether its target's key is the
    /// source's is known only with the first event.)
    pub(super) fn needs_row_state(&self) -> bool {
        needs_row_state(&self.module)
    }
}

/// As [`Loaded::needs_row_state`].
pub(super) fn needs_row_state(module: &Module) -> bool {
    !module.spec().stateful_reasons(None).is_empty()
}

/// What an entry of the transforms' folder is.
pub(super) enum Found {
    /// Source, to be built.
    Project(Project),
    /// A finished module.
    Module(PathBuf),
    /// Not there, or nothing of ours.
    Nothing,
}

/// Looks at an entry of `dir`.
pub(super) fn look(dir: &Path, entry: &str) -> Found {
    let path = dir.join(entry);
    if let Some(project) = Project::at(&path) {
        return Found::Project(project);
    }
    let is_module = path.extension().is_some_and(|extension| extension == "wasm") && path.is_file();
    if is_module { Found::Module(path) } else { Found::Nothing }
}

/// The names of everything in `dir`.
pub(super) fn entries(dir: &Path) -> Result<BTreeSet<String>, PipelineError> {
    let unreadable = |error: std::io::Error| {
        PipelineError::Transforms(format!(
            "read the transforms' folder {}: {error}; create it, or set transforms.dir",
            dir.display()
        ))
    };
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        // A name that is no text cannot name a transform.
        names.extend(entry.map_err(unreadable)?.file_name().into_string());
    }
    Ok(names)
}

/// Builds every project of the transforms' folder, loads every module and
/// checks them against each other. A project that does not build is told in
/// `status`; its last module stands in for it where there is one.
///
/// # Errors
/// If a finished module cannot be loaded, or two claim the same source or target.
pub async fn load_transforms(
    settings: &TransformSettings,
    runtime: &Runtime,
    status: &Status,
) -> Result<Vec<Loaded>, PipelineError> {
    let mut files = Vec::new();
    for entry in entries(&settings.dir)? {
        match look(&settings.dir, &entry) {
            Found::Project(project) => {
                build(&entry, &project, settings, status).await;
                let module = project.module(&settings.build_dir);
                if module.is_file() {
                    files.push((entry, module, true));
                }
            }
            Found::Module(path) => files.push((entry, path, false)),
            Found::Nothing => {}
        }
    }
    let (runtime, status) = (runtime.clone(), status.clone());
    tokio::task::spawn_blocking(move || load(&runtime, &status, files)).await.expect("loading does not panic")
}

async fn build(entry: &str, project: &Project, settings: &TransformSettings, status: &Status) {
    status.transform(entry, |transform| transform.building(project.language()));
    tracing::info!("building {}", project.dir().display());
    let build = project.build(&settings.build_dir).await;
    if let Err(error) = &build {
        tracing::error!("{error}");
    }
    status.transform(entry, |transform| transform.built(&build, now_ms()));
}

/// Loads `files` (entry, module, was it built from source?). Blocks: modules
/// are compiled.
fn load(
    runtime: &Runtime,
    status: &Status,
    files: Vec<(String, PathBuf, bool)>,
) -> Result<Vec<Loaded>, PipelineError> {
    let mut all: Vec<Loaded> = Vec::new();
    for (entry, path, is_built) in files {
        let bytes = std::fs::read(&path).map_err(|error| {
            PipelineError::Transforms(format!("read the transform {}: {error}", path.display()))
        })?;
        match Module::load(runtime, &path.display().to_string(), &bytes) {
            Ok(module) => all.push(Loaded { entry, module }),
            // The source is there to be mended; meanwhile the others go on.
            Err(error) if is_built => {
                tracing::error!("{error}");
                status.transform(&entry, |transform| transform.refused(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        }
    }
    for (index, loaded) in all.iter().enumerate() {
        let spec = loaded.module.spec();
        if let Some(conflict) = all[..index].iter().find_map(|other| conflict(other.module.spec(), spec)) {
            return Err(PipelineError::Transforms(conflict));
        }
    }
    let specs: Vec<&Spec> = all.iter().map(|loaded| loaded.module.spec()).collect();
    for spec in &specs {
        spec.validate_references(&specs).map_err(|cause| PipelineError::Transforms(cause.to_string()))?;
    }
    Ok(all)
}

/// Why `other` cannot run beside `one`.
pub(super) fn conflict(one: &Spec, other: &Spec) -> Option<String> {
    let (a, b) = (&one.name, &other.name);
    if a == b {
        return Some(format!(
            "two transforms have the name {a}; rename one of them, or take one out of the folder"
        ));
    }
    if one.source == other.source && one.keeps_changes() == other.keeps_changes() {
        return Some(format!(
            "transforms {a} and {b} both read {}; one transform per source table, and one that keeps its changes \
             (append): give one of them all targets, or take one out of the folder",
            one.source
        ));
    }
    let is_claimed = |table: &str| one.targets.iter().any(|target| target.table == table);
    let twice = other.targets.iter().find(|target| is_claimed(&target.table))?;
    Some(format!("transforms {a} and {b} both fill {}; rename the target of one of them", twice.table))
}

/// The tables that a transform fills.
pub(super) fn tables(spec: &Spec, generation: u32) -> Vec<TargetTable> {
    spec.targets.iter().map(|target| TargetTable::new(spec, target, generation)).collect()
}
