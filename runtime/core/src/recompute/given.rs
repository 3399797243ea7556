//! From what the transform gave for a target to the star rows that stand.
//!
//! Owns the judgement: versions of rows, references to versions, values that the
//! table cannot hold, keys given twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow::compute::{filter, take};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::evaluated::Evaluated;
use super::stops::Stops;
use super::versions::{Made, Version, Versions, sameness, version_columns, versions};
use super::{Fault, TargetRows};
use crate::dead_letter::Stage;
use crate::engine::rows::{LiveAndDead, insert_rows};
use crate::spec::{ColumnSource, MissingPolicy, Target, TargetColumn};
use crate::star::{LSN, TS, TargetTable};
use crate::version;

/// What the transform gave for one target.
pub(super) struct Given {
    /// For each row the evaluated one that it comes from.
    pub(super) rows: Vec<u32>,
    pub(super) columns: Vec<ArrayRef>,
}

/// Star rows by source key.
pub(super) struct Rows {
    /// For each row the position of its source key in the page.
    origin: Vec<u32>,
    columns: Vec<ArrayRef>,
}

impl Given {
    /// Fills the columns of references; where a version is missing, the policy says
    /// what becomes of the row.
    pub(super) fn refer(
        &mut self,
        target: &Target,
        versions: &Versions,
        current: &mut Evaluated,
        stops: &mut Stops,
    ) -> Result<(), ArrowError> {
        for (number, reference) in target.as_of.iter().enumerate() {
            let filled = versions.refer(target, reference, &self.columns)?;
            for (row, _) in self.rows.iter().zip(&filled).filter(|(_, version)| version.is_none()) {
                let source = current.of[*row as usize].source;
                match reference.missing {
                    MissingPolicy::Nulls => {}
                    MissingPolicy::Hold => {
                        current.waits[*row as usize] = true;
                        stops.hold(source, &reference.dimension);
                    }
                    MissingPolicy::Reject => {
                        let message = format!(
                            "no version of {} is valid at {} for its key",
                            reference.dimension, reference.at
                        );
                        stops.fail(source, Fault::new(Stage::Star, "as-of-missing", message));
                    }
                }
            }
            let fills = |column: &TargetColumn| column.source == ColumnSource::AsOf(number);
            if let Some(column) = target.columns.iter().position(fills) {
                self.columns[column] = Arc::new(filled);
            }
        }
        Ok(())
    }

    /// The rows, but for those of source rows that wait.
    pub(super) fn by_source(self, current: &Evaluated) -> Result<Rows, ArrowError> {
        let goes: BooleanArray = self.rows.iter().map(|row| Some(!current.waits[*row as usize])).collect();
        let columns = self.columns.iter().map(|column| filter(column, &goes)).collect::<Result<_, _>>()?;
        let rows = self.rows.iter().filter(|row| !current.waits[**row as usize]);
        let origin = rows.map(|row| current.of[*row as usize].source).collect();
        Ok(Rows::new(origin, columns))
    }

    /// The versions that the rows come to, by source key.
    pub(super) fn versions(
        self,
        target: &Target,
        past: &Evaluated,
        stops: &mut Stops,
    ) -> Result<Rows, ArrowError> {
        let mut given_of: HashMap<u32, u32> = HashMap::new();
        for (place, row) in (0_u32..).zip(&self.rows) {
            if given_of.insert(*row, place).is_some() {
                stops.fail(past.of[*row as usize].source, duplicate_key(target));
            }
        }
        let mut made: BTreeMap<u32, Vec<(i64, Made)>> = BTreeMap::new();
        for ((row, at), waits) in (0_u32..).zip(&past.of).zip(&past.waits) {
            let what = match given_of.get(&row) {
                _ if *waits => Made::Waits,
                Some(place) => Made::Row(*place),
                None => Made::Nothing,
            };
            made.entry(at.source).or_default().push((at.at_us, what));
        }
        for (source, at_us) in &past.gone {
            made.entry(*source).or_default().push((*at_us, Made::Nothing));
        }
        let is_same = sameness(target, &self.columns)?;
        let (mut origin, mut found): (Vec<u32>, Vec<Version>) = (Vec::new(), Vec::new());
        for (source, mut made) in made {
            made.sort_by_key(|(at_us, _)| *at_us);
            found.extend(versions(&made, &is_same));
            origin.resize(found.len(), source);
        }
        Ok(Rows::new(origin, version_columns(target, &self.columns, &found)?))
    }
}

impl Rows {
    pub(super) fn new(origin: Vec<u32>, columns: Vec<ArrayRef>) -> Self {
        Self { origin, columns }
    }

    /// Stops source keys that gave what cannot stand.
    pub(super) fn judge(
        &self,
        target: &Target,
        table: &TargetTable,
        stops: &mut Stops,
    ) -> Result<(), ArrowError> {
        for found in table.out_of_range(&self.columns) {
            stops.fail(self.origin[found.row], Fault::new(Stage::Star, "out-of-range", found.message));
        }
        for source in self.doubled(table)? {
            stops.fail(source, duplicate_key(target));
        }
        Ok(())
    }

    /// Source keys that gave two rows with one key.
    fn doubled(&self, table: &TargetTable) -> Result<HashSet<u32>, ArrowError> {
        let is_key = |(name, _): &(&str, &ArrayRef)| table.key().iter().any(|key| key == name);
        let key: Vec<ArrayRef> = table
            .column_names()
            .zip(&self.columns)
            .filter(is_key)
            .map(|(_, array)| Arc::clone(array))
            .collect();
        let fields = key.iter().map(|array| SortField::new(array.data_type().clone())).collect();
        let keys = RowConverter::new(fields)?.convert_columns(&key)?;
        let mut seen = HashSet::with_capacity(self.origin.len());
        let twice = self.origin.iter().zip(&keys).filter(|(row, key)| !seen.insert((**row, key.owned())));
        Ok(twice.map(|(row, _)| *row).collect())
    }

    /// Those rows that stand, as an insert sends them.
    pub(super) fn finish(self, table: &TargetTable, stops: &Stops) -> Result<TargetRows, ArrowError> {
        let stands = |(_, origin): &(u32, &u32)| !stops.has_failed(**origin);
        let (kept, origin): (Vec<u32>, Vec<u32>) =
            (0_u32..).zip(&self.origin).filter(stands).map(|(row, origin)| (row, *origin)).unzip();
        let rows = kept.len();
        let kept = UInt32Array::from(kept);
        let columns: Vec<ArrayRef> =
            self.columns.iter().map(|column| take(column, &kept, None)).collect::<Result<_, _>>()?;
        let schema = table.insert_schema();
        let hidden = |name: &str| -> Result<ArrayRef, ArrowError> {
            Ok(new_null_array(schema.field_with_name(name)?.data_type(), rows))
        };
        let live_and_dead = LiveAndDead {
            dead: &vec![None; columns.len()],
            live: &columns,
            live_rows: rows,
            dead_rows: 0,
            lsns: hidden(LSN)?,
            times: hidden(TS)?,
        };
        let none = version::Version::new(version::Term(0), version::Epoch(0));
        let inserted = insert_rows(&live_and_dead, &schema, none)?;
        let shown: Vec<usize> = (0..columns.len()).collect();
        Ok(TargetRows { origin, rows: inserted.project(&shown)?, columns })
    }
}

fn duplicate_key(target: &Target) -> Fault {
    let message = format!("it gave two rows of {} with the same key", target.table);
    Fault::new(Stage::Transform, "duplicate-key", message)
}
