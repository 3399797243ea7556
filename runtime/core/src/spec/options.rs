//! The options of targets and their columns: what each may say.
//!
//! Owns their grammar. It is narrow on purpose: an option becomes part of a
//! statement, and a module's answer is foreign text.

use std::collections::BTreeSet;

use super::{Options, Target, TargetColumn, TargetKind};
use crate::change::Op;
use crate::data_type::DataType;

const TARGET_OPTIONS: &[&str] = &["order", "partition", "ttl", "comment", "ops"];
const COLUMN_OPTIONS: &[&str] = &["codec", "low-cardinality", "enum", "comment"];
/// Functions whose value never changes for the same argument, wherever and
/// whenever they run.
const PARTITION_FUNCTIONS: &[&str] = &[
    "toYYYYMM",
    "toYear",
    "toStartOfYear",
    "toStartOfMonth",
    "toMonday",
    "toDate",
    "intHash64",
    "cityHash64",
    "sipHash64",
    "xxHash64",
];
const TTL_UNITS: &[&str] = &["DAY", "WEEK", "MONTH", "QUARTER", "YEAR"];
/// `Enum16` has room for more, but not a reader's patience.
const ENUM_LABELS_MAX: usize = 10_000;

/// Refuses options that dabi does not know.
pub(super) fn check_known(place: &str, options: &Options, known: &[&str], faults: &mut Vec<String>) {
    for key in options.keys().filter(|key| !known.contains(&key.as_str())) {
        faults.push(format!("{place}: unknown option {key:?}; known are {}", known.join(", ")));
    }
}

/// Checks the options of a target.
pub(super) fn check_target(place: &str, target: &Target, faults: &mut Vec<String>) {
    check_known(place, &target.options, TARGET_OPTIONS, faults);
    if let Some(order) = target.options.get("order") {
        check_order(place, target, order, faults);
    }
    if let Some(partition) = target.options.get("partition")
        && !partition_column(partition).is_some_and(|column| target.identity().contains(&column))
    {
        faults.push(format!(
            "{place}: option partition is {partition:?}; it is a key column, one of the functions {} of a key \
             column, or either % a number (rows of one key must never change their partition)",
            PARTITION_FUNCTIONS.join(", ")
        ));
    }
    if let Some(text) = target.options.get("ops") {
        if target.kind != TargetKind::Append {
            faults
                .push(format!("{place}: option ops says which changes an append target keeps; take it away"));
        } else if ops(text).is_none() {
            faults.push(format!(
                "{place}: option ops is {text:?}; list some of c, u, d and r (snapshot reads) with commas between them"
            ));
        }
    }
    if let Some(ttl) = target.options.get("ttl")
        && !is_ttl(ttl, target)
    {
        faults.push(format!(
            "{place}: option ttl is {ttl:?}; write <column> + INTERVAL <number> {}, with a date or timestamp column",
            TTL_UNITS.join("|")
        ));
    }
}

/// The operations of an `ops` option; `None` if it is no list of them.
pub(super) fn ops(text: &str) -> Option<Vec<Op>> {
    let ops: Vec<Op> = text.split(',').map(|letter| Op::from_letter(letter.trim())).collect::<Option<_>>()?;
    let mut distinct = ops.clone();
    distinct.sort_unstable_by_key(|op| op.letter());
    distinct.dedup();
    (distinct.len() == ops.len() && !ops.contains(&Op::Truncate)).then_some(ops)
}

fn check_order(place: &str, target: &Target, order: &str, faults: &mut Vec<String>) {
    let columns: Vec<&str> = order_columns(order).collect();
    for column in &columns {
        let sortable = target.all_columns().any(|have| have.name == *column && !have.nullable);
        if !sortable {
            faults.push(format!("{place}: option order names {column:?}, which is no non-null column of it"));
        }
    }
    for key in target.key.iter().filter(|key| !columns.contains(&key.as_str())) {
        faults.push(format!(
            "{place}: option order lacks key column {key}; without it rows would swallow others"
        ));
    }
    if columns.iter().collect::<BTreeSet<_>>().len() != columns.len() {
        faults.push(format!("{place}: option order names a column twice"));
    }
}

/// The columns of an `order` option.
pub(super) fn order_columns(order: &str) -> impl Iterator<Item = &str> {
    order.split(',').map(str::trim)
}

/// The column of `c`, `f(c)`, `c % n` or `f(c) % n`.
fn partition_column(partition: &str) -> Option<&str> {
    let expression = match partition.split_once('%') {
        Some((expression, count)) if count.trim().parse::<u32>().is_ok_and(|count| count > 0) => expression,
        Some(_) => return None,
        None => partition,
    };
    match expression.trim().split_once('(') {
        None => Some(expression.trim()),
        Some((function, column)) if PARTITION_FUNCTIONS.contains(&function.trim()) => {
            column.trim().strip_suffix(')').map(str::trim)
        }
        Some(_) => None,
    }
}

fn is_ttl(ttl: &str, target: &Target) -> bool {
    let words: Vec<&str> = ttl.split_whitespace().collect();
    let [column, "+", interval, count, unit] = words.as_slice() else { return false };
    let is_dated = |data_type: &DataType| {
        matches!(data_type, DataType::Date | DataType::Timestamp | DataType::TimestampTz)
    };
    target.all_columns().any(|have| have.name == *column && !have.nullable && is_dated(have.data_type))
        && interval.eq_ignore_ascii_case("INTERVAL")
        && count.parse::<u32>().is_ok()
        && TTL_UNITS.iter().any(|known| known.eq_ignore_ascii_case(unit))
}

/// Checks the options of a target's column.
pub(super) fn check_column(place: &str, column: &TargetColumn, faults: &mut Vec<String>) {
    let options = &column.options;
    check_known(place, options, COLUMN_OPTIONS, faults);
    if let Some(codec) = options.get("codec")
        && !is_codec(codec)
    {
        faults.push(format!(
            "{place}: option codec is {codec:?}; write names with arguments, as \"Delta, ZSTD(1)\""
        ));
    }
    if let Some(value) = options.get("low-cardinality")
        && !(["true", "false"].contains(&value.as_str()) && column.data_type == DataType::Text)
    {
        faults.push(format!("{place}: option low-cardinality is true or false, and for text"));
    }
    if let Some(labels) = options.get("enum") {
        let labels: Vec<&str> = labels.split(',').map(str::trim).collect();
        let distinct = labels.iter().collect::<BTreeSet<_>>().len() == labels.len();
        if column.data_type != DataType::Text || options.contains_key("low-cardinality") {
            faults.push(format!("{place}: option enum is for text, and not beside low-cardinality"));
        } else if !distinct || labels.contains(&"") || labels.len() > ENUM_LABELS_MAX {
            faults.push(format!("{place}: option enum lists distinct labels with commas between them"));
        }
    }
}

/// Names, each with a list of numbers or not: `Delta, ZSTD(1)`.
fn is_codec(codec: &str) -> bool {
    let mut depth = 0_i32;
    for c in codec.chars() {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        let allowed = c.is_ascii_alphanumeric() || matches!(c, '_' | ',' | ' ' | '(' | ')');
        if !allowed || !(0..=1).contains(&depth) {
            return false;
        }
    }
    depth == 0 && !codec.trim().is_empty()
}
