//! A real Kafka Connect with Debezium: the worker of the compose stack.

use std::net::TcpStream;
use std::os::unix::fs::symlink;
use std::process::Command;

use tempfile::TempDir;

use super::credentials::credentials;
use super::kafka::{Kafka, jvm};
use super::postgres::Postgres;
use super::process::{Process, Server};
use super::{deploy, free_port, installed, wait_until};
use std::time::Duration;

/// Registering waits for the first events.
const REGISTER_LIMIT: Duration = Duration::from_secs(60);

/// The worker; ends on drop.
pub(crate) struct Connect {
    /// Its process, for kills.
    pub(crate) server: Server,
    url: String,
    dir: TempDir,
}

impl Connect {
    /// Starts a worker that knows of no connector, and waits until it answers.
    pub(crate) fn start(kafka: &Kafka, postgres: &Postgres) -> Self {
        let distribution = installed("DABI_TEST_KAFKA");
        let dir = TempDir::with_prefix("dabi-connect-").expect("make a folder for Connect");
        let plugins = distribution.join("connect");
        assert!(plugins.is_dir(), "{} does not exist: run `make setup-tests`", plugins.display());
        symlink(plugins, dir.path().join("connect")).expect("link the plugins' folder");

        let port = free_port();
        let url = format!("http://127.0.0.1:{port}");
        let mut environment = credentials();
        for (name, value) in [
            ("BOOTSTRAP_SERVERS", kafka.brokers()),
            ("REST_LISTENERS", &url),
            ("POSTGRES_HOST", "127.0.0.1"),
            ("POSTGRES_PORT", &postgres.port().to_string()),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        let home = dir.path().to_owned();
        let command = move || {
            let mut worker = jvm(&distribution.join("libs"));
            worker.arg("org.apache.kafka.connect.cli.ConnectDistributed");
            worker.arg(deploy("connect/worker.properties"));
            worker.current_dir(&home).envs(&environment);
            worker
        };
        let ready = move || TcpStream::connect(("127.0.0.1", port)).is_ok();
        let server = Server::start("connect", dir.path(), command, ready);
        Self { server, url, dir }
    }

    /// Registers the shop's connector as the compose stack does, and waits for its
    /// first events.
    pub(crate) fn register(&self) {
        let mut register = Command::new(deploy("connect/register.sh"));
        register.arg(&self.url);
        let mut register = Process::start("register", register, self.dir.path());
        let status = register.wait(REGISTER_LIMIT);
        assert!(status.success(), "register.sh: {status}\n{}", register.log());
    }

    /// Takes the shop's connector away, with its offsets and its slot: one that is
    /// registered later begins with a snapshot.
    pub(crate) fn forget(&self, postgres: &Postgres) {
        let connector = format!("{}/connectors/shop", self.url);
        ureq::put(format!("{connector}/stop")).send_empty().expect("Connect stops it");
        wait_until("the connector is stopped", REGISTER_LIMIT, || {
            let status = ureq::get(format!("{connector}/status")).call().expect("Connect answers");
            let status = status.into_body().read_to_string().expect("a text");
            status.contains(r#""state":"STOPPED""#) && status.contains(r#""tasks":[]"#)
        });
        ureq::delete(format!("{connector}/offsets")).call().expect("Connect forgets its offsets");
        ureq::delete(&connector).call().expect("Connect removes it");
        let idle = "SELECT count(*) FROM pg_replication_slots WHERE NOT active";
        wait_until("nobody reads the slot", REGISTER_LIMIT, || postgres.query(idle).trim() == "1");
        postgres.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots");
    }
}
