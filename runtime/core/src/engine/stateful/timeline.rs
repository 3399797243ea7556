//! The versions of a key, from what is known of it commit by commit.
//!
//! Owns the definition of a version. Pure: does not own where entries come from
//! (`entries`), nor the rows that versions come to (`versions`).
//!
//! - Of what one commit time did to a key, the last stands. A truncate is the last
//!   where it covers what else there is, and so is a snapshot that did not read the
//!   key.
//! - Neighbours that are the same in the tracked columns are one version, with the
//!   values of the last of them.
//! - A version is valid from its first commit on, the first one of a key from 1970
//!   on, up to the next one, or up to when the row went.
//!
//! Invariant: versions of a key ascend, each ends where or before the next begins,
//! and no two begin at the same time.

use super::entries::time_us;
use crate::fold::{Resnapshot, Truncate};

/// What a key was from a commit on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// It had a row of the star; its number.
    Row(u32),
    /// A row that waits for what a lookup finds: it ends the version before it.
    Held,
    /// It had none.
    Absent,
}

/// A commit that touched the key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Commit {
    pub(super) ts_us: Option<i64>,
    pub(super) lsn: Option<i64>,
    pub(super) what: What,
}

/// A version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// The row with its values.
    pub(super) row: u32,
    pub(super) from_us: i64,
    /// Up to, and not with, this time; `None`: without end.
    pub(super) to_us: Option<i64>,
}

/// The times at which a table was emptied, or at which all that a snapshot had not
/// read was found to be gone.
#[derive(Debug, Default)]
pub(super) struct Emptied(Vec<End>);

/// An end of rows.
#[derive(Clone, Copy, Debug)]
enum End {
    Truncate(Truncate),
    /// Of those that it covers, wherever the row's own place in time is.
    Snapshot(Resnapshot),
}

impl End {
    fn at_us(&self) -> i64 {
        match self {
            Self::Truncate(truncate) => time_us(truncate.ts_us),
            Self::Snapshot(snapshot) => time_us(Some(snapshot.at_us)),
        }
    }

    /// Of a commit of the same time?
    fn covers(&self, ts_us: Option<i64>, lsn: Option<i64>) -> bool {
        match self {
            Self::Truncate(truncate) => truncate.covers(lsn, ts_us),
            Self::Snapshot(snapshot) => snapshot.covers(lsn, ts_us),
        }
    }

    /// Of a row whose last commit was earlier?
    fn ends(&self, last: &Commit) -> bool {
        match self {
            Self::Truncate(_) => true,
            Self::Snapshot(snapshot) => snapshot.covers(last.lsn, last.ts_us),
        }
    }
}

impl Emptied {
    pub(super) fn new(truncates: &[Truncate], resnapshots: impl Iterator<Item = Resnapshot>) -> Self {
        let mut ends: Vec<End> = truncates.iter().copied().map(End::Truncate).collect();
        ends.extend(resnapshots.map(End::Snapshot));
        ends.sort_by_key(End::at_us);
        Self(ends)
    }

    /// Is the row of an event ever seen, if `next` is the commit time of the one after
    /// it?
    pub(super) fn leave(&self, ts_us: Option<i64>, lsn: Option<i64>, next: Option<Option<i64>>) -> bool {
        next.is_none_or(|next| time_us(next) != time_us(ts_us)) && !self.covers(ts_us, lsn)
    }

    /// The first end after `last` and before `before_us` of a row that `last` left.
    fn between(&self, last: &Commit, before_us: i64) -> Option<i64> {
        let next = self.0.partition_point(|end| end.at_us() <= time_us(last.ts_us));
        let ends = self.0[next..].iter().take_while(|end| end.at_us() < before_us);
        ends.into_iter().find(|end| end.ends(last)).map(End::at_us)
    }

    /// Did an end of its own commit time come after an event?
    fn covers(&self, ts_us: Option<i64>, lsn: Option<i64>) -> bool {
        let at_us = time_us(ts_us);
        let from = self.0.partition_point(|end| end.at_us() < at_us);
        let same = self.0[from..].iter().take_while(|end| end.at_us() == at_us);
        same.into_iter().any(|end| end.covers(ts_us, lsn))
    }
}

/// The version that grows.
struct Run {
    from_us: i64,
    /// So far.
    last: Commit,
    /// `None`: it waits.
    row: Option<u32>,
}

