//! Waiting for ClickHouse.
//!
//! Invariant: an outage is waited out for ever, unless stopped; the log says so
//! once when it begins, then at most every ten seconds, and once when it ends.

use std::fmt::Display;
use std::time::{Duration, Instant};

use clickhouse::error::Error;
use dabi_core::policy::Action;
use tokio_util::sync::CancellationToken;

use super::error::{WarehouseError, action};
use crate::pipeline::Status;

const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
const LOG_EVERY: Duration = Duration::from_secs(10);
const NEIGHBOUR: &str = "clickhouse";

/// A request without an answer for so long is sent again. A server that took
/// the first one after all knows the second by its token.
const ANSWER_MAX: Duration = Duration::from_secs(120);

/// Sends `request` until it succeeds, is refused for good, or `stop`. `doing`
/// completes "waiting to …".
pub(super) async fn until_done<T, F>(
    status: &Status,
    doing: &str,
    stop: &CancellationToken,
    mut request: impl FnMut() -> F,
) -> Result<T, WarehouseError>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut pause = PAUSE_MIN;
    let mut outage = Outage { status, doing, began: Instant::now(), logged: None };
    let stopped = || WarehouseError::Stopped(doing.to_owned());
    loop {
        let answer = tokio::select! {
            answer = answer(request(), &mut outage) => answer,
            () = stop.cancelled() => return Err(stopped()),
        };
        match answer {
            Ok(done) => {
                outage.over();
                return Ok(done);
            }
            Err(error) if action(&error) == Action::Halt => {
                return Err(WarehouseError::refused(doing, &error));
            }
            Err(error) => outage.goes_on(&error),
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Err(stopped()),
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The answer, or [`Error::TimedOut`]; says meanwhile that there is none.
async fn answer<T>(
    request: impl Future<Output = Result<T, Error>>,
    outage: &mut Outage<'_>,
) -> Result<T, Error> {
    let began = Instant::now();
    tokio::pin!(request);
    loop {
        tokio::select! {
            answer = &mut request => return answer,
            () = tokio::time::sleep(LOG_EVERY) => {}
        }
        if began.elapsed() >= ANSWER_MAX {
            return Err(Error::TimedOut);
        }
        outage.goes_on(&"no answer yet");
    }
}

/// What is told of a time without answers.
struct Outage<'a> {
    status: &'a Status,
    doing: &'a str,
    began: Instant,
    logged: Option<Instant>,
}

impl Outage<'_> {
    fn goes_on(&mut self, reason: &dyn Display) {
        if self.logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            self.logged = Some(Instant::now());
            let (doing, seconds) = (self.doing, self.began.elapsed().as_secs());
            self.status.waiting(NEIGHBOUR, format!("to {doing}: {reason}"));
            tracing::warn!(doing, %reason, seconds, "waiting for ClickHouse");
        }
    }

    fn over(&self) {
        if self.logged.is_some() {
            self.status.arrived(NEIGHBOUR);
            let (doing, seconds) = (self.doing, self.began.elapsed().as_secs());
            tracing::info!(doing, seconds, "ClickHouse answers again");
        }
    }
}
