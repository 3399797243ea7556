//! The columns that rows of a topic are stored in, learned as they arrive.
//!
//! Owns which layouts a topic has, how a record finds its own, and how the type
//! of a column gives way to a value that does not fit it. Does not own the rows
//! (`open_batch`).
//!
//! Invariants: a column's type only ever widens (`Null` → any → `Json`), and a
//! new layout of a table starts from what an older one learned about columns of
//! the same name, so that one odd value costs one cut of a batch, not many.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::Fields;

use super::connect::TypedColumn;
use super::json::Lexeme;
use super::wire_type::WireType;
use crate::change::{Wire, meta, row_field};
use crate::table::SourceTable;

/// How many layouts a topic keeps. Two or three are usual (a table before and
/// after a change of its columns); the least recently used gives way.
const LAYOUTS_MAX: usize = 32;

/// A layout of one topic, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LayoutId(usize);

/// One column of a row.
#[derive(Clone, Debug)]
pub(super) struct LayoutColumn {
    /// name on the wire
    pub(super) name: String,
    /// name in the batch: differs where that of a meta column is taken
    pub(super) stored_name: String,
    pub(super) ty: WireType,
    /// the type that the schema gives; `None` without a schema
    declared: Option<WireType>,
    connect_name: Option<String>,
}

impl LayoutColumn {
    fn wire(&self) -> Wire {
        match (&self.ty, &self.declared) {
            (WireType::Json, _) => Wire::Json,
            (_, Some(_)) => Wire::Typed,
            (_, None) => Wire::Untyped,
        }
    }
}

/// What rows of one table look like.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) table: SourceTable,
    /// columns of the Kafka key, in its order
    pub(super) key: Vec<usize>,
    pub(super) columns: Vec<LayoutColumn>,
    /// the columns of the schema; `None` without one
    declared: Option<Arc<[TypedColumn]>>,
    places: HashMap<String, usize>,
    used: u64,
}

impl Layout {
    /// The place of a column by its name on the wire; `guess` is where it
    /// stands if the row has the order of the layout.
    pub(super) fn place(&self, name: &str, guess: usize) -> Option<usize> {
        match self.columns.get(guess) {
            Some(column) if column.name == name => Some(guess),
            _ => self.places.get(name).copied(),
        }
    }

    /// The fields of the row.
    pub(super) fn fields(&self) -> Fields {
        let field = |column: &LayoutColumn| {
            row_field(&column.stored_name, column.ty.arrow(), column.wire(), column.connect_name.as_deref())
        };
        self.columns.iter().map(field).collect()
    }

    /// Names of the key's columns in the batch.
    pub(super) fn key_names(&self) -> Vec<&str> {
        self.key.iter().filter_map(|place| self.columns.get(*place)).map(|c| c.stored_name.as_str()).collect()
    }

    /// Names of the key's columns on the wire.
    pub(super) fn wire_key(&self) -> impl ExactSizeIterator<Item = &str> {
        self.key.iter().map(|place| self.columns.get(*place).map_or("", |column| column.name.as_str()))
    }

    /// Bytes that one row takes, without those of its text; an estimate.
    pub(super) fn fixed_bytes(&self) -> usize {
        self.columns.iter().map(|column| column.ty.fixed_bytes()).sum()
    }

    /// True for a column that its schema says to be text.
    pub(super) fn is_text(&self, place: usize) -> bool {
        self.columns.get(place).is_some_and(|column| column.declared == Some(WireType::Text))
    }

    /// True for a column that held nothing but nulls, which any type can hold.
    pub(super) fn is_null(&self, place: usize) -> bool {
        self.columns.get(place).is_some_and(|column| column.ty == WireType::Null)
    }

    /// Widens the type of a column so that `value` fits it.
    pub(super) fn widen(&mut self, place: usize, value: Lexeme<'_>) {
        if let Some(column) = self.columns.get_mut(place) {
            let from_null = column.ty == WireType::Null;
            column.ty = if from_null { WireType::untyped(value) } else { WireType::Json };
        }
    }
}

/// What a record says about its columns.
pub(super) enum Columns<'a> {
    Typed(&'a Arc<[TypedColumn]>),
    /// distinct names
    Untyped(&'a [&'a str]),
}

impl Columns<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Typed(columns) => columns.len(),
            Self::Untyped(names) => names.len(),
        }
    }

    fn are_those_of(&self, layout: &Layout) -> bool {
        match (self, &layout.declared) {
            (Self::Typed(columns), Some(declared)) => Arc::ptr_eq(columns, declared) || *columns == declared,
            (Self::Untyped(names), None) => {
                names.len() == layout.columns.len()
                    && names.iter().enumerate().all(|(i, name)| layout.place(name, i).is_some())
            }
            _ => false,
        }
    }
}

