//! Rows of some source keys, through the transform.
//!
//! Owns the call. Does not own what goes in (`join`), nor what becomes of what
//! comes out (`given`).

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, UInt32Array, new_empty_array};
use arrow::compute::{concat, take};
use arrow::error::ArrowError;

use super::given::Given;
use super::join::{Joined, join};
use super::stops::Stops;
use super::{Call, Fault, RecomputeError, RowPlace, Stop, TableRows};
use crate::dead_letter::Stage;
use crate::engine::stateful::Applied;
use crate::spec::{Spec, Target};
use crate::table::SourceTable;

/// A row of a source key.
#[derive(Clone, Copy)]
pub(super) struct SourceAt {
    /// Position of the key in the page.
    pub(super) source: u32,
    /// Since when the key had it; of a current row nobody asks.
    pub(super) at_us: i64,
    pub(super) place: RowPlace,
}

/// Some rows, and what the transform gave for them.
#[derive(Default)]
pub(super) struct Evaluated {
    pub(super) of: Vec<SourceAt>,
    /// For each row and lookup the row that was found.
    pub(super) found: Vec<Vec<Option<RowPlace>>>,
    /// Does it wait?
    pub(super) waits: Vec<bool>,
    /// Source keys, and the times at which they had no row.
    pub(super) gone: Vec<(u32, i64)>,
    called: Vec<u32>,
    applied: Applied,
}

impl Evaluated {
    /// Evaluates rows of `rows`, which are of the table of `spec`.
    pub(super) fn of(
        spec: &Spec,
        tables: &BTreeMap<SourceTable, TableRows>,
        rows: &TableRows,
        of: Vec<SourceAt>,
        call: &Call<'_>,
        stops: &mut Stops,
    ) -> Result<Self, RecomputeError> {
        let places: Vec<RowPlace> = of.iter().map(|row| row.place).collect();
        let joined = join(spec, tables, rows, &places)?;
        let mut called = Vec::with_capacity(of.len());
        for ((row, at), stop) in (0_u32..).zip(&of).zip(&joined.stops) {
            match stop {
                None => called.push(row),
                Some(Stop::Held(name)) => stops.hold(at.source, name),
                Some(Stop::Letter(fault)) => stops.fail(at.source, fault.clone()),
            }
        }
        let applied = apply(&joined, &called, call)?;
        for error in &applied.errors {
            let fault = Fault::new(Stage::Transform, &error.code, error.message.clone());
            stops.fail(of[called[error.row as usize] as usize].source, fault);
        }
        let waits = joined.stops.iter().map(|stop| matches!(stop, Some(Stop::Held(_)))).collect();
        Ok(Self { of, found: joined.found, waits, gone: Vec::new(), called, applied })
    }

    /// The rows with what they look up, and nothing made of them.
    pub(super) fn looked_up(
        spec: &Spec,
        tables: &BTreeMap<SourceTable, TableRows>,
        rows: &TableRows,
        of: Vec<SourceAt>,
    ) -> Result<Self, RecomputeError> {
        let places: Vec<RowPlace> = of.iter().map(|row| row.place).collect();
        let found = join(spec, tables, rows, &places)?.found;
        Ok(Self { of, found, ..Self::default() })
    }

    /// What the transform gave for target `number`.
    pub(super) fn given(&self, number: usize, target: &Target) -> Result<Given, ArrowError> {
        Given::of(&self.applied, &self.called, number, target)
    }
}

impl Given {
    /// What of `applied` is for target `number`, where `called` are the rows that the
    /// transform was called with.
    pub(super) fn of(
        applied: &Applied,
        called: &[u32],
        number: usize,
        target: &Target,
    ) -> Result<Self, ArrowError> {
        let outputs: Vec<_> = applied.outputs.iter().filter(|output| output.target == number).collect();
        let rows = outputs.iter().flat_map(|output| &output.origin).map(|row| called[*row as usize]);
        let columns: Vec<ArrayRef> = match outputs.as_slice() {
            [] => return Ok(Self::nothing(target)),
            several => (0..target.columns.len())
                .map(|column| concat(&several.iter().map(|o| o.columns[column].as_ref()).collect::<Vec<_>>()))
                .collect::<Result<_, _>>()?,
        };
        Ok(Self { rows: rows.collect(), columns })
    }

    pub(super) fn nothing(target: &Target) -> Self {
        let columns = target.columns.iter().map(|column| new_empty_array(&column.data_type.arrow()));
        Self { rows: Vec::new(), columns: columns.collect() }
    }
}

fn apply(joined: &Joined, called: &[u32], call: &Call<'_>) -> Result<Applied, RecomputeError> {
    if called.is_empty() {
        return Ok(Applied::default());
    }
    let rows = UInt32Array::from(called.to_vec());
    let columns: Vec<ArrayRef> =
        joined.columns.iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?;
    call(called.len(), &columns).map_err(RecomputeError::Stopped)
}
