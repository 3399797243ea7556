//! A real PostgreSQL: the one of the compose stack, its cluster in a temporary
//! folder.

use std::fmt::Display;
use std::io::Write;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::credentials::credentials;
use super::process::Server;
use super::{deploy, free_port, installed, read};

/// The server; ends, and its data with it, on drop.
pub(crate) struct Postgres {
    _server: Server,
    programs: PathBuf,
    port: u16,
    dir: TempDir,
}

impl Postgres {
    /// The one database.
    pub(crate) const DATABASE: &str = "shop";

    /// Starts a server with the database as the compose stack makes it: roles and
    /// publication, no tables.
    pub(crate) fn start() -> Self {
        let programs = installed("DABI_TEST_POSTGRES");
        let dir = TempDir::with_prefix("dabi-postgres-").expect("make a folder for PostgreSQL");
        let user = User::for_servers();
        user.own(dir.path());
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap_or_else(|error| panic!("write {name}: {error}"));
            user.own(&path);
        };
        write("password", &credentials()["POSTGRES_PASSWORD"]);
        // A copy, for the server's user may not read where this repository is.
        write("postgresql.conf", &read(&deploy("postgres/postgresql.conf")));
        make_cluster(&programs, dir.path(), user);

        let port = free_port();
        let (bin, home) = (programs.clone(), dir.path().to_owned());
        let command = move || {
            let mut postgres = user.command(&bin.join("postgres"), &home);
            postgres.args(["-D", "data"]);
            for place in [
                setting("config_file", home.join("postgresql.conf").display()),
                setting("listen_addresses", "127.0.0.1"),
                setting("port", port),
                setting("unix_socket_directories", home.display()),
            ] {
                postgres.args(["-c", &place]);
            }
            postgres
        };
        let (bin, home) = (programs.clone(), dir.path().to_owned());
        let ready = move || {
            let mut probe = Command::new(bin.join("pg_isready"));
            probe
                .args(["--quiet", "--username=postgres", "--dbname=postgres"])
                .arg("--host")
                .arg(&home)
                .args(["--port", &port.to_string()]);
            probe.status().expect("start pg_isready").success()
        };
        let server = Server::start("postgres", dir.path(), command, ready);
        let postgres = Self { _server: server, programs, port, dir };
        postgres.run("postgres", &format!("CREATE DATABASE {}", Self::DATABASE));
        postgres.query(&read(&deploy("postgres/init.sql")));
        postgres
    }

    /// Where it listens, on loopback.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Runs statements as the superuser, each a transaction of its own unless they
    /// say otherwise. What a query gives comes unaligned, what a `COPY … TO STDOUT`
    /// gives as it asks.
    ///
    /// # Panics
    /// If one fails.
    pub(crate) fn query(&self, statements: &str) -> String {
        self.run(Self::DATABASE, statements)
    }

    fn run(&self, database: &str, script: &str) -> String {
        let mut psql = Command::new(self.programs.join("psql"));
        psql.arg("--host").arg(self.dir.path()).args(["--port", &self.port.to_string()]);
        psql.args(["--username", "postgres", "--dbname", database]);
        psql.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1"]);
        psql.envs(credentials()).env("PGTZ", "UTC");
        text(&fed(psql, script), "psql")
    }
}

/// Who the servers run as: PostgreSQL refuses to run as root.
#[derive(Clone, Copy)]
enum User {
    Oneself,
    Other { uid: u32, gid: u32 },
}

impl User {
    fn for_servers() -> Self {
        if !rustix::process::getuid().is_root() {
            return Self::Oneself;
        }
        let id = |of: &str| {
            let mut id = Command::new("id");
            id.args([of, "postgres"]);
            let number = text(&fed(id, ""), "id");
            number.trim().parse().expect("id prints a number")
        };
        Self::Other { uid: id("--user"), gid: id("--group") }
    }

    fn own(self, path: &Path) {
        if let Self::Other { uid, gid } = self {
            chown(path, Some(uid), Some(gid)).expect("give the folder to PostgreSQL's user");
        }
    }

    fn command(self, program: &Path, home: &Path) -> Command {
        let mut command = Command::new(program);
        if let Self::Other { uid, gid } = self {
            command.uid(uid).gid(gid);
        }
        command.current_dir(home);
        command
    }
}

/// Its superuser is let in through the socket, in a folder that is its own; all
/// others show a password.
fn make_cluster(programs: &Path, dir: &Path, user: User) {
    let mut initdb = user.command(&programs.join("initdb"), dir);
    initdb.args(["-D", "data", "--username=postgres", "--auth-local=trust", "--auth-host=scram-sha-256"]);
    initdb.args(["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync", "--pwfile=password"]);
    text(&fed(initdb, ""), "initdb");
}

fn setting(name: &str, value: impl Display) -> String {
    format!("{name}={value}")
}

/// The end of a command that reads `input`.
fn fed(mut command: Command, input: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("it is piped");
    std::thread::scope(|scope| {
        // One that fails early does not read all of it.
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output().expect("it ends")
    })
}

fn text(output: &Output, program: &str) -> String {
    assert!(
        output.status.success(),
        "{program}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}
