//! The `dabi` binary under test, with settings and a folder of its own.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

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

    /// Runs `dabi` with `arguments` to its end, at most for `limit`: its exit code,
    /// and what it wrote to standard output and to the log.
    pub(crate) fn ask(&self, arguments: &[&str], limit: Duration) -> (i32, String, String) {
        // Both files are appended to.
        let size = |name: &str| std::fs::read_to_string(self.home().join(name)).map_or(0, |text| text.len());
        let (output, log) = (size("dabi.out"), size("dabi.log"));
        let mut process = self.start(arguments);
        let code = process.wait(limit).code().expect("it ends by itself");
        (code, process.output().split_off(output), process.log().split_off(log))
    }

    /// Starts `dabi` with `arguments`; output and log of all its processes run on.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        self.start_with(arguments, &[])
    }

    /// The same, with `variables` in the environment of this process alone.
    pub(crate) fn start_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dabi"));
        command.args(arguments).current_dir(self.home());
        command.envs(self.environment.iter().cloned()).envs(variables.iter().copied());
        Process::start("dabi", command, self.home())
    }
}
