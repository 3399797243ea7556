//! When a save is to be acted upon: not at its first event, but once it is
//! quiet.
//!
//! Pure: time is an argument. What is saved again while it is being acted upon
//! waits for its next turn, once, however often that happens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Something that never rests is acted upon at least so often.
const PATIENCE: Duration = Duration::from_secs(1);

/// What was saved and not yet acted upon.
#[derive(Debug, Default)]
pub struct Saves {
    waiting: BTreeMap<String, Save>,
}

#[derive(Clone, Copy, Debug)]
struct Save {
    first: Instant,
    due: Instant,
}

impl Saves {
    /// `entry` was saved `now`; it is due once it has been left alone for `quiet`.
    pub fn saved(&mut self, entry: &str, now: Instant, quiet: Duration) {
        let first = self.waiting.get(entry).map_or(now, |save| save.first);
        let due = (now + quiet).min(first + PATIENCE.max(quiet));
        self.waiting.insert(entry.to_owned(), Save { first, due });
    }

    /// When the next of those that `may` be acted upon is due.
    #[must_use]
    pub fn next_due(&self, may: impl Fn(&str) -> bool) -> Option<Instant> {
        self.waiting.iter().filter(|(entry, _)| may(entry)).map(|(_, save)| save.due).min()
    }

    /// The entry that is due longest of those that `may` be acted upon, and when
    /// it was first saved. It no longer waits.
    pub fn take(&mut self, now: Instant, may: impl Fn(&str) -> bool) -> Option<(String, Instant)> {
        let due = self.waiting.iter().filter(|(entry, save)| save.due <= now && may(entry));
        let entry = due.min_by_key(|(_, save)| save.due)?.0.clone();
        let save = self.waiting.remove(&entry)?;
        Some((entry, save.first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(50);

    fn ms(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_save_is_due_once_it_is_quiet() {
        let (mut saves, start) = (Saves::default(), Instant::now());
        for at in [0, 10, 40] {
            saves.saved("orders", ms(start, at), QUIET);
        }
        assert_eq!(saves.next_due(|_| true), Some(ms(start, 90)));
        assert_eq!(saves.take(ms(start, 89), |_| true), None);
        assert_eq!(saves.take(ms(start, 90), |_| true), Some(("orders".to_owned(), start)));
        assert_eq!(saves.take(ms(start, 999), |_| true), None, "and it is done");
    }

    #[test]
    fn a_storm_that_never_rests_is_acted_upon_every_second() {
        let (mut saves, start) = (Saves::default(), Instant::now());
        let mut turns = Vec::new();
        for at in 0..3_000 {
            saves.saved("orders", ms(start, at), QUIET);
            turns.extend(saves.take(ms(start, at), |_| true).map(|_| at));
        }
        assert_eq!(turns, [1_000, 2_001]);
    }

    #[test]
    fn saves_during_a_build_make_exactly_one_more() {
        let (mut saves, start) = (Saves::default(), Instant::now());
        saves.saved("orders", start, QUIET);
        saves.take(ms(start, 60), |_| true).expect("the first build begins");
        let building = |entry: &str| entry != "orders";
        for at in [100, 300] {
            saves.saved("orders", ms(start, at), QUIET);
        }
        saves.saved("users.wasm", ms(start, 310), Duration::ZERO);
        assert_eq!(saves.next_due(building), Some(ms(start, 310)), "others do not wait for it");
        assert_eq!(
            saves.take(ms(start, 2_000), building).map(|(entry, _)| entry).as_deref(),
            Some("users.wasm")
        );
        assert_eq!(saves.take(ms(start, 2_000), building), None);
        assert!(saves.take(ms(start, 2_000), |_| true).is_some());
        assert!(saves.take(ms(start, 9_000), |_| true).is_none());
    }

    #[test]
    fn the_last_word_says_how_long_to_wait() {
        let (mut saves, start) = (Saves::default(), Instant::now());
        let gone = Duration::from_millis(500);
        saves.saved("orders", start, gone);
        saves.saved("orders", ms(start, 100), QUIET);
        assert!(saves.take(ms(start, 150), |_| true).is_some(), "it has returned");
    }
}
