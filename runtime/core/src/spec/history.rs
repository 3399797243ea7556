//! Kinds of targets: the columns that dabi adds to them, and what each asks of
//! a declaration.
//!
//! Owns which columns identify a row of the star. Does not own what stands in
//! the added columns (`star`, `engine`).

use super::{ColumnSource, Spec, Target, TargetKind, options};
use crate::change::Op;
use crate::data_type::DataType;

/// A column that dabi adds behind those that a target declares, and fills.
#[derive(Debug)]
pub struct AutomaticColumn {
    /// Its name, which no declared column may have.
    pub name: &'static str,
    /// Its type.
    pub data_type: DataType,
    /// May it be null?
    pub nullable: bool,
    /// Does it identify a row, together with the declared key?
    pub identifies: bool,
    /// What readers are told.
    pub comment: &'static str,
}

const SCD2: &[AutomaticColumn] = &[
    AutomaticColumn {
        name: "version_key",
        data_type: DataType::Uint64,
        nullable: false,
        identifies: false,
        comment: "the version, for facts to refer to: xxh3 of key and valid_from",
    },
    AutomaticColumn {
        name: "valid_from",
        data_type: DataType::TimestampTz,
        nullable: false,
        identifies: true,
        comment: "from this commit on; 1970-01-01 for the first version of a key",
    },
    AutomaticColumn {
        name: "valid_to",
        data_type: DataType::TimestampTz,
        nullable: true,
        identifies: false,
        comment: "up to, and not with, this commit; null for a version without end",
    },
    AutomaticColumn {
        name: "is_current",
        data_type: DataType::Boolean,
        nullable: false,
        identifies: false,
        comment: "is it the version without end?",
    },
];

const APPEND: &[AutomaticColumn] = &[AutomaticColumn {
    name: "change_key",
    data_type: DataType::Uint64,
    nullable: false,
    identifies: true,
    comment: "the change that the row stands for, and which of its rows it is",
}];

/// A column of a target, declared or added.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AnyColumn<'a> {
    pub(crate) name: &'a str,
    pub(crate) data_type: &'a DataType,
    pub(crate) nullable: bool,
}

impl TargetKind {
    /// The columns that dabi adds to a target of this kind, in their order.
    #[must_use]
    pub const fn automatic_columns(self) -> &'static [AutomaticColumn] {
        match self {
            Self::Latest => &[],
            Self::Scd2 => SCD2,
            Self::Append => APPEND,
        }
    }
}

impl Target {
    /// The columns that tell its rows in the star apart: the key, and of the
    /// added columns those that say which version or change of it.
    #[must_use]
    pub fn identity(&self) -> Vec<&str> {
        let added = self.kind.automatic_columns().iter().filter(|column| column.identifies);
        self.key.iter().map(String::as_str).chain(added.map(|column| column.name)).collect()
    }

    /// Declared columns, then added ones.
    pub(crate) fn all_columns(&self) -> impl Iterator<Item = AnyColumn<'_>> {
        let declared = self.columns.iter().map(|column| AnyColumn {
            name: &column.name,
            data_type: &column.data_type,
            nullable: column.nullable,
        });
        let added = self.kind.automatic_columns().iter().map(|column| AnyColumn {
            name: column.name,
            data_type: &column.data_type,
            nullable: column.nullable,
        });
        declared.chain(added)
    }
}

impl Target {
    /// Does an append target keep changes of this operation? Those that its
    /// option `ops` lists; without it inserts, updates and deletes, because a
    /// snapshot reads what is there, and nothing happened.
    #[must_use]
    pub fn keeps(&self, op: Op) -> bool {
        match self.options.get("ops").and_then(|text| options::ops(text)) {
            Some(listed) => listed.contains(&op),
            None => matches!(op, Op::Create | Op::Update | Op::Delete),
        }
    }
}

impl Spec {
    /// Is each target `append`, so that every event counts and not only the last
    /// one of a key?
    #[must_use]
    pub fn keeps_changes(&self) -> bool {
        self.targets.iter().all(|target| target.kind == TargetKind::Append)
    }

    /// Is the module called with events of this operation?
    #[must_use]
    pub fn is_called_for(&self, op: Op) -> bool {
        if self.keeps_changes() {
            return self.targets.iter().any(|target| target.keeps(op));
        }
        !matches!(op, Op::Delete | Op::Truncate)
    }

    pub(super) fn validate_history(&self, target: &Target, faults: &mut Vec<String>) {
        let place = format!("target {}", target.table);
        for added in target.kind.automatic_columns() {
            if target.columns.iter().any(|column| column.name == added.name) {
                faults.push(format!("{place}: dabi adds the column {} itself; rename yours", added.name));
            }
        }
        self.check_tracked(&place, target, faults);
        match target.kind {
            TargetKind::Latest => {}
            TargetKind::Scd2 => self.check_versioned_key(&place, target, faults),
            TargetKind::Append => {
                if let Some(lookup) = self.lookups.first() {
                    faults.push(format!(
                        "{place} keeps each change as it was, but lookup {} shows what changes later; leave \
                         that to queries, or make the target latest",
                        lookup.name
                    ));
                }
            }
        }
    }

    fn check_tracked(&self, place: &str, target: &Target, faults: &mut Vec<String>) {
        let looked_up = |source| match source {
            ColumnSource::Input(position) => self.inputs().nth(position).filter(|i| i.lookup.is_some()),
            ColumnSource::Computed | ColumnSource::AsOf(_) => None,
        };
        for column in target.columns.iter().filter(|column| column.tracked) {
            let name = &column.name;
            if target.kind != TargetKind::Scd2 {
                faults.push(format!("{place}: column {name} is tracked, which is for scd2 targets"));
            } else if target.key.contains(name) {
                faults.push(format!("{place}: key column {name} is tracked; another key is another row"));
            } else if let Some(input) = looked_up(column.source) {
                faults.push(format!(
                    "{place}: column {name} is tracked, but passes on {input}, which shows the current value on all \
                     versions; track the column of {} that the lookup is found by",
                    self.source
                ));
            }
        }
    }

    /// Versions are kept per source row, so its key must be the dimension's.
    fn check_versioned_key(&self, place: &str, target: &Target, faults: &mut Vec<String>) {
        for key in &target.key {
            if self.passed_through(target, key).is_none() {
                faults.push(format!(
                    "{place} keeps versions of a row of {}, but its key column {key} is not passed on from there; \
                     pass on the table's primary key",
                    self.source
                ));
            }
            let column = target.columns.iter().find(|column| column.name == *key);
            if let Some(column) = column.filter(|column| !can_be_versioned(&column.data_type)) {
                faults.push(format!(
                    "{place}: key column {key} is {}, which has no one text to make version keys from; use a whole \
                     number, decimal, text, uuid, date, timestamp or boolean",
                    column.data_type
                ));
            }
        }
    }
}

/// Types whose values have one text, in dabi and in ClickHouse.
fn can_be_versioned(data_type: &DataType) -> bool {
    match data_type {
        DataType::Boolean
        | DataType::Int16
        | DataType::Int32
        | DataType::Int64
        | DataType::Uint64
        | DataType::Decimal { .. }
        | DataType::Text
        | DataType::Date
        | DataType::Timestamp
        | DataType::TimestampTz
        | DataType::Uuid => true,
        DataType::Float32
        | DataType::Float64
        | DataType::Bytes
        | DataType::Json
        | DataType::Time
        | DataType::Interval
        | DataType::List(_) => false,
    }
}
