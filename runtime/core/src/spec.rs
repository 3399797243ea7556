//! What a transform declares: its source, the columns it reads, its targets.
//!
//! Owns the declaration, its rules, and the choice between the stateless and
//! the stateful engine. Does not own its wire form (`wit/`, `transform`) or
//! what a target becomes in ClickHouse (`star`).
//!
//! Invariant: a [`Spec`] that passed [`Spec::validate`] names only columns that
//! exist, has one column per name, and only options that dabi knows.

mod options;

use std::collections::{BTreeMap, BTreeSet};

use crate::data_type::DataType;
use crate::table::SourceTable;

/// Hints that never break the contract; unknown keys are refused.
pub type Options = BTreeMap<String, String>;

/// What `describe()` of a module answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Name of the transform, for lineage and messages.
    pub name: String,
    /// Version of the transform, for lineage.
    pub version: String,
    /// The source table.
    pub source: SourceTable,
    /// The columns that `apply` gets, in this order.
    pub columns: Vec<InputColumn>,
    /// Left joins made by the host; their columns follow `columns`.
    pub lookups: Vec<Lookup>,
    /// The tables that it fills.
    pub targets: Vec<Target>,
    /// Options of the whole transform.
    pub options: Options,
}

/// A column wanted from the source table or from a looked-up one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputColumn {
    /// A source column, or a pseudo-column: `_op`, `_ts`, `_lsn`, `_before.<column>`.
    pub name: String,
    /// The type to read it as.
    pub data_type: DataType,
    /// May it be null? A null for a column that says no is a dead letter.
    pub nullable: bool,
    /// false: only passed on by the host ([`ColumnSource::Input`]); it never
    /// enters the module.
    pub read: bool,
    /// How to read values whose type the wire does not give: `unit`, `decimal`,
    /// `bytes` (see [`crate::reading`]).
    pub options: Options,
}

/// A left join made by the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Name for messages.
    pub name: String,
    /// The table looked up.
    pub table: SourceTable,
    /// Columns that are unique together in the looked-up table.
    pub key: Vec<String>,
    /// Columns of the source table, as many as in `key`.
    pub on: Vec<String>,
    /// The columns wanted.
    pub columns: Vec<InputColumn>,
    /// What becomes of a row that finds nothing.
    pub missing: MissingPolicy,
}

/// What the host does with a row whose lookup finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingPolicy {
    /// pass nulls
    Nulls,
    /// no star row until it is there
    Hold,
    /// a dead letter until it is there
    Reject,
}

/// How a target keeps what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// the current row per key
    Latest,
    /// slowly changing dimension, type 2: one row per version of a key
    Scd2,
    /// one row per change
    Append,
}

/// A table of the star.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Name of the reader's view.
    pub table: String,
    /// How it keeps rows.
    pub kind: TargetKind,
    /// Its columns.
    pub columns: Vec<TargetColumn>,
    /// Names of the columns that identify a row.
    pub key: Vec<String>,
    /// References to the version of a dimension valid at a time.
    pub as_of: Vec<AsOf>,
    /// `order`: columns that rows are sorted by, in place of the key's order;
    /// `partition`: a function of the key; `ttl`: `<column> + INTERVAL n DAY`;
    /// `comment`.
    pub options: Options,
}

/// A reference from a target to the scd2 version valid at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsOf {
    /// The target column that gets the version key.
    pub column: String,
    /// The scd2 target referred to.
    pub dimension: String,
    /// Target columns that hold the dimension's key.
    pub key: Vec<String>,
    /// Target column that holds the time.
    pub at: String,
}

/// A column of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub data_type: DataType,
    /// May it be null?
    pub nullable: bool,
    /// Where its values come from.
    pub source: ColumnSource,
    /// scd2: does a change of it begin a new version?
    pub tracked: bool,
    /// `codec`: as ClickHouse writes it; for text `low-cardinality` = `true`,
    /// or `enum`: its labels with commas between them; `comment`.
    pub options: Options,
}

/// Where the values of a target column come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ColumnSource {
    /// `apply` returns them.
    Computed,
    /// Those of this input column, at the output row's origin.
    Input(usize),
}

