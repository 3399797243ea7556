//! A TCP proxy that loses answers: the server has done what it was asked, and
//! the client never hears of it.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The proxy; it serves as long as the test process lives.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Every how many answers one is lost; 0: none.
    lose_every: AtomicU64,
    answers: AtomicU64,
    lost: AtomicU64,
}

impl Proxy {
    /// A proxy in front of `server`, a host and its port.
    pub(crate) fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let shared = Arc::<Shared>::default();
        let (server, of_thread) = (server.to_owned(), Arc::clone(&shared));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // Nobody is there during an outage: the client sees its connection end.
                let Ok(server) = TcpStream::connect(&server) else { continue };
                serve(&client, &server, &of_thread);
            }
        });
        Self { address, shared }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on one of `n` answers is lost, and its connection with it; 0: none.
    pub(crate) fn lose_every(&self, n: u64) {
        self.shared.lose_every.store(n, Ordering::Relaxed);
    }

    /// How many answers were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

impl Shared {
    fn loses(&self) -> bool {
        let n = self.lose_every.load(Ordering::Relaxed);
        let is_lost = n > 0 && self.answers.fetch_add(1, Ordering::Relaxed).is_multiple_of(n);
        self.lost.fetch_add(is_lost.into(), Ordering::Relaxed);
        is_lost
    }
}

/// Copies both ways on threads of its own, until either side ends.
fn serve(client: &TcpStream, server: &TcpStream, shared: &Arc<Shared>) {
    let pair = || Some((client.try_clone().ok()?, server.try_clone().ok()?));
    let (Some((from_client, to_server)), Some((to_client, from_server))) = (pair(), pair()) else { return };
    let shared = Arc::clone(shared);
    std::thread::spawn(move || copy(from_client, to_server, || false));
    // A server speaks once it has done what it was asked.
    std::thread::spawn(move || copy(from_server, to_client, || shared.loses()));
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut loses: impl FnMut() -> bool) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(len @ 1..) = from.read(&mut buffer) {
        if loses() || to.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    // Whichever ended, the other is told.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