/// The versions of a key. `commits` stand in the order of time and LSN; `is_same`
/// compares two rows in the tracked columns.
pub(super) fn versions(
    commits: &[Commit],
    emptied: &Emptied,
    is_same: impl Fn(u32, u32) -> bool,
) -> Vec<Version> {
    let mut versions = Vec::new();
    let mut run: Option<Run> = None;
    let mut is_first = true;
    let of_one_time = commits.chunk_by(|a, b| time_us(a.ts_us) == time_us(b.ts_us));
    for commit in of_one_time.filter_map(<[Commit]>::last) {
        let at_us = time_us(commit.ts_us);
        let what = if emptied.covers(commit.ts_us, commit.lsn) { What::Absent } else { commit.what };
        end_if_emptied(&mut run, &mut versions, emptied, at_us);
        if let Some(run) = &mut run
            && run.goes_on(what, &is_same)
        {
            run.last = *commit;
            continue;
        }
        end(&mut run, &mut versions, Some(at_us));
        let row = match what {
            What::Absent => continue,
            What::Held => None,
            What::Row(row) => Some(row),
        };
        let from_us = if is_first { 0 } else { at_us };
        run = Some(Run { from_us, last: *commit, row });
        is_first = false;
    }
    end_if_emptied(&mut run, &mut versions, emptied, i64::MAX);
    end(&mut run, &mut versions, None);
    versions
}

impl Run {
    /// Does it take in what comes next?
    fn goes_on(&mut self, next: What, is_same: impl Fn(u32, u32) -> bool) -> bool {
        match (self.row, next) {
            (None, What::Held) => true,
            (Some(last), What::Row(next)) if is_same(last, next) => {
                self.row = Some(next);
                true
            }
            _ => false,
        }
    }
}

/// Ends `run` if the table was emptied after its last commit and before
/// `before_us`.
fn end_if_emptied(run: &mut Option<Run>, versions: &mut Vec<Version>, emptied: &Emptied, before_us: i64) {
    let at_us = run.as_ref().and_then(|run| emptied.between(&run.last, before_us));
    if at_us.is_some() {
        end(run, versions, at_us);
    }
}