/// The pseudo-columns that a transform may ask for beside the row's own.
pub const PSEUDO_COLUMNS: [&str; 3] = ["_op", "_ts", "_lsn"];
/// Prefix of the pseudo-columns of the before-image.
pub const BEFORE_PREFIX: &str = "_before.";

/// The options of an input column, each with its values.
const INPUT_OPTIONS: &[(&str, &[&str])] =
    &[("unit", &["ms", "us", "ns"]), ("decimal", &["base64", "string"]), ("bytes", &["base64", "hex"])];
const SPEC_OPTIONS: &[&str] = &["sdk"];

/// A declaration that makes no sense, each fault by itself.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("transform {transform}: {}", faults.join("; "))]
pub struct InvalidSpec {
    /// Name of the transform.
    pub transform: String,
    /// What is wrong, each naming the place.
    pub faults: Vec<String>,
}

impl Spec {
    /// Checks everything that can be checked without a source or a warehouse.
    ///
    /// # Errors
    /// All faults at once, each naming its place.
    pub fn validate(&self) -> Result<(), InvalidSpec> {
        let mut faults = Vec::new();
        options::check_known("transform", &self.options, SPEC_OPTIONS, &mut faults);
        let mut inputs = BTreeSet::new();
        for column in self.columns.iter().chain(self.lookups.iter().flat_map(|l| &l.columns)) {
            check_input_options(column, &mut faults);
            check_type(&format!("column {}", column.name), &column.data_type, &mut faults);
        }
        for column in &self.columns {
            if !inputs.insert(&column.name) {
                faults.push(format!("column {} is declared twice", column.name));
            }
        }
        if self.targets.is_empty() {
            faults.push("it has no target".into());
        }
        let mut tables = BTreeSet::new();
        for target in &self.targets {
            if !tables.insert(&target.table) {
                faults.push(format!("target {} is declared twice", target.table));
            }
            self.validate_target(target, &mut faults);
        }
        if faults.is_empty() { Ok(()) } else { Err(InvalidSpec { transform: self.name.clone(), faults }) }
    }

    fn validate_target(&self, target: &Target, faults: &mut Vec<String>) {
        let place = format!("target {}", target.table);
        options::check_target(&place, target, faults);
        if target.table.starts_with('_') || !is_identifier(&target.table) || is_physical(&target.table) {
            faults.push(format!(
                "{place}: a table name is letters, digits and _, starts with a letter, and does not end in \
                 __g and a number (dabi names its own tables so)"
            ));
        }
        if target.key.is_empty() {
            faults.push(format!("{place}: it has no key"));
        }
        let mut names = BTreeSet::new();
        for column in &target.columns {
            let place = format!("{place}, column {}", column.name);
            options::check_column(&place, column, faults);
            check_type(&place, &column.data_type, faults);
            if column.name.starts_with('_') || !is_identifier(&column.name) {
                faults.push(format!(
                    "{place}: a column name is letters, digits and _, and starts with a letter"
                ));
            }
            if !names.insert(column.name.as_str()) {
                faults.push(format!("{place} is declared twice"));
            }
            self.validate_passed(&place, column, faults);
        }
        for key in &target.key {
            match target.columns.iter().find(|column| column.name == *key) {
                None => faults.push(format!("{place}: key column {key} is not one of its columns")),
                Some(column) if column.nullable => {
                    faults.push(format!("{place}: key column {key} may be null; make it non-null"));
                }
                Some(_) => {}
            }
        }
    }

    /// A column passed on is the input column, so it cannot differ from it.
    fn validate_passed(&self, place: &str, column: &TargetColumn, faults: &mut Vec<String>) {
        let ColumnSource::Input(position) = column.source else { return };
        let mut inputs = self.columns.iter().chain(self.lookups.iter().flat_map(|lookup| &lookup.columns));
        let count = inputs.clone().count();
        let Some(input) = inputs.nth(position) else {
            faults.push(format!("{place} passes on input column {position}, but there are {count}"));
            return;
        };
        if input.data_type != column.data_type {
            faults.push(format!(
                "{place} is {}, but passes on {}, which is read as {}; declare the same type",
                column.data_type, input.name, input.data_type
            ));
        }
        if input.nullable && !column.nullable {
            faults.push(format!(
                "{place} is non-null, but passes on {}, which may be null; declare both the same",
                input.name
            ));
        }
    }

