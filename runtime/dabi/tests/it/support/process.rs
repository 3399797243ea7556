//! Child processes of a test.
//!
//! Owns their start, signals, output and end. Each is the leader of a process
//! group of its own, so that what it started itself ends with it.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{LazyLock, mpsc};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, getppid, kill_process, kill_process_group, set_parent_process_death_signal,
};

use super::wait_until;

const READY_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(30);
const LOG_TAIL_LINES: usize = 40;

/// A running (or ended) child, killed on drop.
pub(crate) struct Process {
    name: String,
    child: Child,
    output: PathBuf,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its standard output is appended to `<dir>/<name>.out`,
    /// its standard error to `<dir>/<name>.log`.
    pub(crate) fn start(name: &str, mut command: Command, dir: &Path) -> Self {
        let output = dir.join(format!("{name}.out"));
        let log = dir.join(format!("{name}.log"));
        command.stdin(Stdio::null()).stdout(appending(&output)).stderr(appending(&log)).process_group(0);
        end_with_parent(&mut command);
        let child = spawn(command).unwrap_or_else(|error| panic!("start {name}: {error}"));
        Self { name: name.to_owned(), child, output, log }
    }

    /// What it wrote to standard output.
    pub(crate) fn output(&self) -> String {
        read(&self.output)
    }

    /// What it wrote to standard error.
    pub(crate) fn log(&self) -> String {
        read(&self.log)
    }

    /// Its end, if it has come.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be asked for its end")
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let mut status = None;
        wait_until(&format!("{} ends", self.name), limit, || {
            status = self.ended();
            status.is_some()
        });
        status.expect("waited for")
    }

    /// Asks it to end (SIGTERM) and waits for that.
    pub(crate) fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(limit)
    }

    /// Asks it to end as Ctrl-C does (SIGINT) and waits for that.
    pub(crate) fn interrupt(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::INT);
        self.wait(limit)
    }

    /// Ends it where it stands (`kill -9`).
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        self.child.wait().expect("a killed child ends");
    }

    /// Stops its clock (SIGSTOP): connections stay open and nobody answers.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a paused one go on.
    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Memory that it holds now, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = read(Path::new(&format!("/proc/{}/status", self.child.id())));
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a running process has VmRSS");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("VmRSS is a number of kB");
        kibibytes * 1024
    }

    fn signal(&self, signal: Signal) {
        // Until it has been waited for, its id belongs to nobody else.
        kill_process(Pid::from_child(&self.child), signal)
            .unwrap_or_else(|e| panic!("signal {}: {e}", self.name));
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The whole group, and before the wait that frees the leader's id. Where
        // the leader has ended already, the id stays taken while orphans hold it.
        let _gone = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ended = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- end of the log of {}:\n{}", self.name, tail(&self.log()));
        }
    }
}

/// A neighbour that tests take away and bring back, on the same port and data.
pub(crate) struct Server {
    name: &'static str,
    dir: PathBuf,
    command: Box<dyn Fn() -> Command + Send>,
    ready: Box<dyn Fn() -> bool + Send>,
    process: Option<Process>,
}

impl Server {
    /// Describes a server and starts it.
    pub(crate) fn start(
        name: &'static str,
        dir: &Path,
        command: impl Fn() -> Command + Send + 'static,
        ready: impl Fn() -> bool + Send + 'static,
    ) -> Self {
        let (command, ready) = (Box::new(command), Box::new(ready));
        let mut server = Self { name, dir: dir.to_owned(), command, ready, process: None };
        server.restart();
        server
    }

    /// Starts it again after [`Self::stop`] or [`Self::kill`], until it answers.
    pub(crate) fn restart(&mut self) {
        assert!(self.process.is_none(), "{} is running", self.name);
        let process = self.process.insert(Process::start(self.name, (self.command)(), &self.dir));
        wait_until(&format!("{} answers", self.name), READY_LIMIT, || {
            let ended = process.ended();
            assert!(ended.is_none(), "{} ended at start: {ended:?}", self.name);
            (self.ready)()
        });
    }

    /// Orderly end.
    pub(crate) fn stop(&mut self) {
        self.take().terminate(STOP_LIMIT);
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        self.take().kill();
    }

    /// See [`Process::pause`].
    pub(crate) fn pause(&self) {
        self.running().pause();
    }

    /// See [`Process::resume`].
    pub(crate) fn resume(&self) {
        self.running().resume();
    }

    fn running(&self) -> &Process {
        self.process.as_ref().unwrap_or_else(|| panic!("{} is not running", self.name))
    }

    fn take(&mut self) -> Process {
        self.process.take().unwrap_or_else(|| panic!("{} is not running", self.name))
    }
}

/// Has the system kill the child when this process ends in any way.
fn end_with_parent(command: &mut Command) {
    let parent = Pid::from_raw(std::process::id().cast_signed());
    let hook = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before the line above.
        if getppid() == parent { Ok(()) } else { Err(std::io::Error::other("the test has ended")) }
    };
    // SAFETY: between fork and exec only async-signal-safe calls are allowed;
    // the hook makes two plain system calls and takes no lock.
    unsafe { command.pre_exec(hook) };
}

/// Starts children from one thread that never ends, because to the system the
/// parent whose death [`end_with_parent`] speaks of is a thread.
fn spawn(command: Command) -> std::io::Result<Child> {
    type Answer = mpsc::Sender<std::io::Result<Child>>;
    static SPAWNER: LazyLock<mpsc::Sender<(Command, Answer)>> = LazyLock::new(|| {
        let (requests, inbox) = mpsc::channel::<(Command, Answer)>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _asker_gone = answer.send(command.spawn());
            }
        });
        requests
    });
    let (answer, child) = mpsc::channel();
    SPAWNER.send((command, answer)).expect("the spawner never ends");
    child.recv().expect("the spawner answers")
}

fn appending(path: &Path) -> File {
    let file = OpenOptions::new().create(true).append(true).open(path);
    file.unwrap_or_else(|error| panic!("open {}: {error}", path.display()))
}

fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("read {}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn tail(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}
