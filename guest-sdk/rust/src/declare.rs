//! The declaration of a transform: constants that the derive macros make, the
//! checks between the two rows while the transform is compiled, and `describe`.

mod check;
mod message;

use crate::answer::{Answer, Rows};
use crate::bindings::types::{self, ColumnSource, Spec, Target, TargetColumn};
use crate::data_type::DataType;
use crate::lookup::LookupField;
use crate::row::{SourceRow, StarRow};

use check::{Place, place};
pub use check::{check, check_as_of, check_lookup};

/// Options, by the names of the contract.
pub type Options = &'static [(&'static str, &'static str)];

/// A column that a source row reads.
#[derive(Clone, Copy, Debug)]
pub struct InputColumn {
    /// Name in the source table.
    pub name: &'static str,
    /// The type to read it as.
    pub data_type: DataType,
    /// May it be null?
    pub nullable: bool,
    /// How to read it.
    pub options: Options,
}

/// A row that the host looks up beside a source row.
#[derive(Clone, Copy, Debug)]
pub struct Lookup {
    /// The field that holds it.
    pub name: &'static str,
    /// The table, as `schema.table`.
    pub table: &'static str,
    /// Its primary key.
    pub key: &'static [&'static str],
    /// Columns of the table of the row that has the field, as many as in `key`.
    pub on: &'static [&'static str],
    /// What becomes of a source row for which nothing is found.
    pub missing: Missing,
    /// The columns that its row reads.
    pub columns: &'static [InputColumn],
    /// The rows looked up beside it.
    pub lookups: &'static [Lookup],
}

/// What becomes of a source row for which nothing is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// the field is `None`
    Nulls,
    /// no star row until it is there
    Hold,
    /// a dead letter until it is there
    Reject,
}

/// A table of the star.
#[derive(Clone, Copy, Debug)]
pub struct StarTable {
    /// Its name.
    pub name: &'static str,
    /// How it keeps rows.
    pub kind: Kind,
    /// Its columns, in the order of the fields.
    pub columns: &'static [StarColumn],
    /// `order`, `partition`, `ttl`, `comment`
    pub options: Options,
}

/// A table that an answer fills.
#[derive(Clone, Copy, Debug)]
pub struct Filled {
    /// The table.
    pub table: StarTable,
    /// Can one source row give several rows of it?
    pub several: bool,
}

impl Filled {
    /// The table of the rows `R`.
    #[must_use]
    pub const fn by<R: Rows>() -> Self {
        Self { table: R::Star::TABLE, several: R::SEVERAL }
    }
}

/// How a table keeps rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// the current row per key
    Latest,
    /// one row per version of a key
    Scd2,
    /// one row per change
    Append,
}

/// A column of a star row.
#[derive(Clone, Copy, Debug)]
pub struct StarColumn {
    /// Name in the star table.
    pub name: &'static str,
    /// Its type.
    pub data_type: DataType,
    /// May it be null?
    pub nullable: bool,
    /// Is it part of the table's key?
    pub key: bool,
    /// Is it marked as one whose change begins a new version?
    pub tracked: bool,
    /// Where its values come from.
    pub source: Source,
    /// Options of the source column, where only this one asks for it.
    pub input_options: Options,
    /// `codec`, `low-cardinality`, `enum`, `comment`
    pub options: Options,
}

/// Where the values of a star column come from.
#[derive(Clone, Copy, Debug)]
pub enum Source {
    /// The transform returns them.
    Computed,
    /// This column of the source row, or `<lookup>.<column>`.
    Passed(&'static str),
    /// The version of a dimension that is valid at a time.
    AsOf(AsOf),
}

/// A reference to the version of a dimension that is valid at a time.
#[derive(Clone, Copy, Debug)]
pub struct AsOf {
    /// The star table referred to.
    pub dimension: &'static str,
    /// Columns of the star row that hold the dimension's key.
    pub key: &'static [&'static str],
    /// Column of the star row that holds the time.
    pub at: &'static str,
    /// What becomes of a row for which no version is valid then.
    pub missing: Missing,
}

impl Lookup {
    /// The lookup that a field of type `L` declares.
    #[must_use]
    pub const fn of<'a, L: LookupField<'a>>(
        name: &'static str,
        on: &'static [&'static str],
        missing: Missing,
    ) -> Self {
        Self {
            name,
            table: L::Row::TABLE,
            key: if L::Row::KEY.is_empty() { on } else { L::Row::KEY },
            on,
            missing: missing.unless(L::OPTIONAL),
            columns: L::Row::COLUMNS,
            lookups: L::Row::LOOKUPS,
        }
    }
}

impl Missing {
    /// An `Option` says by itself what becomes of a row that is missing.
    #[must_use]
    pub const fn unless(self, optional: bool) -> Self {
        if optional { Self::Nulls } else { self }
    }

    fn to_wit(self) -> types::MissingPolicy {
        match self {
            Self::Nulls => types::MissingPolicy::Nulls,
            Self::Hold => types::MissingPolicy::Hold,
            Self::Reject => types::MissingPolicy::Reject,
        }
    }
}

/// The inputs of a transform while its star tables are gone through, which may
/// add columns that they only pass on.
struct Inputs {
    columns: Vec<types::InputColumn>,
    lookups: Vec<types::Lookup>,
}