    /// Why this transform needs the stateful engine; empty: it is stateless.
    ///
    /// The narrow rule: `latest` targets, no lookups, key columns exactly the
    /// source's primary key, each passed through by the host, so that the host
    /// can write a tombstone without calling the module. `source_key` is the
    /// source's primary key; while it is not known (`None`), it is not held
    /// against the targets'. That `apply` gives at most one row per source row
    /// can only be checked on each answer.
    #[must_use]
    pub fn stateful_reasons(&self, source_key: Option<&[&str]>) -> Vec<String> {
        let mut reasons = Vec::new();
        for lookup in &self.lookups {
            reasons.push(format!("it looks up {}", lookup.table));
        }
        for target in &self.targets {
            let place = format!("target {}", target.table);
            if target.kind != TargetKind::Latest {
                reasons.push(format!("{place} keeps history"));
            }
            if !target.as_of.is_empty() {
                reasons.push(format!("{place} refers to dimension versions"));
            }
            let order = target.options.get("order").map(String::as_str).unwrap_or_default();
            let beside: Vec<&str> = options::order_columns(order)
                .filter(|c| !c.is_empty() && !target.key.iter().any(|k| k == c))
                .collect();
            if !beside.is_empty() {
                // A row that changes them must remove the one it leaves behind.
                reasons.push(format!("{place} is sorted by {}, beside its key", beside.join(", ")));
            }
            let mut passed = BTreeSet::new();
            for key in &target.key {
                match self.passed_through(target, key) {
                    Some(input) => {
                        passed.insert(input);
                    }
                    None => reasons
                        .push(format!("{place}: key column {key} is not passed through from the source")),
                }
            }
            let Some(source_key) = source_key else { continue };
            let wanted: BTreeSet<&str> = source_key.iter().copied().collect();
            if passed.len() == target.key.len() && passed != wanted {
                reasons.push(format!(
                    "{place}: its key comes from ({}), but the key of {} is ({})",
                    target.key.join(", "),
                    self.source,
                    source_key.join(", ")
                ));
            }
        }
        reasons
    }

    /// The source column whose value a target column is, unchanged.
    #[must_use]
    pub fn passed_through(&self, target: &Target, column: &str) -> Option<&str> {
        let column = target.columns.iter().find(|c| c.name == column)?;
        let ColumnSource::Input(input) = column.source else { return None };
        let input = self.columns.get(input)?;
        (input.data_type == column.data_type && !input.name.starts_with('_')).then_some(input.name.as_str())
    }
}

fn check_input_options(column: &InputColumn, faults: &mut Vec<String>) {
    let place = format!("column {}", column.name);
    let names: Vec<&str> = INPUT_OPTIONS.iter().map(|(name, _)| *name).collect();
    options::check_known(&place, &column.options, &names, faults);
    for (name, values) in INPUT_OPTIONS {
        if let Some(value) = column.options.get(*name)
            && !values.contains(&value.as_str())
        {
            faults.push(format!("{place}: option {name} is {value:?}; it can be {}", values.join(", ")));
        }
    }
}

fn check_type(place: &str, data_type: &DataType, faults: &mut Vec<String>) {
    match data_type {
        DataType::Decimal { precision, scale }
            if *precision == 0 || *precision > DataType::DECIMAL_PRECISION_MAX || scale > precision =>
        {
            faults.push(format!("{place}: {data_type}: precision is 1 to 38, scale 0 to the precision"));
        }
        DataType::List(item) if matches!(**item, DataType::List(_)) => {
            faults.push(format!("{place}: {data_type}: a list holds scalars; pass nested lists as json"));
        }
        DataType::List(item) => check_type(place, item, faults),
        _ => {}
    }
}

/// Does it read like the table of a generation?
fn is_physical(name: &str) -> bool {
    name.rsplit_once("__g").is_some_and(|(_, n)| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn is_identifier(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

#[cfg(test)]
mod tests;
