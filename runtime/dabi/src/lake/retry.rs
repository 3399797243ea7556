//! Waiting for the store.
//!
//! Invariant: an outage is waited out for ever, unless stopped; however many
//! requests wait, the log says so once when it begins, then at most every ten
//! seconds, and once when it ends.

use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::{LakeError, is_transient};
use super::store::store_error;
use crate::pipeline::Status;

const NEIGHBOUR: &str = "lake";

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const LOG_EVERY: Duration = Duration::from_secs(10);

/// Retries requests until they succeed, fail for good, or are stopped.
#[derive(Debug)]
pub(super) struct Patience {
    status: Status,
    stop: CancellationToken,
    outage: Mutex<Option<Outage>>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    logged: Instant,
}

impl Patience {
    pub(super) fn new(status: Status, stop: CancellationToken) -> Self {
        Self { status, stop, outage: Mutex::new(None) }
    }

    /// Runs `request` until it succeeds.
    pub(super) async fn until_done<T, F>(
        &self,
        action: &'static str,
        path: &str,
        mut request: impl FnMut() -> F,
    ) -> Result<T, LakeError>
    where
        F: Future<Output = object_store::Result<T>>,
    {
        let mut pause = PAUSE_MIN;
        loop {
            let answer = tokio::select! {
                biased;
                answer = self.watched(action, path, request()) => answer,
                () = self.stop.cancelled() => return Err(LakeError::Stopped),
            };
            match answer {
                Ok(done) => {
                    self.over();
                    return Ok(done);
                }
                Err(e) if !is_transient(&e) => return Err(store_error(action, path)(e)),
                Err(e) => self.waiting(action, path, &e),
            }
            tokio::select! {
                biased;
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => return Err(LakeError::Stopped),
            }
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Says so while a request has no answer: a store that hangs is an outage too.
    async fn watched<T>(
        &self,
        action: &str,
        path: &str,
        request: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        let mut request = std::pin::pin!(request);
        loop {
            match tokio::time::timeout(LOG_EVERY, &mut request).await {
                Ok(answer) => return answer,
                Err(_) => self.waiting(action, path, &"no answer yet"),
            }
        }
    }

    fn waiting(&self, action: &str, path: &str, error: &dyn std::fmt::Display) {
        let now = Instant::now();
        let mut outage = self.outage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let state = outage.get_or_insert(Outage { since: now, logged: now });
        let first = state.since == now;
        if first || now.duration_since(state.logged) >= LOG_EVERY {
            state.logged = now;
            let seconds = now.duration_since(state.since).as_secs();
            self.status.waiting(NEIGHBOUR, format!("to {action} {path}: {error}"));
            tracing::warn!(action, path, %error, seconds, "waiting for the lake's store; retrying");
        }
    }

    fn over(&self) {
        let mut outage = self.outage.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(outage) = outage.take() {
            self.status.arrived(NEIGHBOUR);
            tracing::info!(seconds = outage.since.elapsed().as_secs(), "the lake's store answers again");
        }
    }
}