/// `describe()` of a transform from `R` to `A`.
pub(crate) fn spec<R: SourceRow<'static>, A: Answer>(name: &str, version: &str) -> Spec {
    let mut inputs = Inputs {
        columns: R::COLUMNS.iter().copied().map(InputColumn::to_wit).collect(),
        lookups: Vec::new(),
    };
    inputs.add_lookups(R::LOOKUPS, None);
    // Positions count through all lookups, so they are known only once every
    // table has asked for what it passes on.
    for column in A::TABLES.iter().flat_map(|filled| filled.table.columns) {
        inputs.ask_for::<R>(column);
    }
    Spec {
        name: name.into(),
        version: version.into(),
        source: R::TABLE.into(),
        targets: A::TABLES.iter().map(|filled| target::<R>(&filled.table, &inputs)).collect(),
        columns: inputs.columns,
        lookups: inputs.lookups,
        options: options(&[("sdk", concat!("rust ", env!("CARGO_PKG_VERSION")))]),
    }
}

impl InputColumn {
    fn to_wit(self) -> types::InputColumn {
        types::InputColumn {
            name: self.name.into(),
            type_: self.data_type.to_wit(),
            nullable: self.nullable,
            read: true,
            options: options(self.options),
        }
    }
}

impl Inputs {
    /// A lookup stands before those of its own row, which is also the order in
    /// which a batch has their columns.
    fn add_lookups(&mut self, lookups: &[Lookup], parent: Option<&str>) {
        for lookup in lookups {
            let name =
                parent.map_or_else(|| lookup.name.into(), |parent| format!("{parent}_{}", lookup.name));
            let on = |column: &&str| match parent {
                Some(parent) => format!("{parent}.{column}"),
                None => (*column).into(),
            };
            self.lookups.push(types::Lookup {
                name: name.clone(),
                table: lookup.table.into(),
                key: lookup.key.iter().map(|column| (*column).into()).collect(),
                on: lookup.on.iter().map(on).collect(),
                columns: lookup.columns.iter().copied().map(InputColumn::to_wit).collect(),
                missing: lookup.missing.to_wit(),
            });
            self.add_lookups(lookup.lookups, Some(&name));
        }
    }

    /// Adds the column that `column` passes on, unless it is there already.
    fn ask_for<R: SourceRow<'static>>(&mut self, column: &StarColumn) {
        let Source::Passed(from) = column.source else { return };
        let Some(place) = place(from, R::COLUMNS, R::LOOKUPS) else { return };
        let columns = match self.lookup(&place) {
            Some(lookup) => &mut self.lookups[lookup].columns,
            None => &mut self.columns,
        };
        if columns.iter().any(|input| input.name == place.column) {
            return;
        }
        columns.push(types::InputColumn {
            name: place.column.into(),
            type_: column.data_type.to_wit(),
            nullable: column.nullable,
            read: false,
            options: options(column.input_options),
        });
    }

    /// The lookup that has the column; `None`: the source row.
    fn lookup(&self, place: &Place) -> Option<usize> {
        let name = place.path.replace('.', "_");
        self.lookups.iter().position(|lookup| lookup.name == name)
    }

    /// Where the column stands among all inputs, once it was asked for.
    fn position(&self, place: &Place) -> u32 {
        let columns = [&self.columns].into_iter().chain(self.lookups.iter().map(|lookup| &lookup.columns));
        let table = self.lookup(place).map_or(0, |lookup| lookup + 1);
        let before: usize = columns.clone().take(table).map(Vec::len).sum();
        let within = columns
            .skip(table)
            .flatten()
            .position(|column| column.name == place.column)
            .expect("each passed column was asked for");
        u32::try_from(before + within).expect("structs have fewer than 2^32 fields")
    }
}

fn target<R: SourceRow<'static>>(table: &StarTable, inputs: &Inputs) -> Target {
    let mut as_of = Vec::new();
    let column = |column: &StarColumn| {
        let source = match column.source {
            Source::Computed => ColumnSource::Computed,
            Source::Passed(from) => {
                let place = place(from, R::COLUMNS, R::LOOKUPS).expect("`check` has found it");
                ColumnSource::Input(inputs.position(&place))
            }
            Source::AsOf(reference) => {
                as_of.push(reference.to_wit());
                ColumnSource::AsOf(u32::try_from(as_of.len() - 1).expect("fewer than 2^32 fields"))
            }
        };
        TargetColumn {
            name: column.name.into(),
            type_: column.data_type.to_wit(),
            nullable: column.nullable,
            source,
            tracked: table.tracks(column, R::LOOKUPS),
            options: options(column.options),
        }
    };
    let columns = table.columns.iter().map(column).collect();
    Target {
        table: table.name.into(),
        kind: table.kind.to_wit(),
        columns,
        key: table.columns.iter().filter(|column| column.key).map(|column| column.name.into()).collect(),
        as_of,
        options: options(table.options),
    }
}

impl StarTable {
    /// The marked columns are tracked, or where none is marked, all but the key
    /// and what a lookup shows.
    fn tracks(&self, column: &StarColumn, lookups: &'static [Lookup]) -> bool {
        if self.kind != Kind::Scd2 || self.columns.iter().any(|column| column.tracked) {
            return column.tracked;
        }
        let is_looked_up = match column.source {
            Source::Passed(from) => place(from, &[], lookups).is_some_and(|place| !place.path.is_empty()),
            Source::Computed | Source::AsOf(_) => false,
        };
        !column.key && !is_looked_up
    }
}

impl Kind {
    fn to_wit(self) -> types::TargetKind {
        match self {
            Self::Latest => types::TargetKind::Latest,
            Self::Scd2 => types::TargetKind::Scd2,
            Self::Append => types::TargetKind::Append,
        }
    }
}

impl AsOf {
    fn to_wit(self) -> types::AsOf {
        types::AsOf {
            dimension: self.dimension.into(),
            key: self.key.iter().map(|column| (*column).into()).collect(),
            at: self.at.into(),
            missing: self.missing.to_wit(),
        }
    }
}

fn options(options: Options) -> Vec<(String, String)> {
    options.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}
