//! ClickHouse away, killed, frozen, lying: waited for, and nothing lost or doubled.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use dabi::pipeline::Status;
use dabi::warehouse::{Warehouse, WarehouseError};
use rustix::process::{Pid, Signal, kill_process};
use tokio_util::sync::CancellationToken;

use super::embedded::{PATIENCE, helper};
use super::{Fixture, batch, note, notes, settings};
use crate::support::{block_on, wait_until};

#[test]
fn a_load_goes_on_through_kills_of_the_engine() {
    const INSERTS: u64 = 60;
    const ROWS: i64 = 500;
    let fixture = Fixture::start();
    let table = notes();
    fixture.ensure(&table).unwrap();
    let stored = AtomicUsize::new(0);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            for version in 1..=INSERTS {
                let first = i64::try_from(version).unwrap() * ROWS;
                let rows: Vec<_> = (first..first + ROWS).map(|id| note(id, version)).collect();
                fixture.insert(&table, batch(&rows), &format!("load-{version}"));
                stored.fetch_add(1, Ordering::Relaxed);
            }
        });
        for kills in 1..=3 {
            wait_until("some inserts are stored", PATIENCE, || {
                load.is_finished() || stored.load(Ordering::Relaxed) >= kills * 10
            });
            kill_process(helper(fixture.folder.path()), Signal::KILL).unwrap();
            thread::sleep(Duration::from_millis(500));
        }
        load.join().unwrap();
    });
    let rows = INSERTS * u64::try_from(ROWS).unwrap();
    // Not only by key: a token keeps a repeated insert from being stored twice.
    assert_eq!(fixture.count("star.f__g1"), rows);
    assert_eq!(fixture.count("star.f"), rows);
    assert!(fixture.status.report().waiting.is_empty());
}

#[test]
fn inserts_slow_down_when_merges_do_not_keep_up() {
    let fixture = Fixture::start();
    let table = notes();
    fixture.ensure(&table).unwrap();
    fixture.execute("SYSTEM STOP MERGES star.f__g1");
    // One part for each block.
    fixture.execute(
        "INSERT INTO star.f__g1 (id, _version) SELECT number, 1 FROM numbers(340) \
         SETTINGS max_block_size = 1, min_insert_block_size_rows = 1, min_insert_block_size_bytes = 1",
    );
    let begun = Instant::now();
    fixture.insert(&table, batch(&[note(1, 2)]), "a");
    assert!(begun.elapsed() >= Duration::from_millis(150), "{:?}", begun.elapsed());
}

/// A process that does nothing; it goes on when this is dropped.
struct Frozen(Pid);

impl Frozen {
    fn freeze(process: Pid) -> Self {
        kill_process(process, Signal::STOP).unwrap();
        Self(process)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        kill_process(self.0, Signal::CONT).unwrap();
    }
}

#[test]
fn a_frozen_engine_is_waited_for_visibly() {
    let fixture = Fixture::start();
    fixture.ensure(&notes()).unwrap();
    let frozen = Frozen::freeze(helper(fixture.folder.path()));
    thread::scope(|scope| {
        let insert = scope.spawn(|| fixture.insert(&notes(), batch(&[note(1, 1)]), "a"));
        wait_until("the status names ClickHouse", PATIENCE, || {
            fixture.status.report().waiting.contains_key("clickhouse")
        });
        drop(frozen);
        insert.join().unwrap();
    });
    assert_eq!(fixture.count("star.f__g1"), 1);
    assert!(fixture.status.report().waiting.is_empty());
}

#[test]
fn waiting_ends_when_the_pipeline_stops() {
    let fixture = Fixture::start();
    fixture.ensure(&notes()).unwrap();
    let _frozen = Frozen::freeze(helper(fixture.folder.path()));
    let stop = CancellationToken::new();
    thread::scope(|scope| {
        let insert = scope.spawn(|| fixture.try_insert("f__g1", batch(&[note(1, 1)]), "a", &stop));
        thread::sleep(Duration::from_millis(300));
        stop.cancel();
        let error = insert.join().unwrap().unwrap_err();
        assert!(matches!(error, WarehouseError::Stopped(_)), "{error}");
    });
}

/// An answer with status 200.
fn answer(header: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\n{header}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

/// A server that gives `bad` as its first answer, then answers as if all was well.
fn lying_server(bad: String) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_request(&mut stream);
            let lies = counter.fetch_add(1, Ordering::SeqCst) == 0;
            let answer = if lies { bad.clone() } else { answer("", "") };
            // A client that is gone already is none of this test's business.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (url, asked)
}

/// Reads until the body has ended, by its length or its last chunk.
fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let n = stream.read(&mut piece).unwrap_or(0);
        request.extend_from_slice(&piece[..n]);
        let text = String::from_utf8_lossy(&request).to_ascii_lowercase();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            assert!(n > 0, "a request without an end: {text}");
            continue;
        };
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if n == 0 || length.map_or(body.ends_with("0\r\n\r\n"), |length| body.len() >= length) {
            return;
        }
    }
}

/// Connects to a server whose first answer is `bad`; gives how often it asked.
fn connect(bad: String) -> (Result<(), WarehouseError>, usize) {
    let (url, asked) = lying_server(bad);
    let folder = tempfile::tempdir().unwrap();
    let stop = CancellationToken::new();
    let connected = block_on(Warehouse::connect(&settings(&url, &folder), Status::default(), &stop));
    (connected.map(drop), asked.load(Ordering::SeqCst))
}

#[test]
fn an_error_behind_a_200_is_an_error() {
    // By its header, and by the text at the end of the body.
    let overloaded = [
        answer("X-ClickHouse-Exception-Code: 202\r\n", "Code: 202. DB::Exception: too many"),
        answer(
            "",
            "1\n2\nCode: 241. DB::Exception: Memory limit (MEMORY_LIMIT_EXCEEDED) (version 26.1 (x))\n",
        ),
    ];
    let (_, statements) = connect(answer("", ""));
    for bad in overloaded {
        let (connected, asked) = connect(bad);
        // The statement that failed was sent again.
        assert!(connected.is_ok() && asked == statements + 1, "{connected:?} after {asked}");
    }
    let (connected, asked) =
        connect(answer("X-ClickHouse-Exception-Code: 516\r\n", "Code: 516. DB::Exception: Wrong password."));
    let error = connected.unwrap_err().to_string();
    assert!(error.contains("DABI_WAREHOUSE_PASSWORD") && asked == 1, "{error} after {asked}");
}
