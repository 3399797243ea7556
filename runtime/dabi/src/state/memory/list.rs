//! Members in one byte string, ascending.
//!
//! Owns the layout: each member with its length in front. Does not own where the
//! string is kept, or when it is too long (`groups`).

use super::super::bytes::{Reader, push_bytes};

/// The members of `list`.
pub(super) fn members(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut reader = Reader::new(list);
    std::iter::from_fn(move || {
        (!reader.is_empty()).then(|| reader.bytes().expect("a list is written as it is read"))
    })
}

/// `list` with `member` in its place, into `out`; false if it is there already.
pub(super) fn with(list: &[u8], member: &[u8], out: &mut Vec<u8>) -> bool {
    let (before, there, _) = around(list, member);
    if there {
        return false;
    }
    out.clear();
    out.extend_from_slice(&list[..before]);
    push_bytes(out, member);
    out.extend_from_slice(&list[before..]);
    true
}

/// `list` without `member`, into `out`; false if it is not there.
pub(super) fn without(list: &[u8], member: &[u8], out: &mut Vec<u8>) -> bool {
    let (before, there, after) = around(list, member);
    if there {
        out.clear();
        out.extend_from_slice(&list[..before]);
        out.extend_from_slice(&list[after..]);
    }
    there
}

/// Two lists of about the same length; the second begins with a member that is
/// greater than all of the first. `None` for a single member.
pub(super) fn halves(list: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut reader = Reader::new(list);
    reader.bytes()?;
    let mut middle = list.len() - reader.len();
    while middle < list.len() / 2 {
        let before = middle;
        reader.bytes()?;
        middle = list.len() - reader.len();
        if middle == list.len() {
            middle = before;
            break;
        }
    }
    list.split_at_checked(middle).filter(|(_, second)| !second.is_empty())
}

/// Where `member` begins or would begin, if it is there, and where it ends.
fn around(list: &[u8], member: &[u8]) -> (usize, bool, usize) {
    let mut reader = Reader::new(list);
    loop {
        let start = list.len() - reader.len();
        match reader.bytes() {
            Some(other) if other < member => {}
            Some(other) if other == member => return (start, true, list.len() - reader.len()),
            _ => return (start, false, start),
        }
    }
}
