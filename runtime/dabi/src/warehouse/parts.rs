//! Part counts: the first sign that merges do not keep up with inserts.
//!
//! Owns slowing down before the server has to refuse (it delays inserts at
//! 1,000 parts of a partition and refuses at 3,000). Slower epochs are larger
//! ones, so that less parts come of the same rows.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use dabi_core::star::quote;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::client::Warehouse;
use super::literal;

/// Few enough not to matter to reads or merges.
const CALM_PARTS: u64 = 300;
const PAUSE_PER_PART: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const ASK_EVERY: Duration = Duration::from_secs(5);
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// What the server was last asked.
#[derive(Default)]
pub(super) struct Pressure(Mutex<Option<(Instant, Duration)>>);

impl Warehouse {
    /// Waits before an insert as long as the part counts advise, or until `stop`.
    pub(super) async fn ease(&self, stop: &CancellationToken) {
        let known = *self.pressure.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = match known {
            Some((asked, pause)) if asked.elapsed() < ASK_EVERY => pause,
            // A server that does not answer is for the insert to wait for.
            _ => timeout(ANSWER_MAX, self.ask()).await.unwrap_or_default(),
        };
        if !pause.is_zero() {
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn ask(&self) -> Duration {
        let sql = format!(
            "SELECT max(parts) FROM (SELECT count() AS parts FROM system.parts WHERE active AND database = {} \
             GROUP BY table, partition_id)",
            literal(&self.database)
        );
        // A user who may not see system.parts gets the server's own delays.
        let parts = self.client.query_raw(&sql).fetch_one::<u64>().await.unwrap_or(0);
        let pause = pause(parts);
        let mut known = self.pressure.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_calm = known.is_none_or(|(_, pause)| pause.is_zero());
        if was_calm != pause.is_zero() {
            let (database, ms) = (quote(&self.database), pause.as_millis());
            tracing::info!(parts, "inserts into {database} pause {ms} ms for merges");
        }
        *known = Some((Instant::now(), pause));
        pause
    }
}

/// For a partition of so many parts.
fn pause(parts: u64) -> Duration {
    let beyond = u32::try_from(parts.saturating_sub(CALM_PARTS)).unwrap_or(u32::MAX);
    PAUSE_PER_PART.saturating_mul(beyond).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_parts_the_longer_the_pause_up_to_a_limit() {
        assert_eq!(pause(CALM_PARTS), Duration::ZERO);
        assert_eq!(pause(CALM_PARTS + 100), Duration::from_millis(500));
        assert_eq!(pause(u64::MAX), PAUSE_MAX);
    }
}
