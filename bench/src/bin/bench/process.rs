//! Child processes, and what the kernel says of them.
//!
//! Owns starting, ending and measuring. Invariant: no child outlives the bench,
//! however that ends.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process, set_parent_process_death_signal, waitid,
};

const STOP_LIMIT: Duration = Duration::from_secs(30);
const LOG_TAIL_LINES: usize = 20;

/// A running child; killed on drop.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// User and system time of all its threads, ended ones included.
    pub(crate) cpu: Duration,
    /// The most memory it ever held.
    pub(crate) rss_bytes_max: u64,
}

impl Process {
    /// Starts `command`, its standard error in `<folder>/<name>.log`.
    pub(crate) fn start(name: &'static str, mut command: Command, folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let log = folder.join(format!("{name}.log"));
        command.stderr(File::create(&log).with_context(|| format!("create {}", log.display()))?);
        // SAFETY: between fork and exec only async-signal-safe calls are
        // allowed, and prctl is one. The thread that starts children is the
        // main thread, whose end is the end of the bench.
        unsafe {
            command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?));
        }
        let child =
            command.spawn().with_context(|| format!("start {name} ({})", command.get_program().display()))?;
        Ok(Self { name, child, log })
    }

    /// The child, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Fails, with the end of its log, if it has ended.
    pub(crate) fn ensure_running(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended: {status}\n{}", self.name, self.log_tail()),
        }
    }

    /// Has it ended? It is not reaped, so its usage can still be read.
    pub(crate) fn has_ended(&self) -> anyhow::Result<bool> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        Ok(waitid(WaitId::Pid(Pid::from_child(&self.child)), options)?.is_some())
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let id = self.child.id();
        Ok(Usage { cpu: cpu(id)?, rss_bytes_max: rss_bytes_max(id)? })
    }

    /// Waits for its end, and fails with the end of its log unless it was orderly.
    pub(crate) fn wait(mut self) -> anyhow::Result<()> {
        let status = self.child.wait()?;
        self.ensure_success(status)
    }

    /// Asks it to end (SIGTERM) and waits for that; fails unless it ends well.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return self.ensure_success(status);
            }
            ensure!(start.elapsed() < STOP_LIMIT, "{} does not end\n{}", self.name, self.log_tail());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn ensure_success(&self, status: ExitStatus) -> anyhow::Result<()> {
        ensure!(status.success(), "{} ended: {status}\n{}", self.name, self.log_tail());
        Ok(())
    }

    fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _ended = self.child.wait();
    }
}

fn cpu(id: u32) -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).context("read /proc/<pid>/stat")?;
    // The command's name, in parentheses, may hold anything.
    let (_, fields) = stat.rsplit_once(')').context("read /proc/<pid>/stat")?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(str::parse::<u64>);
    let ticks = ticks.sum::<Result<u64, _>>().context("read the CPU time in /proc/<pid>/stat")?;
    Ok(Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()))
}

/// Zero for a process that has ended: its memory is gone.
fn rss_bytes_max(id: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).context("read /proc/<pid>/status")?;
    let Some(line) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) else { return Ok(0) };
    let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().context("read VmHWM")?;
    Ok(kibibytes * 1024)
}
