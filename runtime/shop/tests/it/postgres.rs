//! A real PostgreSQL of its own, and the shop writing to it.

use std::io::Read as _;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};
use tempfile::TempDir;
use tokio_postgres::NoTls;

/// For anything that a machine with nothing else to do finishes in seconds.
const LIMIT: Duration = Duration::from_secs(150);

/// A server on a loopback port, ended on drop.
pub(crate) struct Postgres {
    home: TempDir,
    port: u16,
    server: Option<Child>,
}

impl Postgres {
    /// An empty one that runs.
    pub(crate) fn start() -> Self {
        let mut postgres = Self::stopped();
        postgres.run();
        postgres
    }

    /// One that does not listen yet.
    pub(crate) fn stopped() -> Self {
        let home = TempDir::new().expect("make a folder for PostgreSQL");
        if let Some((user, group)) = server_user() {
            std::os::unix::fs::chown(home.path(), Some(user), Some(group))
                .expect("give PostgreSQL its folder");
        }
        let postgres = Self { home, port: free_port(), server: None };
        let made = postgres
            .program("initdb")
            .args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"])
            .arg("-D")
            .arg(postgres.data())
            .output()
            .expect("start initdb");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        postgres
    }

    /// Starts the server on its port and data.
    pub(crate) fn run(&mut self) {
        let log = std::fs::File::create(self.home.path().join("log")).expect("create PostgreSQL's log");
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string()]);
        for setting in
            ["listen_addresses=127.0.0.1", "unix_socket_directories=", "fsync=off", "wal_level=logical"]
        {
            command.args(["-c", setting]);
        }
        self.server = Some(command.stderr(log).spawn().expect("start PostgreSQL"));
        wait_until("PostgreSQL answers", || self.try_rows("SELECT 'up'").is_some());
    }

    /// Ends the server as its operator would, connections and all.
    pub(crate) fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            signal(&server, Signal::INT);
            server.wait().expect("PostgreSQL ends");
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// The answer's rows, each as the text of its only column.
    pub(crate) fn rows(&self, sql: &str) -> Vec<String> {
        self.try_rows(sql).unwrap_or_else(|| panic!("PostgreSQL did not answer {sql}"))
    }

    pub(crate) fn count(&self, table: &str) -> i64 {
        self.rows(&format!("SELECT count(*)::text FROM {table}"))[0].parse().expect("a number")
    }

    fn try_rows(&self, sql: &str) -> Option<Vec<String>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().ok()?;
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&self.url(), NoTls).await.ok()?;
            tokio::spawn(connection);
            let answer = client.simple_query(sql).await.ok()?;
            let rows = answer.iter().filter_map(|message| match message {
                tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
                _ => None,
            });
            Some(rows.collect())
        })
    }

    fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let folder = std::env::var("DABI_TEST_POSTGRES").unwrap_or("/usr/lib/postgresql/15/bin".to_owned());
        let path = Path::new(&folder).join(name);
        assert!(path.exists(), "{} is missing: run `make setup-tests`, then `. .ci/env`", path.display());
        let mut command = Command::new(path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).current_dir(self.home.path());
        // PostgreSQL refuses to run as root.
        if let Some((user, group)) = server_user() {
            command.uid(user).gid(group);
        }
        end_with_parent(&mut command);
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop();
    }
}

/// `dabi-shop sql` on a database, killed on drop.
pub(crate) struct ShopProcess(Child);

impl ShopProcess {
    pub(crate) fn start(postgres: &Postgres, arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dabi-shop"));
        command.arg("sql").args(["--url", &postgres.url()]).args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        end_with_parent(&mut command);
        Self(command.spawn().expect("start dabi-shop"))
    }

    /// Asks it to end.
    pub(crate) fn terminate(&self) {
        signal(&self.0, Signal::TERM);
    }

    /// Waits for its end; gives what it said.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut status = None;
        wait_until("dabi-shop ends", || {
            status = self.0.try_wait().expect("a child can be asked for its end");
            status.is_some()
        });
        let mut said = String::new();
        let mut stderr = self.0.stderr.take().expect("stderr is piped");
        stderr.read_to_string(&mut said).expect("dabi-shop speaks UTF-8");
        (status.expect("waited for"), said)
    }
}

impl Drop for ShopProcess {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Asks `done` until it says so.
pub(crate) fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LIMIT, "waited {LIMIT:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A port that nobody listens on, below those of outgoing connections: there, a
/// shop that keeps trying a stopped server would end up connected to itself.
fn free_port() -> u16 {
    let first = 15_000 + u16::try_from(std::process::id() % 15_000).expect("below 15,000");
    let mut ports = (first..32_000).chain(15_000..first);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).expect("signal a child");
}

/// Nothing outlives a test process that is killed.
fn end_with_parent(command: &mut Command) {
    // SAFETY: one system call, which allocates nothing.
    unsafe { command.pre_exec(|| Ok(set_parent_process_death_signal(Some(Signal::KILL))?)) };
}

/// User and group `postgres`, where this is root.
fn server_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let fields =
        users.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|fields| fields[0] == "postgres");
    let fields = fields.expect("a user postgres, because PostgreSQL does not run as root");
    Some((fields[2].parse().expect("a user id"), fields[3].parse().expect("a group id")))
}
