//! What a transform that keeps changes makes of events.
//!
//! Owns the rows of each change, and why one gives none. No row is folded: every
//! event counts for itself, and one that comes again gives the rows of the same
//! keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::compute::take;

use super::given::{Given, Rows};
use super::stops::Stops;
use super::{Call, Fault, RecomputeError, TargetRows};
use crate::change::{ChangeBatch, Op};
use crate::dead_letter::Stage;
use crate::engine::stateful::Applied;
use crate::reading::read_columns;
use crate::spec::{Spec, Target};
use crate::star::{TargetTable, change_keys};

/// What some events give.
#[derive(Clone, Debug)]
pub struct Changes {
    /// By target; rows come from those of the batch.
    pub targets: Vec<TargetRows>,
    /// By row of the batch: why no target has a row of it.
    pub faults: BTreeMap<u32, Fault>,
}

/// What `spec`, which keeps changes, makes of the events of `batch`.
///
/// # Errors
/// If a column cannot be read, or the transform stops.
pub fn changes(spec: &Spec, batch: &ChangeBatch, call: &Call<'_>) -> Result<Changes, RecomputeError> {
    let rows = batch.num_rows();
    let mut stops = Stops::new(rows);
    let (columns, faults) = read_columns(batch, spec)?;
    for fault in faults {
        stops.fail(row_number(fault.row), Fault::new(Stage::Read, fault.code, fault.message));
    }
    let ops: Vec<Op> = batch.ops().collect();
    let is_asked = |(row, op): &(u32, &Op)| spec.is_called_for(**op) && !stops.has_failed(*row);
    let asked: Vec<u32> = (0..).zip(&ops).filter(is_asked).map(|(row, _)| row).collect();
    let applied = apply(&columns, &asked, call)?;
    for error in &applied.errors {
        let fault = Fault::new(Stage::Transform, &error.code, error.message.clone());
        stops.fail(asked[error.row as usize], fault);
    }
    let mut judged = Vec::with_capacity(spec.targets.len());
    for (number, target) in spec.targets.iter().enumerate() {
        let table = TargetTable::new(spec, target, 0);
        let given = Given::of(&applied, &asked, number, target)?;
        let rows = kept(given, batch, target, &ops)?;
        rows.judge(target, &table, &mut stops)?;
        judged.push((rows, table));
    }
    // A change that failed has no row in any target.
    let targets =
        judged.into_iter().map(|(rows, table)| rows.finish(&table, &stops)).collect::<Result<_, _>>()?;
    let stopped = (0..).zip(stops.into_faults()).filter_map(|(row, fault)| Some((row, fault?)));
    let faults = stopped.collect();
    Ok(Changes { targets, faults })
}

/// The rows of the operations that a target keeps, with the keys of their changes.
fn kept(given: Given, batch: &ChangeBatch, target: &Target, ops: &[Op]) -> Result<Rows, RecomputeError> {
    let Given { rows: origin, mut columns } = given;
    columns.push(Arc::new(change_keys(batch, &origin)));
    let is_kept = |row: &u32| target.keeps(ops[*row as usize]);
    let places: Vec<u32> =
        (0..).zip(&origin).filter(|(_, row)| is_kept(row)).map(|(place, _)| place).collect();
    let places = UInt32Array::from(places);
    let columns = columns.iter().map(|column| take(column, &places, None)).collect::<Result<_, _>>()?;
    Ok(Rows::new(origin.into_iter().filter(is_kept).collect(), columns))
}

fn apply(columns: &[ArrayRef], asked: &[u32], call: &Call<'_>) -> Result<Applied, RecomputeError> {
    if asked.is_empty() {
        return Ok(Applied::default());
    }
    let rows = UInt32Array::from(asked.to_vec());
    let columns: Vec<ArrayRef> =
        columns.iter().map(|column| take(column, &rows, None)).collect::<Result<_, _>>()?;
    call(asked.len(), &columns).map_err(RecomputeError::Stopped)
}

