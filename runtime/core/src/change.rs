//! Change events of one partition of one source table, as columns.
//!
//! Owns the layout that decoder, lake, fold and transforms share: the row's
//! columns, then the columns of [`meta`]. A lake file holds exactly these
//! columns, so a batch read back from the lake equals the batch that was
//! written. Does not own how bytes become columns (`debezium`), nor how wire
//! types are read as declared ones (`reading`).
//!
//! Invariants of a [`ChangeBatch`]: one source table, one topic-partition, one
//! wire schema; offsets strictly ascending; no declared type has touched it.

#[cfg(any(test, feature = "testing"))]
pub mod testing;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, DictionaryArray, Int64Array, RecordBatch, StructArray};
use arrow::datatypes::{
    DataType, Field, FieldRef, Fields, Int8Type, Int32Type, Int64Type, Schema, SchemaRef, TimeUnit,
};

use crate::fold::key::{keys_of, shown};
use crate::position::{Offset, Position, Span, Topic};
use crate::row_json::row_json;
use crate::table::SourceTable;

/// What happened to the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// `c`: inserted
    Create,
    /// `u`: updated
    Update,
    /// `d`: deleted; the row columns hold the before-image
    Delete,
    /// `r`: read by a snapshot
    Read,
    /// `t`: the whole table was truncated; the row columns are all null
    Truncate,
}

impl Op {
    /// All operations, in the order of the codes in the `_op` dictionary that
    /// the decoder builds.
    pub const ALL: [Self; 5] = [Self::Create, Self::Update, Self::Delete, Self::Read, Self::Truncate];

    /// Debezium's letter.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::Create => "c",
            Self::Update => "u",
            Self::Delete => "d",
            Self::Read => "r",
            Self::Truncate => "t",
        }
    }

    /// The operation of a letter.
    #[must_use]
    pub fn from_letter(letter: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.letter() == letter)
    }
}

/// How a row column stands to the wire; kept in the field's metadata under
/// [`WIRE_KEY`], and so in every lake file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// The wire gave the type (a Connect schema): the Arrow type says it, with
    /// the semantic name under [`CONNECT_NAME_KEY`].
    Typed,
    /// JSON without a schema, stored as sent: every value was null (`Null`), an
    /// integer that fits 64 bits (`Int64`), a string (`Utf8`, unescaped), or a
    /// boolean (`Boolean`).
    Untyped,
    /// The JSON text of each value as sent (`Utf8`, strings with their quotes):
    /// structs, maps, nested arrays, other numbers, columns of mixed kinds, and
    /// columns that held a value outside the range of their wire type.
    Json,
}

impl Wire {
    fn name(self) -> &'static str {
        match self {
            Self::Typed => "typed",
            Self::Untyped => "untyped",
            Self::Json => "json",
        }
    }

    /// How the values of `field` stand to the wire; `None` if the field says
    /// nothing (not a field that dabi wrote).
    #[must_use]
    pub fn of(field: &Field) -> Option<Self> {
        let name = field.metadata().get(WIRE_KEY)?;
        [Self::Typed, Self::Untyped, Self::Json].into_iter().find(|wire| wire.name() == name)
    }
}

/// Field metadata: see [`Wire`].
pub const WIRE_KEY: &str = "dabi.wire";
/// Field metadata: the Connect semantic name, as `io.debezium.time.Date`.
pub const CONNECT_NAME_KEY: &str = "connect.name";
/// Schema metadata: the source table, `schema.table`.
pub const TABLE_KEY: &str = "dabi.table";
/// Schema metadata: JSON list of the names of the columns of the Kafka key, in
/// its order; `[]` for a table without one.
pub const KEY_KEY: &str = "dabi.key";

/// A row column: nullable, because before-images and truncates may lack it.
#[must_use]
pub fn row_field(name: &str, data_type: DataType, wire: Wire, connect_name: Option<&str>) -> Field {
    let mut metadata = HashMap::from([(WIRE_KEY.to_owned(), wire.name().to_owned())]);
    if let Some(connect_name) = connect_name {
        metadata.insert(CONNECT_NAME_KEY.to_owned(), connect_name.to_owned());
    }
    Field::new(name, data_type, true).with_metadata(metadata)
}

