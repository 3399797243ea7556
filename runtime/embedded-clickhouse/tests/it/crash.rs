//! kill -9 under load: what was acknowledged is there, once.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::helper::{Answer, Helper};

const ROUNDS: usize = 4;
const ROWS: u64 = 500;

fn body(insert: u64) -> Vec<u8> {
    (0..ROWS).flat_map(|row| (insert * ROWS + row).to_le_bytes()).collect()
}

/// One insert; true if it was acknowledged.
fn insert(port: u16, number: u64) -> bool {
    let body = body(number);
    let head = format!(
        "POST /?query=INSERT%20INTO%20t%20FORMAT%20RowBinary&insert_deduplication_token={number} HTTP/1.1\r\n\
         Host: 127.0.0.1\r\nX-ClickHouse-Key: {}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        crate::helper::PASSWORD,
        body.len()
    );
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return false };
    if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).is_err() {
        return false;
    }
    let mut probe = [0; 1];
    if !matches!(stream.peek(&mut probe), Ok(1)) {
        return false;
    }
    Answer::read(stream).status == 200
}

#[test]
fn acknowledged_inserts_survive_and_retries_do_not_double() {
    let folder = tempfile::tempdir().unwrap();
    let mut helper = Helper::on(folder.path()).unwrap();
    helper.ok("CREATE TABLE t (id UInt64) ENGINE = MergeTree ORDER BY id \
         SETTINGS non_replicated_deduplication_window = 1000");
    let next = AtomicU64::new(0);
    for round in 0..ROUNDS {
        let port = helper.port;
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                while insert(port, next.load(Ordering::Relaxed)) {
                    next.fetch_add(1, Ordering::Relaxed);
                }
            });
            std::thread::sleep(Duration::from_millis(300 + 170 * u64::try_from(round).unwrap()));
            helper.kill();
            writer.join().unwrap();
        });
        helper = Helper::on(folder.path()).unwrap();
        // The one whose answer was lost is sent again, the same bytes and token.
        assert!(insert(helper.port, next.load(Ordering::Relaxed)));
        let inserts = next.fetch_add(1, Ordering::Relaxed) + 1;
        let rows = inserts * ROWS;
        let found = helper.ok("SELECT count(), uniqExact(id), max(id) + 1 FROM t");
        assert_eq!(found, format!("{rows}\t{rows}\t{rows}"), "round {round}");
    }
    assert!(next.load(Ordering::Relaxed) > ROUNDS as u64, "inserts got through between the kills");
}
