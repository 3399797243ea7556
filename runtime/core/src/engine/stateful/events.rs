//! The events of one epoch for one table, read as cells.
//!
//! Owns reading a batch once for everyone who asks for its table, and the order
//! of events. Does not own what they make of a row (`ingest`).
//!
//! Invariant: events of one key stand in partition order.

use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, BinaryArray};
use arrow::error::ArrowError;
use arrow::row::Rows;

use super::EngineError;
use super::record::{Cell, Head, Known, OwnedCell, OwnedRecord, push_cell, push_head};
use super::relation::Relation;
use crate::change::{ChangeBatch, Op};
use crate::fold::Extras;
use crate::fold::key::keys_of;
use crate::position::Topic;
use crate::reading::read_kept;

/// A batch, read.
pub(super) struct EventBatch<'a> {
    pub(super) batch: &'a ChangeBatch,
    pub(super) ops: Vec<Op>,
    /// Null where a row has none.
    pub(super) keys: BinaryArray,
    pub(super) extras: Extras<'a>,
    /// Positions of the key's columns in the batch, in the order of their names.
    pub(super) key: Vec<usize>,
    topic: u32,
    /// Empty if no event has a row to keep.
    columns: Vec<Rows>,
    references: Vec<BinaryArray>,
    /// By row: the column and what is wrong.
    faults: HashMap<usize, Vec<(usize, String)>>,
    /// By row: cells that were not sent.
    unsent: HashMap<usize, Vec<usize>>,
}

/// One event: its batch and row.
#[derive(Clone, Copy, Debug)]
pub(super) struct EventRef {
    pub(super) batch: u32,
    pub(super) row: u32,
}

impl<'a> EventBatch<'a> {
    /// `key` names the columns of the table's key, in the order of the bytes.
    ///
    /// # Errors
    /// If a column that someone needs is not there or can never be read.
    pub(super) fn read(
        relation: &Relation,
        batch: &'a ChangeBatch,
        key: &[String],
        topic: u32,
    ) -> Result<Self, EngineError> {
        let position = |name: &String| batch.row_fields().iter().position(|field| field.name() == name);
        let key: Vec<usize> = key.iter().filter_map(position).collect();
        let mut this = Self {
            batch,
            ops: batch.ops().collect(),
            keys: keys_of(batch, &key),
            extras: Extras::of(batch),
            key,
            topic,
            columns: Vec::new(),
            references: Vec::new(),
            faults: HashMap::new(),
            unsent: HashMap::new(),
        };
        if this.ops.iter().any(|op| has_row(*op)) {
            this.read_columns(relation)?;
            this.read_references(relation);
            this.find_unsent(relation);
        }
        Ok(this)
    }

    fn read_columns(&mut self, relation: &Relation) -> Result<(), EngineError> {
        let columns = relation.columns.iter().zip(&relation.required).zip(&relation.converters);
        for (position, ((column, required), converter)) in columns.enumerate() {
            let reading = read_kept(self.batch, position, column, *required)
                .map_err(|source| EngineError::Read { table: relation.table.clone(), source })?;
            for fault in reading.faults {
                let text = format!("{}\0{}", fault.code, fault.message);
                self.faults.entry(fault.row).or_default().push((position, text));
            }
            let rows = converter.convert_columns(&[reading.array]);
            self.columns.push(rows.map_err(|source| rows_error(relation, source))?);
        }
        Ok(())
    }

    fn read_references(&mut self, relation: &Relation) {
        for columns in &relation.references {
            let fields = self.batch.row_fields();
            let positions: Option<Vec<usize>> =
                columns.iter().map(|name| fields.iter().position(|field| field.name() == name)).collect();
            self.references.push(match positions {
                Some(positions) => keys_of(self.batch, &positions),
                // A column that is not there is null in every row.
                None => BinaryArray::new_null(self.batch.num_rows()),
            });
        }
    }

    fn find_unsent(&mut self, relation: &Relation) {
        for row in 0..self.ops.len() {
            let names = self.extras.unavailable(row);
            let cells = names.iter().filter_map(|name| relation.cells_of.get(&**name)).flatten();
            let mut cells: Vec<usize> = cells.copied().collect();
            cells.sort_unstable();
            cells.dedup();
            if !cells.is_empty() {
                self.unsent.insert(row, cells);
            }
        }
    }