/// The columns that follow the row's columns, in this order. `_before` is the
/// one that may be missing: it is there from the first before-image on.
pub mod meta {
    /// Debezium's letter, `Dictionary(Int8, Utf8)`; never null.
    pub const OP: &str = "_op";
    /// Before-image of an update, where one was sent: a struct of the row's columns.
    pub const BEFORE: &str = "_before";
    /// Commit time, `Timestamp(µs, UTC)`; null if not sent.
    pub const TS: &str = "_ts";
    /// Log sequence number, `Int64`; null for incremental-snapshot reads and
    /// where not sent.
    pub const LSN: &str = "_lsn";
    /// Transaction id, `Utf8`: `source.txId`, else `transaction.id`; null if not sent.
    pub const TX: &str = "_tx";
    /// `transaction.total_order`, `Int64`; null if not sent.
    pub const TX_ORDER: &str = "_tx_order";
    /// `source.snapshot`, `Dictionary(Int8, Utf8)`; null if not sent.
    pub const SNAPSHOT: &str = "_snapshot";
    /// Topic, `Dictionary(Int8, Utf8)`; never null.
    pub const TOPIC: &str = "_topic";
    /// Partition, `Int32`; never null.
    pub const PARTITION: &str = "_partition";
    /// Offset, `Int64`; never null.
    pub const OFFSET: &str = "_offset";
    /// The record's Kafka timestamp, `Timestamp(ms, UTC)`; null if it has none.
    pub const KAFKA_TS: &str = "_kafka_ts";
    /// Names of the columns whose value was not sent (unchanged TOAST), which
    /// are null here; `List<Utf8>`, null where every column was sent.
    pub const UNAVAILABLE: &str = "_unavailable";
    /// `__debezium.newkey` header, `Utf8`: on the delete half of a key change.
    pub const NEWKEY: &str = "_newkey";
    /// `__debezium.oldkey` header, `Utf8`: on the create half of a key change.
    pub const OLDKEY: &str = "_oldkey";

    /// All of them, in order.
    pub const ALL: [&str; 14] = [
        OP,
        BEFORE,
        TS,
        LSN,
        TX,
        TX_ORDER,
        SNAPSHOT,
        TOPIC,
        PARTITION,
        OFFSET,
        KAFKA_TS,
        UNAVAILABLE,
        NEWKEY,
        OLDKEY,
    ];
}

fn code_type() -> DataType {
    DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8))
}

fn utc(unit: TimeUnit) -> DataType {
    DataType::Timestamp(unit, Some("UTC".into()))
}

fn meta_fields(before: Option<&Fields>) -> Vec<Field> {
    let mut fields = vec![Field::new(meta::OP, code_type(), false)];
    if let Some(row) = before {
        fields.push(Field::new(meta::BEFORE, DataType::Struct(row.clone()), true));
    }
    fields.extend([
        Field::new(meta::TS, utc(TimeUnit::Microsecond), true),
        Field::new(meta::LSN, DataType::Int64, true),
        Field::new(meta::TX, DataType::Utf8, true),
        Field::new(meta::TX_ORDER, DataType::Int64, true),
        Field::new(meta::SNAPSHOT, code_type(), true),
        Field::new(meta::TOPIC, code_type(), false),
        Field::new(meta::PARTITION, DataType::Int32, false),
        Field::new(meta::OFFSET, DataType::Int64, false),
        Field::new(meta::KAFKA_TS, utc(TimeUnit::Millisecond), true),
        Field::new(meta::UNAVAILABLE, DataType::new_list(DataType::Utf8, true), true),
        Field::new(meta::NEWKEY, DataType::Utf8, true),
        Field::new(meta::OLDKEY, DataType::Utf8, true),
    ]);
    fields
}

/// The Arrow schema of the change events of `table`.
///
/// `key` names columns of `row`. A row column whose name is that of a meta
/// column must have been renamed by the caller (one `_` appended).
#[must_use]
pub fn change_schema(table: &SourceTable, key: &[&str], row: &Fields, with_before: bool) -> SchemaRef {
    let meta = meta_fields(with_before.then_some(row));
    let fields: Vec<FieldRef> = row.iter().cloned().chain(meta.into_iter().map(Arc::new)).collect();
    let key = serde_json::Value::from(key.to_vec());
    let metadata =
        HashMap::from([(TABLE_KEY.to_owned(), table.to_string()), (KEY_KEY.to_owned(), key.to_string())]);
    Arc::new(Schema::new_with_metadata(fields, metadata))
}

