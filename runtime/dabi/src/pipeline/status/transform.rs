//! What is known of one transform, for the page and the terminal.

use serde::Serialize;

use crate::build::{BuildError, Built, Language};
use crate::transform::Module;

/// A transform as it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TransformReport {
    /// Its entry in the transforms' folder: a project's folder, or a .wasm.
    pub entry: String,
    /// Its name; that of the entry until a module tells it.
    pub name: String,
    /// The table that it reads, once a module tells.
    pub source: Option<String>,
    /// The views that it fills.
    pub targets: Vec<String>,
    /// Its language; `None` for a finished .wasm.
    pub language: Option<&'static str>,
    /// SHA-256 of the module that events go through; `None` if there is none.
    pub module: Option<String>,
    /// How it is.
    pub state: TransformState,
    /// Why it is stopped, or what was not taken up.
    pub reason: Option<String>,
    /// Since when events go through its module, ms since 1970.
    pub since_ms: Option<u64>,
    /// When the first events went through it, ms since 1970.
    pub first_batch_ms: Option<u64>,
    /// Its last build.
    pub last_build: Option<BuildReport>,
    /// What readers of its tables should know.
    pub note: Option<String>,
    /// What its author should know, although its tables are right by their
    /// definition; counted since the start.
    pub remarks: Vec<String>,
    /// How often its module was replaced since the start.
    pub reloads: u64,
    #[serde(skip)]
    is_building: bool,
    #[serde(skip)]
    stopped: Option<String>,
    #[serde(skip)]
    refused: Option<String>,
    #[serde(skip)]
    is_retired: bool,
}

/// How a transform is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TransformState {
    /// Its source is being built; the module from before, if any, goes on.
    #[default]
    Building,
    /// Events go through its newest module.
    Live,
    /// Its newest source or module was not taken up; the one from before, if
    /// any, goes on.
    Failed,
    /// It failed too often, and events no longer go through it.
    Stopped,
    /// It was taken out of the folder; its tables stay as they are.
    Retired,
}

/// A build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BuildReport {
    /// When it ended, ms since 1970.
    pub at_ms: u64,
    /// How long it took, ms; `None` if it failed.
    pub took_ms: Option<u64>,
    /// Is there a module?
    pub ok: bool,
    /// What is wrong, with file and line.
    pub error: Option<String>,
}

impl TransformReport {
    pub(super) fn new(entry: &str) -> Self {
        let name = entry.strip_suffix(".wasm").unwrap_or(entry).to_owned();
        Self { entry: entry.to_owned(), name, ..Self::default() }
    }

    /// Its source is being built.
    pub(in crate::pipeline) fn building(&mut self, language: Language) {
        self.language = Some(language.name());
        self.is_building = true;
    }

    /// A build has ended `now_ms`.
    pub(in crate::pipeline) fn built(&mut self, build: &Result<Built, BuildError>, now_ms: u64) {
        self.is_building = false;
        let took_ms = build.as_ref().ok().map(|built| millis(built.took));
        let error = build.as_ref().err().map(ToString::to_string);
        self.refused.clone_from(&error);
        self.last_build = Some(BuildReport { at_ms: now_ms, took_ms, ok: error.is_none(), error });
    }

    /// What was built or dropped is not taken up.
    pub(in crate::pipeline) fn refused(&mut self, reason: String) {
        self.refused = Some(reason);
    }

    /// What is in the folder is what events go through already.
    pub(in crate::pipeline) fn unchanged(&mut self) {
        self.refused = None;
    }

    /// From `now_ms` on, events go through `module`.
    pub(in crate::pipeline) fn live(&mut self, module: &Module, now_ms: u64) {
        let spec = module.spec();
        self.name.clone_from(&spec.name);
        self.source = Some(spec.source.to_string());
        self.targets = spec.targets.iter().map(|target| target.table.clone()).collect();
        self.module = Some(module.hash().to_string());
        (self.since_ms, self.first_batch_ms) = (Some(now_ms), None);
        (self.refused, self.stopped, self.note, self.is_retired) = (None, None, None, false);
    }

    /// It failed too often.
    pub(in crate::pipeline) fn stopped(&mut self, reason: String) {
        self.stopped = Some(reason);
    }

    /// It was taken out of the folder.
    pub(in crate::pipeline) fn retired(&mut self) {
        self.is_retired = true;
        (self.module, self.refused, self.stopped, self.note) = (None, None, None, None);
        self.remarks.clear();
    }

    /// Brings what is shown in line with what is known.
    pub(super) fn settle(&mut self) {
        self.state = if self.is_building {
            TransformState::Building
        } else if self.stopped.is_some() {
            TransformState::Stopped
        } else if self.refused.is_some() {
            TransformState::Failed
        } else if self.is_retired {
            TransformState::Retired
        } else {
            TransformState::Live
        };
        // Of a stopped one the newest news are of what should mend it.
        self.reason = self.refused.clone().or_else(|| self.stopped.clone());
    }
}

/// A span as reports and logs tell it.
pub(in crate::pipeline) fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