    /// Does the row that it leaves depend on earlier ones, or others on its?
    pub(super) fn is_special(&self, row: usize) -> bool {
        match self.ops[row] {
            Op::Delete => self.extras.newkey(row).is_some(),
            op => has_row(op) && self.unsent.contains_key(&row),
        }
    }

    pub(super) fn unsent(&self, row: usize) -> &[usize] {
        self.unsent.get(&row).map_or(&[], Vec::as_slice)
    }

    pub(super) fn head(&self, row: usize) -> Head {
        let (lsns, times) = (self.batch.lsns(), self.batch.commit_ts());
        Head {
            lsn: lsns.is_valid(row).then(|| lsns.value(row)),
            ts_us: times.is_valid(row).then(|| times.value(row)),
            topic: self.topic,
            partition: self.batch.partition(),
            offset: self.batch.offsets().value(row),
        }
    }

    /// Adds the record of an event that was sent whole.
    pub(super) fn push_record(&self, buffer: &mut Vec<u8>, row: usize) {
        push_head(buffer, &self.head(row), None);
        let faults = if self.faults.is_empty() { None } else { self.faults.get(&row) };
        for (column, rows) in self.columns.iter().enumerate() {
            let fault = faults.and_then(|faults| faults.iter().find(|(faulty, _)| *faulty == column));
            push_cell(
                buffer,
                match fault {
                    Some((_, text)) => Cell { known: Known::Fault, linked: false, bytes: text.as_bytes() },
                    None => Cell { known: Known::Value, linked: false, bytes: rows.row(row).data() },
                },
            );
        }
        for reference in &self.references {
            push_cell(
                buffer,
                if reference.is_valid(row) {
                    Cell { known: Known::Value, linked: false, bytes: reference.value(row) }
                } else {
                    Cell { known: Known::Null, linked: false, bytes: &[] }
                },
            );
        }
    }

    /// The same, with [`Known::Nowhere`] in cells that were not sent.
    pub(super) fn record(&self, row: usize) -> OwnedRecord {
        let mut buffer = Vec::new();
        self.push_record(&mut buffer, row);
        let mut record = OwnedRecord::parse(&buffer);
        for cell in self.unsent(row) {
            record.cells[*cell] = OwnedCell { known: Known::Nowhere, linked: false, bytes: Box::default() };
        }
        record
    }
}

/// Does the event leave a row?
pub(super) fn has_row(op: Op) -> bool {
    matches!(op, Op::Create | Op::Read | Op::Update)
}

pub(super) fn rows_error(relation: &Relation, source: ArrowError) -> EngineError {
    EngineError::Rows { table: relation.table.clone(), source }
}

/// All events, partition by partition. Between partitions (their number was
/// raised) the order of reading decides; within one, the offset: two schemas may
/// interleave.
pub(super) fn in_order(batches: &[EventBatch<'_>]) -> Vec<EventRef> {
    let mut partitions: BTreeMap<(usize, &Topic, i32), Vec<usize>> = BTreeMap::new();
    let mut first: HashMap<(&Topic, i32), usize> = HashMap::new();
    for (number, read) in batches.iter().enumerate() {
        let partition = (read.batch.topic(), read.batch.partition());
        let place = *first.entry(partition).or_insert(number);
        partitions.entry((place, partition.0, partition.1)).or_default().push(number);
    }
    let mut events = Vec::with_capacity(batches.iter().map(|read| read.ops.len()).sum());
    for numbers in partitions.values() {
        let from = events.len();
        for number in numbers {
            let batch = u32::try_from(*number).expect("an epoch has few batches");
            let rows = u32::try_from(batches[*number].ops.len()).expect("a batch has fewer than 2^32 rows");
            events.extend((0..rows).map(|row| EventRef { batch, row }));
        }
        let ascending = numbers
            .windows(2)
            .all(|pair| batches[pair[0]].batch.span().to <= batches[pair[1]].batch.span().from);
        if !ascending {
            let offset =
                |event: &EventRef| batches[event.batch as usize].batch.offsets().value(event.row as usize);
            events[from..].sort_by_key(offset);
        }
    }
    events
}
