//! Is Kafka there, and what did it say last?
//!
//! Owns the log lines about the connection: one when it goes, one when it is
//! back, and librdkafka's own lines at a bounded rate.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::error::RDKafkaErrorCode;

use crate::failpoint::{Failpoint, reach};

/// librdkafka repeats itself while a broker is away: one line per kind of
/// message (its "facility") in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// The state of the connection; shared between the reader and librdkafka's callbacks.
#[derive(Debug, Default)]
pub(super) struct Status {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    away_since: Option<Instant>,
    in_doubt: bool,
    last_error: Option<String>,
    commit_failing: bool,
    logged: HashMap<String, Logged>,
}

#[derive(Debug)]
struct Logged {
    at: Instant,
    suppressed: u64,
}

impl Status {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An error that belongs to no partition. One broker of several may be
    /// away, and librdkafka gets over it: so this only calls for a look.
    pub(super) fn error(&self, code: RDKafkaErrorCode, reason: &str) {
        let mut state = self.state();
        state.in_doubt = true;
        // "All brokers are down" says less than the failure before it.
        if state.last_error.is_none() || code != RDKafkaErrorCode::AllBrokersDown {
            state.last_error = Some(reason.to_owned());
        }
    }

    /// Something looks wrong with the topics: calls for a look.
    pub(super) fn doubt(&self) {
        self.state().in_doubt = true;
    }

    /// Should a broker be asked now whether it is there?
    pub(super) fn is_in_doubt(&self) -> bool {
        let state = self.state();
        state.in_doubt || state.away_since.is_some()
    }

    /// No broker has answered when asked.
    pub(super) fn unreachable(&self, error: &str) {
        let mut state = self.state();
        if state.away_since.is_none() {
            state.away_since = Some(Instant::now());
            let reason = state.last_error.as_deref().unwrap_or(error);
            tracing::warn!(
                reason,
                "waiting for Kafka: no broker answers; nothing is lost, reading goes on when one does"
            );
        }
    }

    /// A broker has answered.
    pub(super) fn reached(&self) {
        let mut state = self.state();
        state.last_error = None;
        state.in_doubt = false;
        if let Some(since) = state.away_since.take() {
            tracing::info!(away_s = since.elapsed().as_secs(), "Kafka answers again");
        }
    }

    /// True unless no broker answers.
    pub(super) fn is_reachable(&self) -> bool {
        self.state().away_since.is_none()
    }

    /// The reason of the last failure since a broker answered.
    pub(super) fn last_error(&self) -> Option<String> {
        self.state().last_error.clone()
    }

    /// What became of a mirrored position.
    pub(super) fn committed(&self, result: Result<(), RDKafkaErrorCode>) {
        let mut state = self.state();
        match result {
            Ok(()) => {
                state.commit_failing = false;
                reach(Failpoint::GroupMirrored);
            }
            Err(error) if !state.commit_failing => {
                state.commit_failing = true;
                tracing::warn!(
                    %error,
                    "cannot mirror the position to Kafka's consumer group; lag monitors will be behind, dabi is not"
                );
            }
            Err(_) => {}
        }
    }

    /// A line of librdkafka's log; `level` is syslog's.
    pub(super) fn log(&self, level: i32, facility: &str, line: &str) {
        match level {
            ..=4 => {
                if let Some(suppressed) = self.state().admit(facility, Instant::now()) {
                    tracing::warn!(target: "dabi::kafka", facility, suppressed, "{line}");
                }
            }
            5 | 6 => tracing::debug!(target: "dabi::kafka", facility, "{line}"),
            _ => tracing::trace!(target: "dabi::kafka", facility, "{line}"),
        }
    }
}

impl State {
    /// How many lines of this kind were kept back, if this one may pass.
    fn admit(&mut self, facility: &str, now: Instant) -> Option<u64> {
        let Some(logged) = self.logged.get_mut(facility) else {
            self.logged.insert(facility.to_owned(), Logged { at: now, suppressed: 0 });
            return Some(0);
        };
        if now.duration_since(logged.at) < LOG_INTERVAL {
            logged.suppressed += 1;
            return None;
        }
        logged.at = now;
        Some(std::mem::take(&mut logged.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_is_bounded_and_counts_what_it_kept_back() {
        let mut state = State::default();
        let start = Instant::now();
        assert_eq!(state.admit("FAIL", start), Some(0));
        assert_eq!(state.admit("FAIL", start + Duration::from_secs(1)), None);
        assert_eq!(state.admit("OTHER", start + Duration::from_secs(1)), Some(0));
        assert_eq!(state.admit("FAIL", start + Duration::from_secs(2)), None);
        assert_eq!(state.admit("FAIL", start + LOG_INTERVAL), Some(2));
        assert_eq!(state.admit("FAIL", start + LOG_INTERVAL), None);
    }

    #[test]
    fn the_reason_that_is_kept_is_the_telling_one() {
        let status = Status::default();
        status.error(RDKafkaErrorCode::BrokerTransportFailure, "connect to b:1: refused");
        assert!(status.is_in_doubt() && status.is_reachable(), "one broker of several may be away");
        status.error(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        assert_eq!(status.last_error().as_deref(), Some("connect to b:1: refused"));
        status.unreachable("timed out");
        assert!(!status.is_reachable());
        status.reached();
        assert!(status.is_reachable() && !status.is_in_doubt() && status.last_error().is_none());
    }
}
