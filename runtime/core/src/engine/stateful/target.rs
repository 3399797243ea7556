//! What a target's declaration comes to: where its key stands, and how its rows
//! are compared.
//!
//! Does not own the rules of a declaration (`spec`), nor what its columns are in
//! the warehouse (`star`).

use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use super::plan::Spaces;
use crate::data_type::DataType;
use crate::engine::state::Space;
use crate::spec::{AnyColumn, Spec, Target, TargetKind};
use crate::star::TargetTable;

/// One target. Positions are those of its declared columns, and then of those
/// that dabi adds.
#[derive(Debug)]
pub(super) struct TargetPlan {
    pub(super) table: TargetTable,
    /// How many columns it has.
    pub(super) width: usize,
    /// Positions of the columns that identify a row.
    pub(super) key: Vec<usize>,
    /// Positions of columns that rows are sorted by beside the key: a row that
    /// changes them leaves the old one behind.
    pub(super) beside: Vec<usize>,
    pub(super) key_rows: RowConverter,
    /// `None`: there are no such columns.
    pub(super) beside_rows: Option<RowConverter>,
    pub(super) all_rows: RowConverter,
    /// Source columns that the key holds, each unchanged.
    passed_key: Vec<String>,
    pub(super) claims: Space,
    /// `None`: it keeps none.
    pub(super) versions: Option<VersionPlan>,
    /// Which dimension of the plan it is, if anyone refers to its versions.
    pub(super) dimension: Option<usize>,
}

/// What an scd2 target keeps versions by.
#[derive(Debug)]
pub(super) struct VersionPlan {
    /// Positions of the declared key's columns.
    pub(super) natural: Vec<usize>,
    /// Source columns that they are.
    pub(super) source_key: Vec<String>,
    /// Positions of the columns of which a change begins a version.
    pub(super) tracked: Vec<usize>,
    /// `None`: there are no such columns.
    pub(super) tracked_rows: Option<RowConverter>,
}

impl TargetPlan {
    /// # Errors
    /// If the declaration is none that the engine can keep.
    pub(super) fn new(
        spec: &Spec,
        target: &Target,
        table: &TargetTable,
        dimension: Option<usize>,
        spaces: &mut Spaces,
    ) -> Result<Self, String> {
        if target.kind == TargetKind::Append {
            return Err(format!(
                "target {} is append, which is kept without row state, and cannot be: {}; give what keeps changes a \
                 transform of its own, with append targets alone, keys that are passed through, and no lookups or \
                 as-of references",
                target.table,
                spec.stateful_reasons(None).join("; ")
            ));
        }
        let columns: Vec<AnyColumn<'_>> = target.all_columns().collect();
        let position = |name: &str| {
            let place = columns.iter().position(|column| column.name == name);
            place.ok_or_else(|| format!("target {}: key column {name} is no column", target.table))
        };
        let positions =
            |names: &[&str]| names.iter().map(|name| position(name)).collect::<Result<Vec<_>, _>>();
        let rows = |positions: &[usize]| {
            rows(&columns, positions).map_err(|e| format!("target {}: {e}", target.table))
        };
        let some_rows =
            |positions: &[usize]| if positions.is_empty() { Ok(None) } else { rows(positions).map(Some) };
        let key = positions(&target.identity())?;
        let mut beside = positions(&target.order_columns().collect::<Vec<_>>())?;
        beside.retain(|place| !key.contains(place));
        let versions = if target.kind == TargetKind::Scd2 {
            let declared = target.columns.iter().enumerate();
            let tracked: Vec<usize> =
                declared.filter(|(_, column)| column.tracked).map(|(place, _)| place).collect();
            let mut source_key: Vec<String> = target
                .key
                .iter()
                .filter_map(|name| spec.passed_through(target, name))
                .map(str::to_owned)
                .collect();
            source_key.sort_unstable();
            Some(VersionPlan {
                natural: positions(&target.key.iter().map(String::as_str).collect::<Vec<_>>())?,
                source_key,
                tracked_rows: some_rows(&tracked)?,
                tracked,
            })
        } else {
            None
        };
        Ok(Self {
            width: columns.len(),
            key_rows: rows(&key)?,
            beside_rows: some_rows(&beside)?,
            all_rows: rows(&(0..columns.len()).collect::<Vec<_>>())?,
            passed_key: target.key.iter().filter_map(|name| passed_unchanged(spec, target, name)).collect(),
            // Of one generation: what this store has sent stands in no other.
            claims: spaces.add(format!("claims of {} by primary key", table.physical_name())),
            table: table.clone(),
            key,
            beside,
            versions,
            dimension,
        })
    }

    /// Does a star key belong to one source row, whose key is `source_key`?
    pub(super) fn is_exclusive(&self, source_key: &[String]) -> bool {
        source_key.iter().all(|column| self.passed_key.contains(column))
    }
}

/// What compares rows in some of their columns.
pub(super) fn rows(columns: &[AnyColumn<'_>], positions: &[usize]) -> Result<RowConverter, ArrowError> {
    let fields = positions.iter().map(|place| SortField::new(columns[*place].data_type.arrow()));
    RowConverter::new(fields.collect())
}

/// The source column that a key column is, if two of its values never become
/// one (as decimals may that are read as floats).
fn passed_unchanged(spec: &Spec, target: &Target, name: &str) -> Option<String> {
    let column = target.columns.iter().find(|column| column.name == name)?;
    let exact = !matches!(column.data_type, DataType::Float32 | DataType::Float64);
    exact.then(|| spec.passed_through(target, name).map(str::to_owned)).flatten()
}
