//! What the two rows of a transform must agree in, checked while it is
//! compiled: each difference is a compile error that says what to write.

use super::message::{Message, same_text};
use super::{Filled, InputColumn, Kind, Lookup, Source, StarColumn, StarTable};
use crate::answer::Answer;
use crate::lookup::LookupField;
use crate::row::SourceRow;
use crate::write::StarField;

/// The column that a `from` names.
pub(super) struct Place {
    /// The lookups on the way to it, with points between; empty: the source row.
    pub(super) path: &'static str,
    /// The column.
    pub(super) column: &'static str,
    /// The columns that the row there reads.
    columns: &'static [InputColumn],
    /// Can a source row have no such row?
    can_be_missing: bool,
}

/// Looks `from` up; `None`: there is no lookup of that name.
pub(super) const fn place(
    from: &'static str,
    columns: &'static [InputColumn],
    lookups: &'static [Lookup],
) -> Option<Place> {
    let mut place = Place { path: "", column: from, columns, can_be_missing: false };
    let mut lookups = lookups;
    while let Some(point) = point(place.column) {
        let (name, rest) = place.column.split_at(point);
        // The value before the change is a column of the source row itself.
        if place.path.is_empty() && same_text(name, "_before") {
            return Some(place);
        }
        let Some(lookup) = find(lookups, name) else { return None };
        place.column = rest.split_at(1).1;
        place.path = from.split_at(from.len() - place.column.len() - 1).0;
        place.columns = lookup.columns;
        place.can_be_missing = place.can_be_missing || matches!(lookup.missing, super::Missing::Nulls);
        lookups = lookup.lookups;
    }
    Some(place)
}

const fn point(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        if bytes[index] == b'.' {
            return Some(index);
        }
        index += 1;
    }
    None
}

