//! The end, by SIGTERM or Ctrl-C.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Whether a signal has come.
pub(crate) struct Stop {
    terminate: Signal,
    interrupt: Signal,
    requested: bool,
}

impl Stop {
    pub(crate) fn on_signal() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listen for signals");
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            requested: false,
        })
    }

    /// The answer of `work`; `None` once a signal has come, with `work` unfinished.
    pub(crate) async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        if self.requested {
            return None;
        }
        tokio::select! {
            // A signal counts even where work never waits.
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            answer = work => return Some(answer),
        }
        self.requested = true;
        None
    }
}
