//! What happened to a source key, commit by commit.
//!
//! Owns the bytes of a key's entries, which of them stand, and their order in
//! time. Does not own what versions they come to (`timeline`).
//!
//! An entry's identity is its commit time, LSN and transaction: one seen again, as
//! after a restart of the connector, takes the place of the first. Entries lie in
//! the order in which they came, so that Kafka's order decides between those that
//! neither time nor LSN tells apart. Without a commit time an entry stands at the
//! beginning of time, so that a source that sends none has one version of each
//! row, the current one.
//!
//! Invariant: the versions depend on the entries, not on the order in which they
//! came, as long as the source sends LSNs.

use std::borrow::Cow;
use std::collections::HashSet;

use super::bytes::{push_bytes, take_bytes};
use super::record::{Head, Known, OwnedRecord, Record};

/// What an event made of its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    tx: Option<&'a [u8]>,
    /// Is there a row from then on?
    pub(super) has_row: bool,
    /// The row; of an entry without one, where its event stood.
    pub(super) record: &'a [u8],
}

/// Commit time, LSN and transaction of an event.
pub(super) type Identity<'a> = (Option<i64>, Option<i64>, Option<&'a [u8]>);

/// What held from a commit on; see [`in_time`].
pub(super) struct Moment<'a> {
    pub(super) head: Head,
    /// The row, with the values that it was sent without.
    pub(super) row: Option<Cow<'a, [u8]>>,
}

const HAS_ROW: u8 = 1;
const HAS_TX: u8 = 2;

impl Entry<'_> {
    fn head(&self) -> Head {
        Record::parse(self.record).head
    }

    pub(super) fn identity(&self) -> Identity<'_> {
        let head = self.head();
        (head.ts_us, head.lsn, self.tx)
    }

    /// LSN and commit time (µs), where both are known.
    pub(super) fn place(&self) -> Option<(i64, i64)> {
        let head = self.head();
        head.lsn.zip(head.ts_us)
    }

    /// Does it wait for a key change?
    fn is_pending(&self) -> bool {
        Record::parse(self.record).link.is_some()
    }
}

/// When an event counts in history: never before 1970, where it begins.
pub(super) fn time_us(ts_us: Option<i64>) -> i64 {
    ts_us.unwrap_or_default().max(0)
}

/// Adds an entry to those of its key that came before.
pub(super) fn push_history(buffer: &mut Vec<u8>, tx: Option<&str>, has_row: bool, record: &[u8]) {
    let flag = |has: bool, flag: u8| if has { flag } else { 0 };
    buffer.push(flag(has_row, HAS_ROW) | flag(tx.is_some(), HAS_TX));
    if let Some(tx) = tx {
        push_bytes(buffer, tx.as_bytes());
    }
    push_bytes(buffer, record);
}

/// The entries of a key, in the order in which they came.
pub(super) fn entries(mut bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    std::iter::from_fn(move || {
        let (flags, rest) = bytes.split_first()?;
        bytes = rest;
        let tx = (flags & HAS_TX != 0).then(|| take_bytes(&mut bytes));
        Some(Entry { tx, has_row: flags & HAS_ROW != 0, record: take_bytes(&mut bytes) })
    })
}

/// Entries without those whose identity came again.
pub(super) fn without_repeated(bytes: &[u8]) -> Vec<u8> {
    let all: Vec<Entry<'_>> = entries(bytes).collect();
    let mut seen = HashSet::with_capacity(all.len());
    let mut stands: Vec<bool> = all.iter().rev().map(|entry| seen.insert(entry.identity())).collect();
    stands.reverse();
    let mut kept = Vec::with_capacity(bytes.len());
    for (entry, _) in all.iter().zip(&stands).filter(|(_, stands)| **stands) {
        push(&mut kept, entry, entry.record);
    }
    kept
}

/// Does an entry wait for a key change?
pub(super) fn are_pending(bytes: &[u8]) -> bool {
    entries(bytes).any(|entry| entry.is_pending())
}

/// Entries with those that wait for a key change as `fill` leaves them.
///
/// # Errors
/// As `fill`.
pub(super) fn filled<E>(
    bytes: &[u8],
    mut fill: impl FnMut(&mut OwnedRecord) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    let mut buffer = Vec::with_capacity(bytes.len());
    let mut record_bytes = Vec::new();
    for entry in entries(bytes) {
        if !entry.is_pending() {
            push(&mut buffer, &entry, entry.record);
            continue;
        }
        let mut record = OwnedRecord::parse(entry.record);
        fill(&mut record)?;
        record_bytes.clear();
        record.push(&mut record_bytes);
        push(&mut buffer, &entry, &record_bytes);
    }
    Ok(buffer)
}

