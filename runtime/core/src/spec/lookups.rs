//! Lookups: what they may say, and what it means.
//!
//! Owns the names in `on` and which input columns can be null. Does not own
//! finding rows (`engine`).
//!
//! Invariant: a lookup refers to the source row or to one earlier lookup, so
//! joining them in their order always has what it needs, and there are no
//! cycles.

use std::collections::BTreeSet;
use std::fmt;

use super::{InputColumn, Lookup, MissingPolicy, Spec, check_built_in, check_inputs};
use super::{is_identifier, is_pseudo_column};

/// What an entry of a lookup's `on` names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// Position in [`Spec::lookups`] of the lookup whose table has the column;
    /// `None`: the source table.
    pub lookup: Option<usize>,
    /// The column.
    pub column: &'a str,
}

/// A column that enters the transform, in the order of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The lookup that it belongs to; `None`: the source table.
    pub lookup: Option<&'a Lookup>,
    /// Its declaration.
    pub column: &'a InputColumn,
    /// Can it be null? Not the same as its `nullable`, which speaks of a row
    /// that is there: where a lookup may find nothing, its columns are null.
    pub can_be_null: bool,
}

impl fmt::Display for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.lookup {
            Some(lookup) => write!(f, "{}.{}", lookup.name, self.column.name),
            None => f.write_str(&self.column.name),
        }
    }
}

impl Spec {
    /// All input columns: the source table's, then those of each lookup.
    /// [`super::ColumnSource::Input`] counts in this order.
    pub fn inputs(&self) -> impl ExactSizeIterator<Item = Input<'_>> {
        let own =
            self.columns.iter().map(|column| Input { lookup: None, column, can_be_null: column.nullable });
        let looked_up = self.lookups.iter().zip(self.passes_nulls()).flat_map(|(lookup, nulls)| {
            lookup.columns.iter().map(move |column| Input {
                lookup: Some(lookup),
                column,
                can_be_null: column.nullable || nulls,
            })
        });
        own.chain(looked_up).collect::<Vec<_>>().into_iter()
    }

    /// What each entry of the `on` of `lookup`, one of this spec's, names; in a
    /// valid spec all of one row.
    #[must_use]
    pub fn references<'a>(&'a self, lookup: &'a Lookup) -> Vec<Reference<'a>> {
        lookup.on.iter().map(|name| self.reference(name)).collect()
    }

    /// Up to the first point it is a lookup, if there is one of that name.
    fn reference<'a>(&'a self, name: &'a str) -> Reference<'a> {
        let chained = name.split_once('.').and_then(|(lookup, column)| {
            let position = self.lookups.iter().position(|other| other.name == lookup)?;
            Some(Reference { lookup: Some(position), column })
        });
        chained.unwrap_or(Reference { lookup: None, column: name })
    }

    /// Of each lookup: can a row without it reach the transform?
    fn passes_nulls(&self) -> Vec<bool> {
        let mut passes = Vec::with_capacity(self.lookups.len());
        for lookup in &self.lookups {
            let behind = |reference: Reference<'_>| {
                reference.lookup.is_some_and(|earlier| passes.get(earlier).copied().unwrap_or(false))
            };
            let behind_nulls = self.references(lookup).into_iter().any(behind);
            passes.push(lookup.missing == MissingPolicy::Nulls || behind_nulls);
        }
        passes
    }

    pub(super) fn validate_lookups(&self, faults: &mut Vec<String>) {
        let mut names = BTreeSet::new();
        for (position, lookup) in self.lookups.iter().enumerate() {
            let place = format!("lookup {}", lookup.name);
            if lookup.name.starts_with('_') || !is_identifier(&lookup.name) {
                faults.push(format!("{place}: a name is letters, digits and _, and starts with a letter"));
            }
            if !names.insert(&lookup.name) {
                faults.push(format!("{place} is declared twice; give each its own name"));
            }
            check_key(&place, lookup, faults);
            self.check_on(&place, position, lookup, faults);
            check_inputs(&format!("{place}, "), &lookup.columns, faults);
            check_built_in(&lookup.table, &lookup.columns, faults);
            for column in lookup.columns.iter().filter(|column| is_pseudo_column(&column.name)) {
                faults.push(format!(
                    "{place}: {} is of a change, and a lookup gives a row as it is now; name a column of {}",
                    column.name, lookup.table
                ));
            }
        }
    }

    fn check_on(&self, place: &str, position: usize, lookup: &Lookup, faults: &mut Vec<String>) {
        let references = self.references(lookup);
        if references.windows(2).any(|pair| pair[0].lookup != pair[1].lookup) {
            faults.push(format!(
                "{place} is found by columns of several rows ({}); take all of them from one",
                lookup.on.join(", ")
            ));
        }
        for (name, reference) in lookup.on.iter().zip(references) {
            let empty = reference.column.is_empty();
            match reference.lookup {
                Some(other) if other >= position => faults.push(format!(
                    "{place} is found by {name}, but {} does not come before it; put a lookup behind those that \
                     it needs",
                    self.lookups[other].name
                )),
                None if is_pseudo_column(name) => faults.push(format!(
                    "{place} is found by {name}, which is of a change and not of a row; name a column of {}",
                    self.source
                )),
                _ if empty => faults.push(format!("{place}: {name:?} names no column")),
                _ => {}
            }
        }
    }
}

fn check_key(place: &str, lookup: &Lookup, faults: &mut Vec<String>) {
    if lookup.key.is_empty() {
        faults.push(format!("{place} has no key; name the primary key of {}", lookup.table));
    }
    if lookup.key.len() != lookup.on.len() {
        faults.push(format!(
            "{place}: the key of {} is ({}), but it is found by ({}); name one column for each of the key",
            lookup.table,
            lookup.key.join(", "),
            lookup.on.join(", ")
        ));
    }
    if lookup.key.iter().collect::<BTreeSet<_>>().len() != lookup.key.len() {
        faults.push(format!("{place}: its key ({}) names a column twice", lookup.key.join(", ")));
    }
}
