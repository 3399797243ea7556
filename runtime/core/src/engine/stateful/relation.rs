//! A source table of which rows are kept.
//!
//! Owns which *cells* a kept row has: one for each distinct column that some
//! transform asks for, then one for each reference (columns of it that hold the
//! key of another row). Does not own the bytes around them (`record`).
//!
//! Invariant: a cell of a column holds one value in arrow-row form, so equal
//! bytes mean an equal value; a cell of a reference holds key bytes.

use std::collections::HashMap;

use arrow::array::{ArrayRef, new_null_array};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use crate::engine::state::Space;
use crate::spec::InputColumn;
use crate::table::SourceTable;

/// A source table that some transform reads or looks up.
#[derive(Debug)]
pub(super) struct Relation {
    pub(super) table: SourceTable,
    /// All of them may be null here; who asks judges.
    pub(super) columns: Vec<InputColumn>,
    /// Does someone who asks for the column not take nulls?
    pub(super) required: Vec<bool>,
    /// Columns of each reference.
    pub(super) references: Vec<Vec<String>>,
    pub(super) consumers: Vec<Consumer>,
    pub(super) rows: Space,
    pub(super) links: Space,
    pub(super) pending: Space,
    /// What each key was so far; only where someone keeps its versions.
    pub(super) history: Option<Space>,
    /// For each reference, key bytes → keys of the rows that refer to them,
    /// whether or not there is such a row.
    pub(super) indexes: Vec<Space>,
    /// For each column.
    pub(super) converters: Vec<RowConverter>,
    /// What a null is in each column.
    pub(super) nulls: Vec<Box<[u8]>>,
    /// For each cell the consumers that ask for it.
    pub(super) consumers_of: Vec<Vec<usize>>,
    /// Cells that a source column is needed for.
    pub(super) cells_of: HashMap<String, Vec<usize>>,
}

/// Someone who is to be told when a row changes.
#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) what: Consumption,
    /// Positions of columns.
    pub(super) columns: Vec<usize>,
    /// Positions of references.
    pub(super) references: Vec<usize>,
}

/// What a row is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Consumption {
    /// It is a source row of this transform.
    Source { transform: usize },
    /// This lookup of this transform finds it.
    Lookup { transform: usize, lookup: usize },
}

impl Relation {
    pub(super) fn new(table: SourceTable) -> Self {
        Self {
            table,
            columns: Vec::new(),
            required: Vec::new(),
            references: Vec::new(),
            consumers: Vec::new(),
            rows: Space(0),
            links: Space(0),
            pending: Space(0),
            history: None,
            indexes: Vec::new(),
            converters: Vec::new(),
            nulls: Vec::new(),
            consumers_of: Vec::new(),
            cells_of: HashMap::new(),
        }
    }

    /// The position of a column, added where it is new. Who may have nulls and
    /// who may not share one.
    pub(super) fn column(&mut self, asked: &InputColumn) -> usize {
        let same = |have: &InputColumn| {
            have.name == asked.name && have.data_type == asked.data_type && have.options == asked.options
        };
        let position = self.columns.iter().position(same).unwrap_or_else(|| {
            self.columns.push(InputColumn { nullable: true, ..asked.clone() });
            self.required.push(false);
            self.columns.len() - 1
        });
        self.required[position] |= !asked.nullable;
        position
    }

    /// The position of a reference, added where it is new.
    pub(super) fn reference(&mut self, columns: Vec<String>) -> usize {
        self.references.iter().position(|have| *have == columns).unwrap_or_else(|| {
            self.references.push(columns);
            self.references.len() - 1
        })
    }

    /// Everything that the bytes of a row depend on.
    pub(super) fn layout(&self) -> String {
        let column = |column: &InputColumn| {
            let options: Vec<String> = column.options.iter().map(|(k, v)| format!(" {k}={v}")).collect();
            format!("{} {}{}", column.name, column.data_type, options.concat())
        };
        let columns: Vec<String> = self.columns.iter().map(column).collect();
        let references: Vec<String> =
            self.references.iter().map(|columns| format!(", by {}", columns.join(" and "))).collect();
        format!("{} ({}){}", self.table, columns.join("; "), references.concat())
    }

    /// To be called once, when all columns and references are known.
    ///
    /// # Errors
    /// If Arrow has no row form for a column's type (none that a spec allows).
    pub(super) fn prepare(&mut self) -> Result<(), ArrowError> {
        for column in &self.columns {
            let data_type = column.data_type.arrow();
            let converter = RowConverter::new(vec![SortField::new(data_type.clone())])?;
            let null = converter.convert_columns(&[new_null_array(&data_type, 1)])?;
            self.nulls.push(null.row(0).data().into());
            self.converters.push(converter);
        }
        self.consumers_of = vec![Vec::new(); self.cells()];
        for (number, consumer) in self.consumers.iter().enumerate() {
            let references = consumer.references.iter().map(|reference| self.columns.len() + reference);
            for cell in consumer.columns.iter().copied().chain(references) {
                if !self.consumers_of[cell].contains(&number) {
                    self.consumers_of[cell].push(number);
                }
            }
        }
        for (cell, column) in self.columns.iter().enumerate() {
            self.cells_of.entry(column.name.clone()).or_default().push(cell);
        }
        for (number, columns) in self.references.iter().enumerate() {
            for column in columns {
                self.cells_of.entry(column.clone()).or_default().push(self.columns.len() + number);
            }
        }
        Ok(())
    }

    /// How many cells a row has.
    pub(super) fn cells(&self) -> usize {
        self.columns.len() + self.references.len()
    }

    /// The cell of a reference.
    pub(super) fn reference_cell(&self, reference: usize) -> usize {
        self.columns.len() + reference
    }

    /// Values of a column from their cells.
    ///
    /// # Errors
    /// If they are not its bytes: the engine wrote them, and the catalogue vouches
    /// for their layout.
    pub(super) fn decode<'a>(
        &self,
        column: usize,
        cells: impl Iterator<Item = &'a [u8]>,
    ) -> Result<ArrayRef, ArrowError> {
        let converter = &self.converters[column];
        let parser = converter.parser();
        let rows: Vec<&[u8]> = cells.collect();
        let mut arrays = converter.convert_rows(rows.iter().map(|bytes| parser.parse(bytes)))?;
        Ok(arrays.swap_remove(0))
    }
}
