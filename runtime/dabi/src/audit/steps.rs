//! What happened to a few rows, one step after the other.
//!
//! Owns the order of the steps, and what of them a person is told. Does not own
//! which events these are (`events`), nor what follows from them (`explain`).
//!
//! Within a partition offsets decide; between partitions commit time does, else the
//! time of the record. A snapshot that was taken again comes behind all that was
//! committed before it was.

use std::collections::{BTreeMap, VecDeque};

use arrow::array::Array as _;
use arrow::temporal_conversions::timestamp_us_to_datetime;
use dabi_core::change::{ChangeBatch, Op};
use dabi_core::fold::{Fold, Resnapshot, Truncates};
use dabi_core::position::Topic;
use dabi_core::table::SourceTable;

use super::AuditError;
use super::explain::{Cause, EventPlace, SnapshotPlace};

/// A step.
pub(super) enum Step {
    /// An event, by itself.
    Event(ChangeBatch),
    /// A snapshot of a table that was taken again.
    Snapshot(SourceTable, Resnapshot),
}

impl Step {
    /// # Errors
    /// If the event does not follow those before it.
    pub(super) fn apply(&self, folds: &mut BTreeMap<SourceTable, Fold>) -> Result<(), AuditError> {
        match self {
            Self::Event(event) => {
                let table = event.table().clone();
                let fold = folds.get_mut(&table).expect("one for each table");
                fold.apply(event).map_err(|source| AuditError::Fold { table, source })
            }
            Self::Snapshot(table, snapshot) => {
                folds.get_mut(table).expect("one for each table").end_snapshot(snapshot);
                Ok(())
            }
        }
    }

    /// As a person is told it.
    pub(super) fn cause(&self) -> Cause {
        match self {
            Self::Event(event) => Cause::Event(place(event)),
            Self::Snapshot(table, snapshot) => Cause::Snapshot(SnapshotPlace {
                table: table.to_string(),
                taken_us: snapshot.at_us,
                taken: shown_time(snapshot.at_us),
                lsn: snapshot.lsn,
            }),
        }
    }
}

/// The steps of `events` and of the snapshots that `truncates` know of.
pub(super) fn steps(
    events: BTreeMap<SourceTable, Vec<ChangeBatch>>,
    truncates: &BTreeMap<SourceTable, Truncates>,
) -> Vec<Step> {
    let events = in_order_of_time(events);
    let mut snapshots: BTreeMap<usize, Vec<Step>> = BTreeMap::new();
    for (table, truncates) in truncates {
        for snapshot in truncates.resnapshots() {
            let before = events.iter().rposition(|event| time_us(event) <= snapshot.at_us);
            let behind = snapshots.entry(before.map_or(0, |place| place + 1)).or_default();
            behind.push(Step::Snapshot(table.clone(), snapshot));
        }
    }
    let mut steps = snapshots.remove(&0).unwrap_or_default();
    for (place, event) in (1..).zip(events) {
        steps.push(Step::Event(event));
        steps.extend(snapshots.remove(&place).unwrap_or_default());
    }
    steps
}

/// Where an event, a batch of one row, stands.
pub(super) fn place(event: &ChangeBatch) -> EventPlace {
    let (times, lsns) = (event.commit_ts(), event.lsns());
    let committed_us = times.is_valid(0).then(|| times.value(0));
    EventPlace {
        table: event.table().to_string(),
        op: event.ops().next().map_or("", Op::letter),
        topic: event.topic().to_string(),
        partition: event.partition(),
        offset: event.span().from.0,
        committed_us,
        committed: committed_us.and_then(shown_time),
        lsn: lsns.is_valid(0).then(|| lsns.value(0)),
    }
}

fn shown_time(us: i64) -> Option<String> {
    timestamp_us_to_datetime(us).map(|time| time.to_string())
}

fn time_us(event: &ChangeBatch) -> i64 {
    match (event.commit_ts(), event.kafka_ts()) {
        (commits, _) if commits.is_valid(0) => commits.value(0),
        (_, records) if records.is_valid(0) => records.value(0).saturating_mul(1000),
        _ => i64::MIN,
    }
}

fn in_order_of_time(events: BTreeMap<SourceTable, Vec<ChangeBatch>>) -> Vec<ChangeBatch> {
    let mut queues: BTreeMap<(Topic, i32), VecDeque<ChangeBatch>> = BTreeMap::new();
    for batch in events.into_values().flatten() {
        let queue = queues.entry((Topic::clone(batch.topic()), batch.partition())).or_default();
        queue.extend((0..batch.num_rows()).map(|row| batch.slice(row, 1)));
    }
    let mut ordered = Vec::new();
    loop {
        let heads = queues.values_mut().filter(|queue| !queue.is_empty());
        let next = heads.min_by_key(|queue| queue.front().map(time_us));
        match next.and_then(VecDeque::pop_front) {
            Some(event) => ordered.push(event),
            None => return ordered,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};
    use arrow::datatypes::DataType;
    use dabi_core::change::testing::{Event, change_batch};
    use dabi_core::change::{Wire, row_field};

    use super::*;

    /// An event of order `id`, of the partition that it lies on.
    fn event(
        op: Op,
        id: i64,
        offset: i64,
        (ts_us, lsn): (i64, i64),
        snapshot: Option<&'static str>,
    ) -> ChangeBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![id]));
        let columns = vec![(row_field("id", DataType::Int64, Wire::Typed, None), ids)];
        let event = Event { ts_us: Some(ts_us), lsn: Some(lsn), snapshot, ..Event::new(op, offset) };
        change_batch(&SourceTable::new("shop", "orders"), &["id"], columns, ("orders", 0), &[event])
    }

    #[test]
    fn a_snapshot_that_is_taken_again_takes_away_what_it_has_not_read() {
        let table = SourceTable::new("shop", "orders");
        let all = [
            event(Op::Create, 1, 0, (10, 100), None),
            event(Op::Create, 2, 1, (20, 200), None),
            // 1 was deleted while nobody looked, and comes back later.
            event(Op::Read, 2, 2, (30, 300), Some("last")),
            event(Op::Create, 1, 3, (40, 400), None),
        ];
        let mut truncates = Truncates::default();
        truncates.learn(&all);
        let of_one = vec![all[0].clone(), all[3].clone()];
        let steps =
            steps(BTreeMap::from([(table.clone(), of_one)]), &BTreeMap::from([(table.clone(), truncates)]));
        let mut folds = BTreeMap::from([(table.clone(), Fold::new(table.clone()))]);
        let mut rows = Vec::new();
        for step in &steps {
            step.apply(&mut folds).unwrap();
            let what = match step.cause() {
                Cause::Event(event) => event.op.to_owned(),
                Cause::Snapshot(snapshot) => format!("{} at {}", snapshot.table, snapshot.taken_us),
            };
            rows.push((what, folds[&table].len()));
        }
        let expected = [("c", 1), ("shop.orders at 30", 0), ("c", 1)];
        assert_eq!(rows, expected.map(|(what, rows)| (what.to_owned(), rows)));
    }
}
