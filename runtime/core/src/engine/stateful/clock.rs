//! A commit clock that steps back, as the history of a key shows it.
//!
//! Owns what such a step is: an event of a key has an earlier commit time than one
//! that came before it with a lower LSN. Transactions that change one row wait for
//! each other, so its changes come with growing LSNs in the order of their commits;
//! if their times fall, then the database's clock was set back (or another server
//! took over, whose clock is behind; of a row that a snapshot reads the time may be
//! the connector's). History goes by commit time, and so takes the changes in
//! another order than they were made in.
//!
//! Between rows nothing is compared: transactions that run side by side write
//! their changes, take their commit times and commit in any order, by any clock.
//!
//! Invariant: an event that comes again, with the same commit time, LSN and
//! transaction, is no step.

use super::entries::{Entry, entries};

/// How often a commit clock stepped back, and how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockSteps {
    /// Events with an earlier commit time than one before them in the log.
    pub events: u64,
    /// The largest step, µs.
    pub largest_us: u64,
}

impl ClockSteps {
    /// The steps that the entries of a key show behind the first `known`. All stand
    /// in the order in which they came, those that came again once more.
    pub(super) fn of(history: &[u8], known: usize) -> Self {
        let all: Vec<Entry<'_>> = entries(history).collect();
        let (mut steps, mut latest_us) = (Self::default(), i64::MIN);
        for (number, entry) in all.iter().enumerate() {
            let Some((_, ts_us)) = entry.place() else { continue };
            if number >= known && ts_us < latest_us {
                steps.add(Self::between(&all[..number], entry));
            }
            latest_us = latest_us.max(ts_us);
        }
        steps
    }

    fn between(earlier: &[Entry<'_>], entry: &Entry<'_>) -> Self {
        if earlier.iter().any(|before| before.identity() == entry.identity()) {
            return Self::default();
        }
        let Some((lsn, ts_us)) = entry.place() else { return Self::default() };
        let lower = earlier.iter().filter_map(Entry::place).filter(|(before, _)| *before < lsn);
        match lower.map(|(_, before_us)| before_us).max() {
            Some(before_us) if before_us > ts_us => Self { events: 1, largest_us: before_us.abs_diff(ts_us) },
            _ => Self::default(),
        }
    }

    /// Adds those of other events.
    pub(super) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.largest_us = self.largest_us.max(other.largest_us);
    }
}

#[cfg(test)]
mod tests {
    use super::super::entries::push_history;
    use super::super::record::{Head, push_head};
    use super::*;

    /// Entries as `time.lsn`; those behind `|` are new.
    fn check(places: &str, events: u64, largest_us: u64) {
        let (known, new) = places.split_once('|').unwrap_or(("", places));
        let mut all = Vec::new();
        for place in known.split_whitespace().chain(new.split_whitespace()) {
            let (time, lsn) = place.split_once('.').expect("time.lsn");
            let head = Head { ts_us: time.parse().ok(), lsn: lsn.parse().ok(), ..Head::default() };
            let mut record = Vec::new();
            push_head(&mut record, &head, None);
            push_history(&mut all, None, false, &record);
        }
        let found = ClockSteps::of(&all, known.split_whitespace().count());
        assert_eq!(found, ClockSteps { events, largest_us }, "{places}");
    }

    #[test]
    fn a_time_that_falls_while_the_lsn_grows_is_a_step() {
        check("", 0, 0);
        check("5.1 7.2 9.3", 0, 0);
        check("5.1 9.2 7.3", 1, 2);
        check("9.1 5.2 7.3 4.4 9.5", 3, 5);
        check("9.1 | 5.2", 1, 4);
    }

    #[test]
    fn what_the_log_does_not_order_is_no_step() {
        // A transaction that was open while a snapshot was read.
        check("5.9 7.3", 0, 0);
        check("9.9 7.3", 0, 0);
        // Of one statement.
        check("9.2 5.2", 0, 0);
        // What is not sent cannot be held against anything.
        check("9.x 5.2 x.3", 0, 0);
        check("7.1 7.2", 0, 0);
    }

    #[test]
    fn a_step_is_told_once() {
        check("5.1 9.2 7.3 | 10.4", 0, 0);
        check("5.1 9.2 7.3 | 5.1 9.2 7.3", 0, 0);
        check("5.1 9.2 7.3 5.1 9.2 7.3", 1, 2);
        check("9.2 7.3 | 7.3 4.4 4.4", 1, 5);
    }
}
