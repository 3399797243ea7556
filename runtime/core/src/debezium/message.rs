//! What a payload is: an envelope, a flattened row, or no change event at all.
//!
//! Owns the recognition of shapes, by their entries alone and never by settings.
//! Does not own columns and their types (`layout`).

use std::borrow::Cow;
use std::collections::HashSet;

use super::json::{self, Entries, Kind, Lexeme};
use super::meta::{Meta, Slot};
use super::refusal::{Fault, Refusal, quote};
use super::{Skip, envelope, flattened};

/// A change event, its values not yet assigned to columns.
#[derive(Debug)]
pub(super) struct Draft<'a> {
    pub(super) meta: Meta<'a>,
    /// the row after the change (for a flattened delete: the row deleted)
    pub(super) after: Option<Entries<'a>>,
    /// the row before the change
    pub(super) before: Option<Entries<'a>>,
}

/// Reads the entries of a payload.
///
/// # Errors
/// If it is no change event, or one that cannot be read.
pub(super) fn read<'a>(entries: Entries<'a>, key: &Entries<'_>) -> Result<Draft<'a>, Refusal> {
    let marked = entries.iter().any(|(name, _)| name.starts_with(flattened::MARK));
    if marked && !envelope::is_beyond_doubt(&entries) {
        return Ok(flattened::read(entries));
    }
    if let Some(draft) = envelope::read(&entries)? {
        return Ok(draft);
    }
    if let Some(skip) = other(&entries, key) {
        return Err(Refusal::Skip(skip));
    }
    if entries.is_empty() {
        let message = "the value is an empty object; expected a Debezium envelope or a flattened row";
        return Err(Fault::new("unknown-shape", message).into());
    }
    let is_in_row = |column: &str| entries.iter().any(|(name, _)| name == column);
    if !key.iter().any(|(column, _)| is_in_row(column)) {
        let message = "the value is neither a Debezium envelope nor a flattened row that can be told from any other \
                       JSON: it has no field that begins with __ (add.fields), and no column of the record's key";
        return Err(Fault::new("unknown-shape", message).into());
    }
    Ok(flattened::read(entries))
}

/// Kinds of records that are no change events and have no `op`.
fn other(entries: &Entries<'_>, key: &Entries<'_>) -> Option<Skip> {
    let has = |name| json::last(entries, name).kind != Kind::Absent;
    let status = json::last(entries, "status").text;
    let bounds = status == b"\"BEGIN\"" || status == b"\"END\"";
    if bounds && has("id") && has("event_count") && has("data_collections") {
        return Some(Skip::Transaction);
    }
    if has("ddl") && (has("tableChanges") || has("databaseName")) {
        return Some(Skip::SchemaChange);
    }
    let heartbeat = key.iter().any(|(name, _)| name == "serverName")
        && entries.iter().all(|(name, _)| matches!(&**name, "ts_ms" | "ts_us" | "ts_ns"));
    (heartbeat && !entries.is_empty()).then_some(Skip::Heartbeat)
}

/// The entries of a row image; `None` for null.
pub(super) fn image<'a>(value: Lexeme<'a>, name: &str) -> Result<Option<Entries<'a>>, Fault> {
    match value.kind {
        Kind::Absent | Kind::Null => Ok(None),
        Kind::Object => sub_object(value).map(Some),
        _ => {
            let message = format!(
                "{name} is {}, not an object; is a transformation rewriting the envelope?",
                quote(value.text)
            );
            Err(Fault::new("no-row", message))
        }
    }
}

/// The entries of an object within a value that was valid JSON.
pub(super) fn sub_object(value: Lexeme<'_>) -> Result<Entries<'_>, Fault> {
    let bad = |error: String| Fault::new("bad-json", format!("the value is no valid JSON: {error}"));
    let text = std::str::from_utf8(value.text).map_err(|e| bad(e.to_string()))?;
    json::entries(text).map_err(|e| bad(e.to_string()))
}

/// Puts the entries that `slot` knows where they belong; of repeated names the
/// last counts.
pub(super) fn fill<'a>(meta: &mut Meta<'a>, entries: &Entries<'a>, slot: impl Fn(&str) -> Option<Slot>) {
    for (name, value) in entries {
        if let Some(slot) = slot(name) {
            meta.set(slot, *value);
        }
    }
}

/// So many names are faster compared with each other than hashed.
const COMPARED_MAX: usize = 24;

/// Distinct names, in the order of their first mention.
pub(super) fn distinct<'n>(names: impl Iterator<Item = &'n Cow<'n, str>>) -> Vec<&'n str> {
    let mut distinct: Vec<&str> = Vec::with_capacity(16);
    let mut seen = HashSet::new();
    for name in names.map(|name| &**name) {
        if distinct.len() == COMPARED_MAX {
            seen.extend(distinct.iter().copied());
        }
        let known = if distinct.len() < COMPARED_MAX { distinct.contains(&name) } else { !seen.insert(name) };
        if !known {
            distinct.push(name);
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_however_many_there_are() {
        for count in [0, 1, COMPARED_MAX - 1, COMPARED_MAX, COMPARED_MAX + 1, 100] {
            let names: Vec<Cow<'_, str>> = (0..count).map(|n| Cow::Owned(format!("c{n}"))).collect();
            let expected: Vec<&str> = names.iter().map(|name| &**name).collect();
            assert_eq!(distinct(names.iter().chain(&names)), expected);
        }
    }
}
