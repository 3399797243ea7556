//! Waiting for ClickHouse.
//!
//! Invariant: an outage is waited out for ever, unless stopped; the log says so
//! once when it begins, then at most every ten seconds, and once when it ends.

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
    let (mut pause, started) = (PAUSE_MIN, Instant::now());
    let mut logged: Option<Instant> = None;
    loop {
        let answer = tokio::select! {
            answer = request() => answer,
            () = stop.cancelled() => return Err(WarehouseError::Stopped(doing.to_owned())),
        };
        let error = match answer {
            Ok(done) => {
                if logged.is_some() {
                    status.arrived(NEIGHBOUR);
                    tracing::info!(doing, seconds = started.elapsed().as_secs(), "ClickHouse answers again");
                }
                return Ok(done);
            }
            Err(error) if action(&error) == Action::Halt => {
                return Err(WarehouseError::Refused { doing: doing.to_owned(), message: error.to_string() });
            }
            Err(error) => error,
        };
        if logged.is_none_or(|at| at.elapsed() >= LOG_EVERY) {
            logged = Some(Instant::now());
            status.waiting(NEIGHBOUR, format!("to {doing}: {error}"));
            tracing::warn!(doing, %error, seconds = started.elapsed().as_secs(), "waiting for ClickHouse; retrying");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return Err(WarehouseError::Stopped(doing.to_owned())),
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
