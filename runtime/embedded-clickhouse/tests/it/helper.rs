//! Starting the helper and speaking plain HTTP to it, byte by byte where a
//! test needs to break off.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

pub(crate) const PASSWORD: &str = "secret";
/// As pinned by `dabi setup clickhouse`.
const VERSION: &str = "26.7.3-stable.1";

/// The engine's library; a machine without it cannot run these tests.
fn library() -> PathBuf {
    if let Some(path) = std::env::var_os("DABI_CLICKHOUSE_LIB") {
        return path.into();
    }
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let cache = variable("DABI_CACHE")
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("dabi")))
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache/dabi")));
    let path = cache.unwrap_or_default().join("clickhouse").join(VERSION).join("libchdb.so");
    assert!(path.exists(), "no ClickHouse library at {}: run `make setup` once", path.display());
    path
}

/// A running helper; killed when dropped.
pub(crate) struct Helper {
    process: Child,
    stdin: Option<ChildStdin>,
    pub(crate) port: u16,
}

impl Helper {
    /// A helper on a folder of its own.
    pub(crate) fn start() -> (Self, TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Self::on(folder.path()).expect("the helper starts"), folder)
    }

    /// A helper on `folder`, or what it says on stderr.
    pub(crate) fn on(folder: &Path) -> Result<Self, String> {
        Self::with(folder, &[])
    }

    pub(crate) fn with(folder: &Path, arguments: &[&str]) -> Result<Self, String> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_dabi-clickhouse"))
            .arg("--lib")
            .arg(library())
            .arg("--path")
            .arg(folder)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = process.stdin.take().unwrap();
        writeln!(stdin, "{PASSWORD}").unwrap();
        let mut ready = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        if ready.is_empty() {
            process.wait().unwrap();
            let mut errors = String::new();
            process.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
            return Err(errors);
        }
        // Nobody reads it from here on, and a full pipe would stop the helper.
        let mut errors = process.stderr.take().unwrap();
        std::thread::spawn(move || std::io::copy(&mut errors, &mut std::io::sink()));
        let ready: serde_json::Value = serde_json::from_str(&ready).unwrap();
        let port = u16::try_from(ready["port"].as_u64().unwrap()).unwrap();
        Ok(Self { process, stdin: Some(stdin), port })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// kill -9
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Closes its standard input, as the end of its parent does, and waits.
    pub(crate) fn leave(mut self) -> std::process::ExitStatus {
        drop(self.stdin.take());
        self.process.wait().unwrap()
    }

    /// SIGTERM, and waits.
    pub(crate) fn terminate(mut self) -> std::process::ExitStatus {
        let pid = rustix::process::Pid::from_child(&self.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.process.wait().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Begins a POST; the body is the caller's to write.
    pub(crate) fn begin(&self, parameters: &[(&str, &str)], headers: &[(&str, &str)]) -> TcpStream {
        self.begin_as("POST", parameters, headers)
    }

    pub(crate) fn begin_as(
        &self,
        method: &str,
        parameters: &[(&str, &str)],
        headers: &[(&str, &str)],
    ) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let query: Vec<String> =
            parameters.iter().map(|(name, value)| format!("{name}={}", percent(value))).collect();
        let mut head = format!("{method} /?{} HTTP/1.1\r\nConnection: close\r\n", query.join("&"));
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        for (name, value) in
            [("Host", "127.0.0.1"), ("X-ClickHouse-User", "default"), ("X-ClickHouse-Key", PASSWORD)]
        {
            if !headers.iter().any(|(given, _)| *given == name) {
                head += &format!("{name}: {value}\r\n");
            }
        }
        stream.write_all((head + "\r\n").as_bytes()).unwrap();
        stream
    }

    /// A POST with a whole body.
    pub(crate) fn post(&self, parameters: &[(&str, &str)], headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let length = body.len().to_string();
        let headers: Vec<_> = headers.iter().copied().chain([("Content-Length", length.as_str())]).collect();
        let mut stream = self.begin(parameters, &headers);
        stream.write_all(body).unwrap();
        Answer::read(stream)
    }

    /// A statement in a body, its answer as text.
    pub(crate) fn query(&self, sql: &str) -> Answer {
        self.post(&[], &[], sql.as_bytes())
    }

    /// A statement that must succeed.
    #[track_caller]
    pub(crate) fn ok(&self, sql: &str) -> String {
        let answer = self.query(sql);
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
        answer.text().trim_end().to_owned()
    }

    /// Inserts `body`, which must succeed.
    #[track_caller]
    pub(crate) fn insert(&self, sql: &str, body: &[u8]) {
        let answer = self.post(&[("query", sql)], &[], body);
        assert_eq!(answer.status, 200, "{sql}: {}", answer.text());
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn percent(text: &str) -> String {
    text.bytes().map(|b| format!("%{b:02X}")).collect()
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
    /// The body ended as HTTP says it should.
    pub(crate) complete: bool,
}

impl Answer {
    pub(crate) fn read(mut stream: TcpStream) -> Self {
        let mut bytes = Vec::new();
        // A connection that the other side broke is an answer, too.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an answer has a head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let rest = &bytes[end + 4..];
        let (body, complete) =
            if head.contains("transfer-encoding: chunked") { dechunk(rest) } else { (rest.to_vec(), true) };
        Self { status, head, body, complete }
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")))
    }

    /// `X-ClickHouse-Exception-Code`
    pub(crate) fn code(&self) -> Option<u32> {
        self.header("x-clickhouse-exception-code").map(|code| code.parse().unwrap())
    }
}

fn dechunk(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(line) = rest.windows(2).position(|w| w == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..line]).unwrap(), 16).unwrap();
        let data = &rest[line + 2..];
        if length == 0 {
            return (body, true);
        }
        body.extend(&data[..length.min(data.len())]);
        let Some(next) = data.get(length + 2..) else { break };
        rest = next;
    }
    (body, false)
}
