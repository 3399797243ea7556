//! A real ClickHouse engine: the helper process, standing alone.

use std::process::Command;

use arrow::array::RecordBatch;
use arrow::ipc::reader::StreamReader;
use bytes::Bytes;
use clickhouse::Client;
use tempfile::TempDir;

use super::process::Server;
use super::{block_on, free_port, installed, workspace_binary};

/// The engine; ends, and its data with it, on drop.
pub(crate) struct ClickHouse {
    /// Its process, for outages.
    pub(crate) server: Server,
    url: String,
    _dir: TempDir,
}

impl ClickHouse {
    /// The password of its user `default`.
    pub(crate) const PASSWORD: &str = "dabi-tests";

    /// Starts an empty engine and waits until it answers.
    pub(crate) fn start() -> Self {
        let library = installed("DABI_CLICKHOUSE_LIB");
        let helper = workspace_binary("dabi-clickhouse");
        let dir = TempDir::with_prefix("dabi-clickhouse-").expect("make a folder for ClickHouse");
        std::fs::write(dir.path().join("password"), Self::PASSWORD).expect("write the password's file");
        let address = format!("127.0.0.1:{}", free_port());
        let url = format!("http://{address}");

        let home = dir.path().to_owned();
        let command = move || {
            let mut engine = Command::new(&helper);
            engine.arg("--lib").arg(&library);
            engine.args(["--path", "data", "--listen", &address, "--password-file", "password"]);
            engine.current_dir(&home);
            engine
        };
        let probe = client(&url);
        let ready = move || block_on(probe.query("SELECT 1").fetch_one::<u8>()).is_ok();
        let server = Server::start("clickhouse", dir.path(), command, ready);
        Self { server, url, _dir: dir }
    }

    /// Where it listens.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Runs one statement; the answer is tab-separated lines.
    pub(crate) fn query(&self, statement: &str) -> String {
        String::from_utf8_lossy(&self.query_as(statement, "TabSeparated")).into_owned()
    }

    /// Runs one SELECT; strings come as bytes, which they may be.
    pub(crate) fn query_arrow(&self, statement: &str) -> Vec<RecordBatch> {
        let statement = format!("{statement} SETTINGS output_format_arrow_string_as_string = 0");
        let answer = self.query_as(&statement, "ArrowStream");
        let batches = StreamReader::try_new(answer.as_ref(), None).expect("an Arrow stream");
        batches.collect::<Result<_, _>>().expect("an Arrow stream")
    }

    /// Runs one statement; the answer is in one of ClickHouse's formats.
    pub(crate) fn query_as(&self, statement: &str, format: &str) -> Bytes {
        let client = client(self.url());
        // The client binds values to single question marks.
        let query = client.query(&statement.replace('?', "??"));
        let answer = block_on(async { query.fetch_bytes(format)?.collect().await });
        answer.unwrap_or_else(|error| panic!("{statement}: {error}"))
    }
}

fn client(url: &str) -> Client {
    Client::default().with_url(url).with_user("default").with_password(ClickHouse::PASSWORD)
}