/// The entries of a key in the order of commit time and LSN. A value that a row
/// was sent without is that of the row before it.
pub(super) fn in_time(bytes: &[u8]) -> Vec<Moment<'_>> {
    let mut all: Vec<(Head, Entry<'_>)> = entries(bytes).map(|entry| (entry.head(), entry)).collect();
    all.sort_by_key(|(head, _)| (time_us(head.ts_us), head.lsn));
    let mut moments: Vec<Moment<'_>> = Vec::with_capacity(all.len());
    for (head, entry) in all {
        let before = moments.last().and_then(|moment| moment.row.as_deref());
        let row = entry.has_row.then(|| with_unsent(entry.record, before));
        moments.push(Moment { head, row });
    }
    moments
}

/// The row that the key had before the commit at `head`.
pub(super) fn row_before(bytes: &[u8], head: &Head) -> Option<OwnedRecord> {
    let place = |head: &Head| (time_us(head.ts_us), head.lsn);
    let moments = in_time(bytes);
    let before = moments.iter().take_while(|moment| place(&moment.head) < place(head)).last()?;
    before.row.as_deref().map(OwnedRecord::parse)
}

fn push(buffer: &mut Vec<u8>, entry: &Entry<'_>, record: &[u8]) {
    let tx = entry.tx.map(|tx| std::str::from_utf8(tx).expect("written from a text"));
    push_history(buffer, tx, entry.has_row, record);
}

fn with_unsent<'a>(record: &'a [u8], before: Option<&[u8]>) -> Cow<'a, [u8]> {
    let is_whole = Record::parse(record).cells().all(|cell| cell.known != Known::Nowhere || cell.linked);
    let (false, Some(before)) = (is_whole, before) else { return Cow::Borrowed(record) };
    let (mut record, before) = (OwnedRecord::parse(record), OwnedRecord::parse(before));
    record.take_unsent(&before);
    let mut bytes = Vec::new();
    record.push(&mut bytes);
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use super::super::record::{Cell, OwnedCell, push_head};
    use super::*;

    /// One cell, or where it was not sent none.
    fn entry(buffer: &mut Vec<u8>, ts_us: Option<i64>, lsn: i64, cell: Option<&str>) {
        let head = Head { ts_us, lsn: Some(lsn), ..Head::default() };
        let cell = match cell {
            Some(text) => Cell { known: Known::Value, linked: false, bytes: text.as_bytes() },
            None => Cell { known: Known::Nowhere, linked: false, bytes: b"" },
        };
        let mut record = Vec::new();
        OwnedRecord { head, link: None, cells: vec![OwnedCell::from(cell)] }.push(&mut record);
        push_history(buffer, Some("tx"), true, &record);
    }

    fn absent(buffer: &mut Vec<u8>, ts_us: i64, lsn: i64) {
        let mut record = Vec::new();
        push_head(&mut record, &Head { ts_us: Some(ts_us), lsn: Some(lsn), ..Head::default() }, None);
        push_history(buffer, None, false, &record);
    }

    fn shown(bytes: &[u8]) -> Vec<String> {
        let row = |row: &[u8]| match Record::parse(row).cells().next() {
            Some(cell) if cell.known == Known::Value => String::from_utf8_lossy(cell.bytes).into_owned(),
            _ => "?".to_owned(),
        };
        let moment = |moment: Moment<'_>| moment.row.as_deref().map_or_else(|| "gone".to_owned(), row);
        in_time(bytes).into_iter().map(moment).collect()
    }

    #[test]
    fn time_and_then_lsn_decide_the_order() {
        let mut bytes = Vec::new();
        entry(&mut bytes, Some(9), 4, Some("d"));
        entry(&mut bytes, Some(5), 3, Some("c"));
        absent(&mut bytes, 7, 1);
        entry(&mut bytes, Some(5), 2, Some("b"));
        entry(&mut bytes, None, 9, Some("a"));
        assert_eq!(shown(&bytes), ["a", "b", "c", "gone", "d"]);
    }

    #[test]
    fn an_identity_that_comes_again_takes_its_place() {
        let mut bytes = Vec::new();
        for (ts_us, text) in [(1, "a"), (2, "b"), (1, "c")] {
            entry(&mut bytes, Some(ts_us), 0, Some(text));
        }
        assert_eq!(shown(&without_repeated(&bytes)), ["c", "b"]);
    }

    /// Redelivery does not give an older row a newer value.
    #[test]
    fn an_unsent_value_is_that_of_the_row_before_in_time() {
        let mut bytes = Vec::new();
        entry(&mut bytes, Some(1), 0, Some("a"));
        entry(&mut bytes, Some(2), 0, None);
        entry(&mut bytes, Some(3), 0, Some("b"));
        entry(&mut bytes, Some(2), 0, None);
        assert_eq!(shown(&without_repeated(&bytes)), ["a", "a", "b"]);
        let mut begun_late = Vec::new();
        entry(&mut begun_late, Some(1), 0, None);
        absent(&mut begun_late, 2, 0);
        entry(&mut begun_late, Some(3), 0, None);
        assert_eq!(shown(&begun_late), ["?", "gone", "?"]);
    }
}