const fn find(lookups: &'static [Lookup], name: &str) -> Option<&'static Lookup> {
    let mut index = 0;
    while index < lookups.len() {
        if same_text(lookups[index].name, name) {
            return Some(&lookups[index]);
        }
        index += 1;
    }
    None
}

/// Checks the star tables of an answer against the source row; called in a
/// constant, so that a difference is a compile error.
///
/// # Panics
/// A table stands in the answer twice; a passed column has another type or
/// nullability than the source row says, or names a lookup that it does not
/// have; a table that keeps history asks for what changes later.
#[track_caller]
pub const fn check<'a, R: SourceRow<'a>, A: Answer>() {
    let mut index = 0;
    while index < A::TABLES.len() {
        let table = &A::TABLES[index].table;
        let earlier = A::TABLES.split_at(index).0;
        check_distinct(table, earlier);
        check_one_version(&A::TABLES[index]);
        check_history(table, R::LOOKUPS);
        check_columns::<R>(table, earlier);
        index += 1;
    }
}

#[track_caller]
const fn check_distinct(table: &StarTable, earlier: &[Filled]) {
    let mut index = 0;
    while index < earlier.len() {
        if same_text(earlier[index].table.name, table.name) {
            Message::new()
                .text(table.name)
                .text(" stands twice in what the transform returns: return one Vec of its rows")
                .panic();
        }
        index += 1;
    }
}

#[track_caller]
const fn check_columns<'a, R: SourceRow<'a>>(table: &StarTable, earlier: &[Filled]) {
    let mut index = 0;
    while index < table.columns.len() {
        let column = &table.columns[index];
        if let Source::Passed(from) = column.source {
            let Some(place) = place(from, R::COLUMNS, R::LOOKUPS) else {
                passes_on(table.name, column, from)
                    .text(", but the source row looks up nothing of that name: give it a field with ")
                    .text("#[lookup(on = \"…\")], or correct `from`")
                    .panic();
            };
            check_passed(table.name, column, from, &place);
            check_agreement(table.name, column, from, table.columns.split_at(index).0);
            let mut other = 0;
            while other < earlier.len() {
                check_agreement(table.name, column, from, earlier[other].table.columns);
                other += 1;
            }
        }
        index += 1;
    }
}

#[track_caller]
const fn check_passed(table: &str, column: &StarColumn, from: &str, place: &Place) {
    if place.can_be_missing && !column.nullable {
        passes_on(table, column, from)
            .text(", but the row that it is of may be missing: make it Passed<Option<…>>")
            .panic();
    }
    let mut index = 0;
    while index < place.columns.len() {
        let input = &place.columns[index];
        if same_text(input.name, place.column) {
            let nullable = input.nullable || place.can_be_missing;
            if !(input.data_type.same(column.data_type) && nullable == column.nullable) {
                passes_on(table, column, from)
                    .text(", but the source row reads it as ")
                    .data_type(input.data_type, input.nullable)
                    .panic();
            }
            if !column.input_options.is_empty() {
                passes_on(table, column, from)
                    .text(" with options for reading it, but the source row reads it: give them there")
                    .panic();
            }
        }
        index += 1;
    }
}

/// Two columns that pass on the same must say the same of it.
#[track_caller]
const fn check_agreement(table: &str, column: &StarColumn, from: &str, others: &[StarColumn]) {
    let mut index = 0;
    while index < others.len() {
        let other = &others[index];
        if let Source::Passed(other_from) = other.source
            && same_text(other_from, from)
        {
            if !(other.data_type.same(column.data_type) && other.nullable == column.nullable) {
                passes_on(table, column, from)
                    .text(", but ")
                    .text(other.name)
                    .text(" passes it on as ")
                    .data_type(other.data_type, other.nullable)
                    .panic();
            }
            if !column.input_options.is_empty() {
                passes_on(table, column, from)
                    .text(" with options for reading it, but ")
                    .text(other.name)
                    .text(" passes it on already: give them there")
                    .panic();
            }
        }
        index += 1;
    }
}

const fn passes_on(table: &str, column: &StarColumn, from: &str) -> Message {
    Message::new()
        .text(table)
        .text(".")
        .text(column.name)
        .text(" passes on ")
        .text(from)
        .text(" as ")
        .data_type(column.data_type, column.nullable)
}

#[track_caller]
const fn check_one_version(filled: &Filled) {
    if matches!(filled.table.kind, Kind::Scd2) && filled.several {
        Message::new()
            .text(filled.table.name)
            .text(" keeps the versions of a source row, so one source row gives one row of it or none, and not a Vec")
            .panic();
    }
}

#[track_caller]
const fn check_history(table: &StarTable, lookups: &'static [Lookup]) {
    if matches!(table.kind, Kind::Append) && !lookups.is_empty() {
        Message::new()
            .text(table.name)
            .text(" keeps each change as it was, but the source row looks up ")
            .text(lookups[0].name)
            .text(", which changes later: refer to the version of a dimension with #[as_of(…)]")
            .panic();
    }
    if !matches!(table.kind, Kind::Scd2) {
        return;
    }
    let (mut index, mut marked, mut computed) = (0, false, None);
    while index < table.columns.len() {
        let column = &table.columns[index];
        marked = marked || column.tracked;
        match column.source {
            Source::Passed(from) => check_versioned(table.name, column, point(from).is_some()),
            Source::Computed if column.key => check_versioned(table.name, column, true),
            Source::Computed => computed = Some(column.name),
            Source::AsOf(_) => {}
        }
        index += 1;
    }
    if let Some(computed) = computed
        && !marked
        && reads(lookups)
    {
        Message::new()
            .text(table.name)
            .text(".")
            .text(computed)
            .text(
                " is computed beside lookups, so dabi cannot tell whether its change begins a new version: ",
            )
            .text("put #[column(tracked)] on the columns that do, and on none that depends on a lookup")
            .panic();
    }
}

#[track_caller]
const fn check_versioned(table: &str, column: &StarColumn, is_foreign: bool) {
    if is_foreign && column.key {
        Message::new()
            .text(table)
            .text(".")
            .text(column.name)
            .text(
                " is the key of a table that keeps versions of a source row: pass on the primary key of the ",
            )
            .text("source table, as Passed<…>")
            .panic();
    }
    if is_foreign && column.tracked {
        Message::new()
            .text(table)
            .text(".")
            .text(column.name)
            .text(" is looked up, and shows the current value on all versions: track the column that the lookup ")
            .text("is found by")
            .panic();
    }
}

/// Does any of the rows looked up enter the module?
const fn reads(lookups: &'static [Lookup]) -> bool {
    let mut index = 0;
    while index < lookups.len() {
        if !lookups[index].columns.is_empty() || reads(lookups[index].lookups) {
            return true;
        }
        index += 1;
    }
    false
}

/// Checks a field with `#[lookup]`; called in a constant.
///
/// # Panics
/// `missing` is given for an `Option`; a missing row could not be told from one
/// that is there; `on` and the key have another number of columns.
#[track_caller]
pub const fn check_lookup<'a, L: LookupField<'a>>(name: &str, on: &[&str], gives_missing: bool) {
    let lookup = Message::new().text("lookup ").text(name);
    if L::OPTIONAL && gives_missing {
        lookup.text(" is an Option, None where no row is found: take `missing` away, or the Option").panic();
    }
    if L::OPTIONAL && !has_required(L::Row::COLUMNS) {
        lookup
            .text(" is an Option, but all that its row reads may be null, so that nothing tells a missing row: ")
            .text("let the row read its key, for example `id: i64`")
            .panic();
    }
    if !L::Row::KEY.is_empty() && L::Row::KEY.len() != on.len() {
        lookup
            .text(" is not found by as many columns as the key of ")
            .text(L::Row::TABLE)
            .text(" has: name one in `on` for each of #[source(key = \"…\")]")
            .panic();
    }
}

const fn has_required(columns: &[InputColumn]) -> bool {
    let mut index = 0;
    while index < columns.len() {
        if !columns[index].nullable {
            return true;
        }
        index += 1;
    }
    false
}

/// Checks a field with `#[as_of]`; called in a constant.
///
/// # Panics
/// It is no version key that the host fills; or `missing` is given for an
/// `Option`.
#[track_caller]
pub const fn check_as_of<T: StarField>(name: &str, gives_missing: bool) {
    let reference = Message::new().text(name);
    if !(T::PASSED && T::TYPE.same(<u64 as crate::value::Value>::TYPE)) {
        reference
            .text(" is filled by the host with the key of a version: make it Passed<VersionKey>, or ")
            .text("Passed<Option<VersionKey>> where there may be none")
            .panic();
    }
    if T::NULLABLE && gives_missing {
        reference
            .text(" is an Option, null where no version is valid: take `missing` away, or the Option")
            .panic();
    }
}