fn row_number(row: usize) -> u32 {
    u32::try_from(row).expect("a batch has fewer than 2^32 rows")
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Date32Array, Int64Array, StringArray};
    use arrow::datatypes::{DataType as Arrow, UInt64Type};

    use super::*;
    use crate::change::testing::{Event, change_batch};
    use crate::change::{Wire, row_field};
    use crate::data_type::DataType;
    use crate::engine::stateful::{AppliedError, AppliedRows};
    use crate::spec::{ColumnSource, InputColumn, Options, TargetColumn, TargetKind};
    use crate::table::SourceTable;

    /// A target with the key and a day of every change, and one with the reads, too.
    fn spec() -> Spec {
        let input = |name: &str, data_type| InputColumn {
            name: name.into(),
            data_type,
            nullable: false,
            read: true,
            options: Options::new(),
        };
        let column = |name: &str, data_type, place| TargetColumn {
            name: name.into(),
            data_type,
            nullable: false,
            source: ColumnSource::Input(place),
            tracked: false,
            options: Options::new(),
        };
        let target = |table: &str, ops: Option<&str>, columns| Target {
            table: table.into(),
            kind: TargetKind::Append,
            columns,
            key: vec!["id".into()],
            as_of: Vec::new(),
            options: ops.into_iter().map(|ops| ("ops".to_owned(), ops.to_owned())).collect(),
        };
        let id = || column("id", DataType::Int64, 0);
        Spec {
            name: "changes".into(),
            version: "1".into(),
            source: SourceTable::new("shop", "orders"),
            columns: vec![
                input("id", DataType::Int64),
                input("day", DataType::Date),
                input("name", DataType::Text),
            ],
            lookups: Vec::new(),
            targets: vec![
                target("changes", None, vec![id(), column("day", DataType::Date, 1)]),
                target("sightings", Some("c, r"), vec![id()]),
            ],
            options: Options::new(),
        }
    }

    fn batch() -> ChangeBatch {
        let ops =
            [Op::Create, Op::Read, Op::Update, Op::Update, Op::Create, Op::Delete, Op::Truncate, Op::Create];
        let events: Vec<Event> = (0..).zip(ops).map(|(offset, op)| Event::new(op, offset)).collect();
        let ids: Int64Array = (10..18).map(Some).collect();
        // ClickHouse has no such day.
        let days: Date32Array = (0..8).map(|row| Some(if row == 7 { -900_000 } else { row })).collect();
        let names: StringArray = (0..8).map(|row| (row != 3).then_some("x")).collect();
        let columns: Vec<(arrow::datatypes::Field, ArrayRef)> = vec![
            (row_field("id", Arrow::Int64, Wire::Typed, None), Arc::new(ids)),
            (row_field("day", Arrow::Date32, Wire::Typed, None), Arc::new(days)),
            (row_field("name", Arrow::Utf8, Wire::Typed, None), Arc::new(names)),
        ];
        change_batch(&SourceTable::new("shop", "orders"), &["id"], columns, ("orders", 0), &events)
    }

    /// Passes columns on, two rows of each sighting, and refuses order 14.
    fn call(rows: usize, columns: &[ArrayRef]) -> Result<Applied, String> {
        let ids = columns[0].as_primitive::<arrow::datatypes::Int64Type>();
        let given: Vec<u32> = (0_u32..).take(rows).filter(|row| ids.value(*row as usize) != 14).collect();
        let refused = (0_u32..).take(rows).filter(|row| ids.value(*row as usize) == 14);
        let errors =
            refused.map(|row| AppliedError { row, code: "no".into(), message: "not this one".into() });
        let rows_of = |target, origin: Vec<u32>, places: &[usize]| {
            let rows = UInt32Array::from(origin.clone());
            let columns = places.iter().map(|place| take(&columns[*place], &rows, None).expect("in range"));
            AppliedRows { target, origin, columns: columns.collect() }
        };
        let twice = given.iter().flat_map(|row| [*row, *row]).collect();
        let outputs = vec![rows_of(0, given.clone(), &[0, 1]), rows_of(1, twice, &[0])];
        Ok(Applied { outputs, errors: errors.collect() })
    }

    #[test]
    fn every_change_gives_its_rows_or_says_why_not() {
        let batch = batch();
        let found = changes(&spec(), &batch, &call).expect("columns that are there");
        let [all, sightings] = found.targets.as_slice() else { panic!("two targets") };
        assert_eq!(all.origin, [0, 2, 5], "inserts, updates and deletes, but for those with a fault");
        assert_eq!(sightings.origin, [0, 0, 1, 1], "what one target cannot hold stands in none");
        let keys = |rows: &TargetRows| {
            let keys = rows.rows.column_by_name("change_key").expect("dabi adds it");
            keys.as_primitive::<UInt64Type>().clone()
        };
        assert_eq!(keys(all), change_keys(&batch, &all.origin));
        assert_eq!(keys(sightings), change_keys(&batch, &sightings.origin));
        let faults: Vec<(u32, &str)> =
            found.faults.iter().map(|(row, fault)| (*row, fault.code.as_str())).collect();
        assert_eq!(faults, [(3, "null-in-required"), (4, "no"), (7, "out-of-range")]);
    }
}