/// Columns that are not the change events of one partition.
#[derive(Debug, thiserror::Error)]
#[error("not a change batch: {0}")]
pub struct InvalidChangeBatch(String);

/// Change events of one partition of one source table, in offset order.
#[derive(Clone, Debug)]
pub struct ChangeBatch {
    table: SourceTable,
    topic: Topic,
    partition: i32,
    key: Vec<usize>,
    row_width: usize,
    batch: RecordBatch,
}

impl ChangeBatch {
    /// Checks the layout of `batch`, which has at least one row.
    ///
    /// # Errors
    /// If the columns are not those of [`change_schema`], the key names no
    /// column, rows are of several partitions, or offsets do not ascend.
    pub fn try_new(batch: RecordBatch) -> Result<Self, InvalidChangeBatch> {
        let invalid = |what: String| InvalidChangeBatch(what);
        let schema = batch.schema();
        let row_width = schema.index_of(meta::OP).map_err(|_| invalid("it has no column _op".into()))?;
        let row: Fields = schema.fields()[..row_width].iter().cloned().collect();
        let with_before = schema.index_of(meta::BEFORE).is_ok();
        let expected = meta_fields(with_before.then_some(&row));
        let meta = &schema.fields()[row_width..];
        if meta.len() != expected.len() || meta.iter().zip(&expected).any(|(have, want)| !have.contains(want))
        {
            return Err(invalid(format!("meta columns {meta:?}, expected {expected:?}")));
        }
        let metadata = |key: &str| {
            schema.metadata().get(key).ok_or_else(|| invalid(format!("its schema has no metadata {key}")))
        };
        let table = metadata(TABLE_KEY)?.parse().map_err(|e| invalid(format!("{e}")))?;
        let key_names: Vec<String> =
            serde_json::from_str(metadata(KEY_KEY)?).map_err(|e| invalid(format!("{KEY_KEY}: {e}")))?;
        let key = key_names
            .iter()
            .map(|name| row.iter().position(|f| f.name() == name))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| invalid(format!("key {key_names:?} names no column of the row")))?;
        let topics = batch.column(schema.fields().len() - 7).as_dictionary::<Int8Type>();
        let topic = one_value(topics).ok_or_else(|| invalid("rows of several topics, or none".into()))?;
        let partitions = batch.column(schema.fields().len() - 6).as_primitive::<Int32Type>().values();
        let partition = match partitions.first() {
            Some(first) if partitions.iter().all(|p| p == first) => *first,
            _ => return Err(invalid("rows of several partitions, or none".into())),
        };
        let this = Self { table, topic, partition, key, row_width, batch };
        if !this.offsets().values().is_sorted_by(|a, b| a < b) {
            return Err(invalid("offsets do not ascend".into()));
        }
        Ok(this)
    }

    /// The source table.
    #[must_use]
    pub fn table(&self) -> &SourceTable {
        &self.table
    }

    /// The topic that every row came from.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.topic
    }

    /// The partition that every row came from.
    #[must_use]
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// Positions of the key's columns among the row's columns, in the order of
    /// the Kafka key; empty for a table without one.
    #[must_use]
    pub fn key(&self) -> &[usize] {
        &self.key
    }

    /// Does [`ChangeBatch::key`] say what the table's key is? Truncates have a
    /// null key, so a batch of them alone names no column, whatever the table.
    #[must_use]
    pub fn tells_key(&self) -> bool {
        self.ops().any(|op| op != Op::Truncate)
    }

    /// The row's fields, without the meta columns.
    #[must_use]
    pub fn row_fields(&self) -> &[FieldRef] {
        &self.batch.schema_ref().fields()[..self.row_width]
    }

    /// The row's columns, without the meta columns.
    #[must_use]
    pub fn row_columns(&self) -> &[ArrayRef] {
        &self.batch.columns()[..self.row_width]
    }

    /// All columns, as the lake stores them.
    #[must_use]
    pub fn record_batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// How many events.
    #[must_use]
    pub fn num_rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// From the first offset up to the one after the last.
    #[must_use]
    pub fn span(&self) -> Span {
        let offsets = self.offsets().values();
        let (first, last) = (offsets[0], offsets[offsets.len() - 1]);
        Span::new(Offset(first), Offset(last).next())
    }

    /// The operation of each row.
    pub fn ops(&self) -> impl ExactSizeIterator<Item = Op> + '_ {
        let codes = self.meta(meta::OP).as_dictionary::<Int8Type>();
        let letters = codes.values().as_string::<i32>();
        let ops: Vec<Op> =
            letters.iter().map(|l| l.and_then(Op::from_letter).unwrap_or(Op::Update)).collect();
        codes.keys().values().iter().map(move |code| ops[usize::try_from(*code).unwrap_or(0)])
    }

    /// Offsets, ascending.
    #[must_use]
    pub fn offsets(&self) -> &Int64Array {
        self.meta(meta::OFFSET).as_primitive::<Int64Type>()
    }

    /// Commit times, µs since 1970.
    #[must_use]
    pub fn commit_ts(&self) -> &arrow::array::TimestampMicrosecondArray {
        self.meta(meta::TS).as_primitive()
    }

    /// Log sequence numbers.
    #[must_use]
    pub fn lsns(&self) -> &Int64Array {
        self.meta(meta::LSN).as_primitive()
    }

    /// Kafka timestamps, ms since 1970.
    #[must_use]
    pub fn kafka_ts(&self) -> &arrow::array::TimestampMillisecondArray {
        self.meta(meta::KAFKA_TS).as_primitive()
    }

    /// Before-images; `None` if no record of this batch could have one.
    #[must_use]
    pub fn before(&self) -> Option<&StructArray> {
        self.batch.column_by_name(meta::BEFORE).map(AsArray::as_struct)
    }

    /// A meta column by its name.
    ///
    /// # Panics
    /// If there is no such column: `try_new` has checked all but `_before`.
    #[must_use]
    pub fn meta(&self, name: &str) -> &ArrayRef {
        self.batch.column_by_name(name).expect("try_new checked the meta columns")
    }

    /// The rows `[from, from + len)`, without copying.
    #[must_use]
    pub fn slice(&self, from: usize, len: usize) -> Self {
        Self { batch: self.batch.slice(from, len), ..self.clone() }
    }

    /// Without the rows below `position`; `None` if nothing is left.
    #[must_use]
    pub fn after(&self, position: Offset) -> Option<Self> {
        let done = self.offsets().values().partition_point(|offset| *offset < position.0);
        let left = self.num_rows() - done;
        (left > 0).then(|| if done == 0 { self.clone() } else { self.slice(done, left) })
    }

    /// Without the rows from `position` on; `None` if nothing is left.
    #[must_use]
    pub fn below(&self, position: Offset) -> Option<Self> {
        let kept = self.offsets().values().partition_point(|offset| *offset < position.0);
        (kept > 0).then(|| if kept == self.num_rows() { self.clone() } else { self.slice(0, kept) })
    }

    /// The part of it that is done at `position`; `None` if nothing is.
    #[must_use]
    pub fn done_at(&self, position: &Position) -> Option<Self> {
        self.below(position.get(&self.topic, self.partition)?)
    }

    /// For each row its key for people to read: the values with commas between
    /// them, in the order of the columns' names. `None` where it has none.
    #[must_use]
    pub fn shown_keys(&self) -> Vec<Option<String>> {
        match self.named_keys() {
            Some(keys) => keys.iter().map(|key| key.map(shown)).collect(),
            None => vec![None; self.num_rows()],
        }
    }

    /// For each row the bytes of its key, in the order of the columns' names:
    /// null where a value of it is. `None` for a table without a key.
    pub(crate) fn named_keys(&self) -> Option<BinaryArray> {
        let mut key = self.key.clone();
        key.sort_unstable_by_key(|column| self.row_fields()[*column].name());
        (!key.is_empty()).then(|| keys_of(self, &key))
    }

    /// A row with everything that is known of its event, for people to look at.
    #[must_use]
    pub fn row_json(&self, row: usize) -> serde_json::Value {
        let names = self.batch.schema_ref().fields().iter().map(|field| field.name().as_str());
        row_json(names.zip(self.batch.columns()), row)
    }

    /// Bytes that the columns hold in memory.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.batch.get_array_memory_size()
    }
}

fn one_value(codes: &DictionaryArray<Int8Type>) -> Option<Topic> {
    let keys = codes.keys().values();
    let first = keys.first()?;
    if keys.iter().any(|key| key != first) {
        return None;
    }
    let values = codes.values().as_string_opt::<i32>()?;
    Some(values.value(usize::try_from(*first).ok()?).into())
}
