//! Names of the lake's objects, below its root.
//!
//! Invariant: two source tables never share a folder, whatever their names, and
//! no name leaves the root.

use std::fmt::Write as _;

use super::{CheckpointRange, ManifestNumber};
use crate::table::SourceTable;
use crate::version::Term;

/// Folder of the manifests.
pub const MANIFESTS: &str = "_dabi/manifests";
/// Folder of the checkpoints: many manifests in one object.
pub const CHECKPOINTS: &str = "_dabi/checkpoints";
/// Folder of the terms claimed.
pub const TERMS: &str = "_dabi/terms";
/// Folder of the dead letters.
pub const DEAD_LETTERS: &str = "_dabi/dead_letters";

/// Longest name of a folder; file systems allow 255 bytes.
const SEGMENT_BYTES_MAX: usize = 100;

impl ManifestNumber {
    /// `_dabi/manifests/<20 digits>.json`
    #[must_use]
    pub fn path(self) -> String {
        format!("{MANIFESTS}/{:020}.json", self.0)
    }

    /// The number in a path; `None` if it is not a manifest's.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        digits(stem(path, MANIFESTS)?).map(Self)
    }
}

impl CheckpointRange {
    /// `_dabi/checkpoints/<20 digits>-<20 digits>.json`
    #[must_use]
    pub fn path(self) -> String {
        format!("{CHECKPOINTS}/{:020}-{:020}.json", self.first.0, self.last.0)
    }

    /// The range in a path; `None` if it is not a checkpoint's.
    #[must_use]
    pub fn from_path(path: &str) -> Option<Self> {
        let (first, last) = stem(path, CHECKPOINTS)?.split_once('-')?;
        let (first, last) = (ManifestNumber(digits(first)?), ManifestNumber(digits(last)?));
        (ManifestNumber::FIRST <= first && first <= last).then_some(Self { first, last })
    }
}

/// `_dabi/terms/<8 digits>.json`
#[must_use]
pub fn term_path(term: Term) -> String {
    format!("{TERMS}/{:08}.json", term.0)
}

/// The term in a path; `None` if it is not a term's.
#[must_use]
pub fn term_from_path(path: &str) -> Option<Term> {
    digits(stem(path, TERMS)?).and_then(|number| u32::try_from(number).ok()).map(Term)
}

fn stem<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')?.strip_suffix(".json")
}

fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Folder of a table's files: `<schema>.<table>`, each made safe.
#[must_use]
pub fn table_prefix(table: &SourceTable) -> String {
    format!("{}.{}", path_segment(table.schema()), path_segment(table.table()))
}

/// `name` as a part of a path: ASCII letters, digits, `_` and `-` stay, as do
/// letters and digits of other scripts; every other byte becomes `!` and two hex
/// digits (`!` is safe in S3 keys, URLs and file names, and means nothing to a
/// glob). A name that grows too long ends in `!` and a hash.
#[must_use]
pub fn path_segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for c in name.chars() {
        let keep = c == '_' || c == '-' || c.is_alphanumeric();
        if keep {
            out.push(c);
        } else {
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                // writing to a String cannot fail
                let _ = write!(out, "!{byte:02X}");
            }
        }
    }
    if out.len() > SEGMENT_BYTES_MAX {
        let mut end = SEGMENT_BYTES_MAX - 17;
        while !out.is_char_boundary(end) {
            end -= 1;
        }
        out.truncate(end);
        let _ = write!(out, "!{:016x}", xxhash_rust::xxh3::xxh3_64(name.as_bytes()));
    }
    out
}
