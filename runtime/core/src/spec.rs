//! What a transform declares: its source, the columns it reads, its lookups,
//! its targets.
//!
//! Owns the declaration, its rules, and the choice between the stateless and
//! the stateful engine. Does not own its wire form (`wit/`, `transform`) or
//! what a target becomes in ClickHouse (`star`).
//!
//! Invariant: a [`Spec`] that passed [`Spec::validate`] names only columns and
//! earlier lookups that exist, has one column per name, and only options that
//! dabi knows.

mod as_of;
mod history;
mod lookups;
mod options;

use std::collections::{BTreeMap, BTreeSet};

use crate::calendar;
use crate::data_type::DataType;
use crate::table::SourceTable;

pub(crate) use history::AnyColumn;
pub use history::AutomaticColumn;
pub use lookups::{Input, Reference};

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

/// A left join made by the host, with the row as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// Name for messages and for the `on` of later lookups.
    pub name: String,
    /// The table looked up.
    pub table: SourceTable,
    /// Its primary key: the columns, in any order.
    pub key: Vec<String>,
    /// What is looked for, lined up with `key`: columns of the source table, or
    /// `<lookup>.<column>` of an earlier lookup. See [`Spec::references`].
    pub on: Vec<String>,
    /// The columns wanted. See [`Input::can_be_null`].
    pub columns: Vec<InputColumn>,
    /// What becomes of a row that finds nothing. Behind an earlier lookup that
    /// found nothing, only the policy of that one counts.
    pub missing: MissingPolicy,
}

/// What the host does with a row whose lookup or as-of reference finds nothing.
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
    /// `comment`; append: `ops`, see [`Target::keeps`].
    pub options: Options,
}

/// A reference from a target to the version of an scd2 target valid at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AsOf {
    /// The scd2 target referred to.
    pub dimension: String,
    /// Target columns that hold the dimension's key, in its order.
    pub key: Vec<String>,
    /// Target column that holds the time.
    pub at: String,
    /// What becomes of a row for which no version is valid then.
    pub missing: MissingPolicy,
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
    /// Those of this input column (see [`Spec::inputs`]), at the output row's
    /// origin.
    Input(usize),
    /// Version keys, which the host finds by this entry of [`Target::as_of`].
    AsOf(usize),
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
        check_inputs("", &self.columns, &mut faults);
        check_built_in(&self.source, &self.columns, &mut faults);
        self.validate_lookups(&mut faults);
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
        self.validate_history(target, faults);
        as_of::check(target, faults);
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
        let mut inputs = self.inputs();
        let count = inputs.len();
        let Some(input) = inputs.nth(position) else {
            faults.push(format!("{place} passes on input column {position}, but there are {count}"));
            return;
        };
        if input.column.data_type != column.data_type {
            faults.push(format!(
                "{place} is {}, but passes on {input}, which is read as {}; declare the same type",
                column.data_type, input.column.data_type
            ));
        }
        if input.can_be_null && !column.nullable {
            faults.push(format!(
                "{place} is non-null, but passes on {input}, which may be null; declare both the same"
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
    ///
    /// Or `append` targets alone, which need neither the source's key nor one row
    /// per event: the change is part of their key.
    #[must_use]
    pub fn stateful_reasons(&self, source_key: Option<&[&str]>) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.source == calendar::table() {
            reasons.push(format!("it reads {}, whose rows dabi keeps", self.source));
        }
        for lookup in &self.lookups {
            reasons.push(format!("it looks up {} as {}", lookup.table, lookup.name));
        }
        for target in &self.targets {
            let place = format!("target {}", target.table);
            match target.kind {
                TargetKind::Latest => {}
                TargetKind::Scd2 => reasons.push(format!("{place} keeps every version of a row")),
                TargetKind::Append if self.keeps_changes() => {}
                TargetKind::Append => {
                    reasons.push(format!("{place} keeps every change, beside targets that do not"));
                }
            }
            for reference in &target.as_of {
                reasons.push(format!("{place} refers to versions of {}", reference.dimension));
            }
            let identity = target.identity();
            let beside: Vec<&str> = target.order_columns().filter(|c| !identity.contains(c)).collect();
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
            let Some(source_key) = source_key.filter(|_| target.kind != TargetKind::Append) else { continue };
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

impl Target {
    /// The columns that rows are sorted by, if it names them; else it is the key.
    pub fn order_columns(&self) -> impl Iterator<Item = &str> {
        let order = self.options.get("order").map(String::as_str).unwrap_or_default();
        options::order_columns(order).filter(|column| !column.is_empty())
    }
}

/// Checks the columns asked of one table.
fn check_inputs(place: &str, columns: &[InputColumn], faults: &mut Vec<String>) {
    let mut names = BTreeSet::new();
    for column in columns {
        let place = format!("{place}column {}", column.name);
        check_input_options(&place, column, faults);
        check_type(&place, &column.data_type, faults);
        if !names.insert(&column.name) {
            faults.push(format!("{place} is declared twice"));
        }
    }
}

/// Tables of the schema `dabi` are built in, and known.
fn check_built_in(table: &SourceTable, columns: &[InputColumn], faults: &mut Vec<String>) {
    if table.schema() != calendar::SCHEMA {
        return;
    }
    if *table != calendar::table() {
        faults.push(format!(
            "there is no table {table}: the schema {} is dabi's own, and has {}",
            calendar::SCHEMA,
            calendar::table()
        ));
        return;
    }
    let known = calendar::column_names();
    for column in columns {
        if !known.contains(&column.name.as_str()) && !is_pseudo_column(&column.name) {
            faults.push(format!("{table} has no column {}; it has {}", column.name, known.join(", ")));
        }
    }
}

fn is_pseudo_column(name: &str) -> bool {
    PSEUDO_COLUMNS.contains(&name) || name.starts_with(BEFORE_PREFIX)
}

fn check_input_options(place: &str, column: &InputColumn, faults: &mut Vec<String>) {
    let names: Vec<&str> = INPUT_OPTIONS.iter().map(|(name, _)| *name).collect();
    options::check_known(place, &column.options, &names, faults);
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