fn end(run: &mut Option<Run>, versions: &mut Vec<Version>, to_us: Option<i64>) {
    if let Some(Run { from_us, row: Some(row), .. }) = run.take() {
        versions.push(Version { row, from_us, to_us });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Commits as `time.lsn:what`, where what is a letter (rows of one letter, in
    /// either case, are the same in the tracked columns), `?` for one that waits,
    /// or `-`; truncates as `time.lsn`. Versions as `what from to`.
    fn check(commits: &str, truncates: &str, expected: &str) {
        check_with(commits, truncates, "", expected);
    }

    /// Likewise, with snapshots as `time.lsn<time.lsn`: the second is the last commit
    /// that is known to come before it.
    fn check_with(commits: &str, truncates: &str, snapshots: &str, expected: &str) {
        let place = |text: &str| -> (Option<i64>, Option<i64>) {
            let (time, lsn) = text.split_once('.').expect("time.lsn");
            (time.parse().ok(), lsn.parse().ok())
        };
        let commits: Vec<Commit> = commits
            .split_whitespace()
            .map(|text| {
                let (at, what) = text.split_once(':').expect("place:what");
                let (ts_us, lsn) = place(at);
                let what = match what {
                    "-" => What::Absent,
                    "?" => What::Held,
                    letter => What::Row(letter.chars().next().expect("a letter").into()),
                };
                Commit { ts_us, lsn, what }
            })
            .collect();
        let truncates: Vec<Truncate> = truncates
            .split_whitespace()
            .map(|text| {
                let (ts_us, lsn) = place(text);
                Truncate { lsn, ts_us }
            })
            .collect();
        let snapshots: Vec<Resnapshot> = snapshots
            .split_whitespace()
            .map(|text| {
                let (at, before) = text.split_once('<').expect("place<place");
                let numbers = |text| match place(text) {
                    (Some(ts_us), Some(lsn)) => (ts_us, lsn),
                    _ => panic!("{text} is no place"),
                };
                Resnapshot::new(numbers(at), numbers(before))
            })
            .collect();
        let letter = |row: u32| char::from_u32(row).expect("from a letter");
        let is_same = |a: u32, b: u32| letter(a).eq_ignore_ascii_case(&letter(b));
        let found: Vec<String> =
            versions(&commits, &Emptied::new(&truncates, snapshots.into_iter()), is_same)
                .iter()
                .map(|version| {
                    let to = version.to_us.map_or_else(|| "∞".to_owned(), |to| to.to_string());
                    format!("{} {} {to}", letter(version.row), version.from_us)
                })
                .collect();
        assert_eq!(found.join(", "), expected, "{commits:?} emptied at {truncates:?}");
    }

    #[test]
    fn a_change_of_a_tracked_column_begins_a_version() {
        check("", "", "");
        check("5.1:a", "", "a 0 ∞");
        check("5.1:a 7.2:b 9.3:a", "", "a 0 7, b 7 9, a 9 ∞");
        check("5.1:a 7.2:A 9.3:b", "", "A 0 9, b 9 ∞");
    }

    #[test]
    fn the_last_of_a_commit_time_stands() {
        check("5.1:a 5.2:b 7.3:c 7.4:b", "", "b 0 ∞");
        check("5.1:a 7.2:- 7.3:a", "", "a 0 ∞");
        check("5.1:a 5.2:-", "", "");
    }

    #[test]
    fn a_row_that_went_ends_its_version() {
        check("5.1:a 7.2:- 9.3:a", "", "a 0 7, a 9 ∞");
        check("3.0:- 5.1:a 7.2:-", "", "a 0 7");
    }

    #[test]
    fn a_truncate_is_the_end_of_every_row() {
        check("5.1:a 9.3:a", "7.2", "a 0 7, a 9 ∞");
        check("5.1:a 9.3:a", "7.2 6.2 8.2", "a 0 6, a 9 ∞");
        check("5.1:a", "3.0 7.2", "a 0 7");
        check("5.1:a", "3.0", "a 0 ∞");
        // Within one transaction: before it, and after it.
        check("3.0:a 5.1:b", "5.2", "a 0 5");
        check("3.0:a 5.3:b", "5.2", "a 0 5, b 5 ∞");
        check("3.0:a 5.3:a", "5.2", "a 0 ∞");
        // Without LSNs commit times decide.
        check("3.x:a 5.x:b", "5.x", "a 0 5");
    }

    /// A snapshot ends the versions of rows that it did not read, and no others.
    #[test]
    fn a_snapshot_that_is_taken_again_ends_what_it_did_not_read() {
        check_with("5.1:a", "", "9.4<6.2", "a 0 9");
        check_with("5.1:a 7.3:-", "", "9.4<7.3", "a 0 7");
        check_with("5.1:a 9.4:a", "", "9.4<6.2", "a 0 ∞");
        check_with("5.1:a 9.4:b", "", "9.4<6.2", "a 0 9, b 9 ∞");
        // It is made again later, or before the snapshot by a transaction that was open.
        check_with("5.1:a 12.6:a", "", "9.4<6.2", "a 0 9, a 12 ∞");
        check_with("8.3:a", "", "9.4<6.2", "a 0 ∞");
        check_with("6.3:a", "", "9.4<6.2", "a 0 ∞");
        // The last commit before it, and one of its own time.
        check_with("6.2:a", "", "9.4<6.2", "a 0 9");
        check_with("6.2:a", "", "6.4<6.2", "");
        check_with("5.1:a", "7.3", "9.4<7.3", "a 0 7");
        check_with("5.1:a 9.4:a", "", "9.4<6.2 15.8<12.7", "a 0 15");
    }

    /// What a lookup will find decides about columns, not about time.
    #[test]
    fn a_row_that_waits_keeps_its_place_in_time() {
        check("5.1:? 7.2:a", "", "a 7 ∞");
        check("5.1:a 7.2:? 8.3:? 9.4:a", "", "a 0 7, a 9 ∞");
        check("5.1:a 7.2:? 9.3:-", "", "a 0 7");
    }

    #[test]
    fn without_commit_times_the_current_row_is_the_version() {
        check("x.1:a x.2:b", "", "b 0 ∞");
        check("x.1:a x.2:-", "", "");
        check("x.1:a x.4:b", "x.3", "b 0 ∞");
        check("x.1:a x.2:b", "x.3", "");
        // History begins in 1970.
        check("-5.1:a 0.2:b 3.3:c", "", "b 0 3, c 3 ∞");
    }
}
