//! An epoch: a micro-batch over all partitions, and when it closes.
//!
//! Invariant: epochs are numbered without a gap within a term, and the position
//! of one is where the next begins.

use std::time::Duration;

use dabi_core::debezium::Decoded;
use dabi_core::position::Position;
use dabi_core::version::Epoch;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::limits::Limits;

/// A closed epoch, shared by the lanes until both are done with it.
pub(super) struct SealedEpoch {
    /// Its number.
    pub(super) number: Epoch,
    /// What was decoded, in the order of reading.
    pub(super) decoded: Vec<Decoded>,
    /// Where every partition stands after it.
    pub(super) position: Position,
    /// When it closed.
    pub(super) closed_at: Instant,
    /// Must the lake commit what came before it apart? A key may have moved from
    /// one partition to another, and within a commit only partitions have an order.
    pub(super) is_turn: bool,
    /// Its share of `limits.memory_bytes`, given back with the last reference.
    pub(super) _memory: OwnedSemaphorePermit,
}

/// When to close the open epoch.
pub(super) struct Pacing {
    interval: Duration,
    rows_max: usize,
    bytes_max: usize,
    last_close: Option<Instant>,
}

impl Pacing {
    /// The pacing that `limits` ask for.
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            interval: limits.epoch_interval(),
            rows_max: limits.epoch_rows_max,
            bytes_max: limits.epoch_bytes_max,
            last_close: None,
        }
    }

    /// Is an epoch of this size full? Then nothing more may be read into it.
    pub(super) fn full(&self, rows: usize, bytes: usize) -> bool {
        rows >= self.rows_max || bytes >= self.bytes_max
    }

    /// How long until an epoch may close; zero: now.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.last_close.map_or(Duration::ZERO, |last| (last + self.interval).saturating_duration_since(now))
    }

    /// An epoch has closed.
    pub(super) fn closed(&mut self, now: Instant) {
        self.last_close = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_event_in_quiet_goes_at_once_and_the_next_waits() {
        let mut pacing = Pacing::new(&Limits::default());
        let start = Instant::now();
        assert_eq!(pacing.wait(start), Duration::ZERO);
        pacing.closed(start);
        assert_eq!(pacing.wait(start + Duration::from_millis(30)), Duration::from_millis(70));
        assert_eq!(pacing.wait(start + Duration::from_secs(5)), Duration::ZERO);
    }
}
