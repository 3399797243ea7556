//! As-of references: what they may say, alone and beside other transforms.

use super::{ColumnSource, InvalidSpec, MissingPolicy, Spec, Target, TargetColumn, TargetKind};
use crate::data_type::DataType;

impl Spec {
    /// Checks what this transform refers to in `all` transforms that run with
    /// it, itself among them. Each must have passed [`Spec::validate`].
    ///
    /// # Errors
    /// All faults at once, each naming its place.
    pub fn validate_references(&self, all: &[&Self]) -> Result<(), InvalidSpec> {
        let mut faults = Vec::new();
        for target in &self.targets {
            for reference in &target.as_of {
                let place = format!("target {} refers to {}", target.table, reference.dimension);
                let mut targets = all.iter().flat_map(|spec| &spec.targets);
                match targets.find(|other| other.table == reference.dimension) {
                    None => faults.push(format!(
                        "{place}, which no transform fills; add the transform of that dimension, or correct the name"
                    )),
                    Some(dimension) if dimension.kind != TargetKind::Scd2 => faults.push(format!(
                        "{place}, which keeps no versions; make its kind scd2, or join it by its key"
                    )),
                    Some(dimension) => check_key(&place, target, &reference.key, dimension, &mut faults),
                }
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(InvalidSpec { transform: self.name.clone(), faults }) }
    }
}

/// Versions are found by comparing values, so they must be of one type.
fn check_key(place: &str, target: &Target, key: &[String], dimension: &Target, faults: &mut Vec<String>) {
    if key.len() != dimension.key.len() {
        faults.push(format!(
            "{place} by ({}), but its key is ({}); name one column for each of the key",
            key.join(", "),
            dimension.key.join(", ")
        ));
        return;
    }
    for (name, wanted) in key.iter().zip(&dimension.key) {
        let (Some(have), Some(wanted)) = (column(target, name), column(dimension, wanted)) else { continue };
        if have.data_type != wanted.data_type {
            faults.push(format!(
                "{place} by {name}, which is {}, but its key column {} is {}; declare the same type",
                have.data_type, wanted.name, wanted.data_type
            ));
        }
    }
}

/// Checks the references of a target, and the columns that they fill.
pub(super) fn check(target: &Target, faults: &mut Vec<String>) {
    let place = format!("target {}", target.table);
    if target.kind == TargetKind::Scd2 && !target.as_of.is_empty() {
        faults.push(format!(
            "{place} keeps versions itself, so it has no one time to refer to other versions at; refer to them from a \
             fact"
        ));
    }
    for (position, reference) in target.as_of.iter().enumerate() {
        let place = format!("{place}: reference to {}", reference.dimension);
        let filled: Vec<&TargetColumn> =
            target.columns.iter().filter(|column| column.source == ColumnSource::AsOf(position)).collect();
        match filled.as_slice() {
            [column] => check_filled(&place, target, column, reference.missing, faults),
            [] => faults.push(format!("{place} fills no column; let one have it as its source")),
            [_, second, ..] => faults.push(format!("{place} fills a second column, {}", second.name)),
        }
        if reference.key.is_empty() {
            faults.push(format!("{place} has no key; name the columns that hold the dimension's key"));
        }
        for name in reference.key.iter().chain([&reference.at]) {
            match column(target, name) {
                None => faults.push(format!("{place} names {name}, which is not a column of the target")),
                Some(named) if matches!(named.source, ColumnSource::AsOf(_)) => {
                    faults.push(format!("{place} names {name}, which is filled by a reference itself"));
                }
                Some(_) => {}
            }
        }
        if let Some(at) = column(target, &reference.at)
            && !matches!(at.data_type, DataType::Timestamp | DataType::TimestampTz)
        {
            faults.push(format!(
                "{place} is at {}, which is {}, not a time; use a timestamptz",
                at.name, at.data_type
            ));
        }
    }
    for column in &target.columns {
        if let ColumnSource::AsOf(position) = column.source
            && position >= target.as_of.len()
        {
            let (name, count) = (&column.name, target.as_of.len());
            faults.push(format!(
                "{place}, column {name} is filled by reference {position}, but there are {count}"
            ));
        }
    }
}

fn check_filled(
    place: &str,
    target: &Target,
    column: &TargetColumn,
    missing: MissingPolicy,
    faults: &mut Vec<String>,
) {
    let name = &column.name;
    if column.data_type != DataType::Uint64 {
        faults
            .push(format!("{place} fills {name}, which is {}; a version key is a uint64", column.data_type));
    }
    if column.nullable != (missing == MissingPolicy::Nulls) {
        faults.push(format!("{place} fills {name}: it may be null if, and only if, missing is nulls"));
    }
    if target.key.contains(name) {
        faults.push(format!("{place} fills {name}, a key column; a row is known before its references are"));
    }
}

fn column<'a>(target: &'a Target, name: &str) -> Option<&'a TargetColumn> {
    target.columns.iter().find(|column| column.name == name)
}