/// All layouts of a topic.
#[derive(Default)]
pub(super) struct Layouts {
    known: Vec<Layout>,
    clock: u64,
}

impl Layouts {
    pub(super) fn get(&self, id: LayoutId) -> &Layout {
        &self.known[id.0]
    }

    pub(super) fn get_mut(&mut self, id: LayoutId) -> &mut Layout {
        &mut self.known[id.0]
    }

    fn newest(&self, wanted: impl Fn(&Layout) -> bool) -> Option<LayoutId> {
        let newest = self.known.iter().enumerate().filter(|(_, l)| wanted(l)).max_by_key(|(_, l)| l.used)?;
        Some(LayoutId(newest.0))
    }

    pub(super) fn touch(&mut self, id: LayoutId) -> LayoutId {
        self.clock += 1;
        let used = self.clock;
        self.get_mut(id).used = used;
        id
    }

    /// The layout of these columns, if it is known.
    pub(super) fn find(
        &mut self,
        table: &SourceTable,
        key: &[&str],
        columns: &Columns<'_>,
    ) -> Option<LayoutId> {
        let id = self.newest(|l| {
            l.table == *table && l.wire_key().eq(key.iter().copied()) && columns.are_those_of(l)
        })?;
        Some(self.touch(id))
    }

    /// The layout last used for rows of the table, for records that have no
    /// row. `key` is given where the record has one.
    pub(super) fn latest(
        &mut self,
        table: &SourceTable,
        key: Option<&[&str]>,
        typed: Option<&Arc<[TypedColumn]>>,
    ) -> Option<LayoutId> {
        let id = self.newest(|l| {
            l.table == *table
                && key.is_none_or(|key| l.wire_key().eq(key.iter().copied()))
                && match typed {
                    Some(columns) => Columns::Typed(columns).are_those_of(l),
                    None => l.declared.is_none(),
                }
        })?;
        Some(self.touch(id))
    }

    fn vacancy(&self) -> usize {
        if self.known.len() < LAYOUTS_MAX {
            return self.known.len();
        }
        let oldest = self.known.iter().enumerate().min_by_key(|(_, layout)| layout.used);
        oldest.map_or(0, |(place, _)| place)
    }

    /// The layout that [`Layouts::add`] is about to replace, if it is: whatever
    /// is open under its id must be closed first.
    pub(super) fn evicted(&self) -> Option<(LayoutId, &Layout)> {
        let place = self.vacancy();
        self.known.get(place).map(|layout| (LayoutId(place), layout))
    }

    /// Adds a layout, in the place of [`Layouts::evicted`].
    pub(super) fn add(&mut self, table: &SourceTable, key: &[&str], columns: &Columns<'_>) -> LayoutId {
        let mut layout = Layout {
            table: table.clone(),
            key: Vec::new(),
            columns: Vec::with_capacity(columns.len()),
            declared: None,
            places: HashMap::new(),
            used: 0,
        };
        let mut taken: HashSet<String> = meta::ALL.into_iter().map(str::to_owned).collect();
        match columns {
            Columns::Typed(declared) => {
                layout.declared = Some(Arc::clone(declared));
                for column in declared.iter() {
                    self.add_column(&mut layout, &mut taken, &column.name, Some(column));
                }
            }
            Columns::Untyped(names) => {
                for name in *names {
                    self.add_column(&mut layout, &mut taken, name, None);
                }
            }
        }
        layout.key = key.iter().filter_map(|name| layout.places.get(*name).copied()).collect();
        let place = self.vacancy();
        match self.known.get_mut(place) {
            Some(known) => *known = layout,
            None => self.known.push(layout),
        }
        self.touch(LayoutId(place))
    }

    /// Adds a column, of the type that the newest layout of the table learned.
    fn add_column(
        &self,
        layout: &mut Layout,
        taken: &mut HashSet<String>,
        name: &str,
        typed: Option<&TypedColumn>,
    ) {
        let declared = typed.map(|column| column.ty.clone());
        let learned = self.known.iter().filter(|known| known.table == layout.table).max_by_key(|l| l.used);
        let learned = learned
            .and_then(|known| known.columns.get(*known.places.get(name)?))
            .filter(|column| column.declared == declared)
            .map(|column| column.ty.clone());
        let mut stored_name = name.to_owned();
        while !taken.insert(stored_name.clone()) {
            stored_name.push('_');
        }
        layout.places.insert(name.to_owned(), layout.columns.len());
        layout.columns.push(LayoutColumn {
            name: name.to_owned(),
            stored_name,
            ty: learned.or_else(|| declared.clone()).unwrap_or(WireType::Null),
            declared,
            connect_name: typed.and_then(|column| column.connect_name.clone()),
        });
    }
}
