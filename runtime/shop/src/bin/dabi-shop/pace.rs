//! When the next transaction is due.
//!
//! A pause of the database is not made up for by a flood: beyond a second, what
//! was missed is missed.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

const BEHIND_MAX: Duration = Duration::from_secs(1);

/// The pace of a rate.
pub(crate) struct Pace {
    /// None for as fast as possible.
    interval: Option<Duration>,
    due: Instant,
}

impl Pace {
    /// `rate` a second from `now` on; 0 knows no pace.
    pub(crate) fn new(rate: f64, now: Instant) -> Self {
        Self { interval: (rate > 0.0).then(|| Duration::from_secs_f64(1.0 / rate)), due: now }
    }

    /// Waits until the next one is due.
    pub(crate) async fn turn(&mut self) {
        match self.next(Instant::now()) {
            Some(due) => sleep_until(due).await,
            None => tokio::task::yield_now().await,
        }
    }

    fn next(&mut self, now: Instant) -> Option<Instant> {
        let interval = self.interval?;
        self.due += interval;
        if now.saturating_duration_since(self.due) > BEHIND_MAX {
            self.due = now;
        }
        Some(self.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_late_one_is_followed_in_time_and_a_pause_is_not_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace::new(100.0, start);
        assert_eq!(pace.next(start), Some(start + 10 * MS));
        assert_eq!(pace.next(start + 500 * MS), Some(start + 20 * MS));
        assert_eq!(pace.next(start + 5_000 * MS), Some(start + 5_000 * MS));
        assert_eq!(pace.next(start + 5_000 * MS), Some(start + 5_010 * MS));
        assert_eq!(Pace::new(0.0, start).next(start), None);
    }
}
