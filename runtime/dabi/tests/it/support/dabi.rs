//! The `dabi` binary under test, with settings and a folder of its own.

use std::path::Path;
use std::process::Command;

use tempfile::TempDir;

use super::process::Process;

/// A pipeline's folder and settings; what it runs in outlives its processes.
pub(crate) struct Dabi {
    home: TempDir,
    environment: Vec<(String, String)>,
}

impl Dabi {
    /// A pipeline with `settings` as its dabi.toml.
    pub(crate) fn new(settings: &str) -> Self {
        let home = TempDir::with_prefix("dabi-test-").expect("make a folder for dabi");
        std::fs::write(home.path().join("dabi.toml"), settings).expect("write dabi.toml");
        Self { home, environment: Vec::new() }
    }

    /// Sets variables in the environment of what is started from now on.
    pub(crate) fn environment(&mut self, variables: &[(&str, &str)]) {
        self.environment.extend(variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())));
    }

    /// The working folder of its processes.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Starts `dabi` with `arguments`; output and log of all its processes run on.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dabi"));
        command.args(arguments).current_dir(self.home()).envs(self.environment.iter().cloned());
        Process::start("dabi", command, self.home())
    }
}
