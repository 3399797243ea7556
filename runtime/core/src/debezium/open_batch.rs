//! The rows of one partition and one layout, on their way to a [`ChangeBatch`].
//!
//! Owns the meta columns and the undoing of a row that does not fit. Invariant:
//! between appends, every column holds the same number of rows.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, DictionaryArray, Int8Array, Int32Array, Int64Array, ListArray,
    NullBufferBuilder, PrimitiveArray, RecordBatch, StringArray, StructArray, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    ArrowNativeType, DataType, Field, Fields, Int8Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType,
};

use super::column::Column;
use super::json::Lexeme;
use super::layout::{Layout, LayoutId};
use super::meta::Header;
use super::wire_type::WireType;
use crate::change::{ChangeBatch, Op, change_schema};
use crate::position::Topic;

/// How many different `source.snapshot` values a batch can hold: the codes of
/// its dictionary are `i8`. Debezium has seven.
const SNAPSHOTS_MAX: usize = 100;
/// Text of a batch, so that Arrow's 32-bit offsets hold it with room to spare.
const TEXT_BYTES_MAX: usize = 512 << 20;
/// What the meta columns of one row take, about.
const META_BYTES: usize = 80;

/// A change event, its values assigned to the columns of a layout.
#[derive(Debug)]
pub(super) struct Row<'r, 'a> {
    pub(super) header: Header<'a>,
    pub(super) offset: i64,
    pub(super) timestamp_ms: Option<i64>,
    /// one for each column
    pub(super) values: &'r [Lexeme<'a>],
    /// one for each column, where a before-image was sent
    pub(super) before: Option<&'r [Lexeme<'a>]>,
    /// columns whose value was not sent
    pub(super) unavailable: &'r [usize],
    pub(super) newkey: Option<&'a str>,
    pub(super) oldkey: Option<&'a str>,
}

/// Column `place` cannot hold `value`.
#[derive(Debug)]
pub(super) struct Misfit<'a> {
    pub(super) place: usize,
    pub(super) value: Lexeme<'a>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct OpenBatch {
    pub(super) layout: LayoutId,
    pub(super) partition: i32,
    columns: Vec<Column>,
    before: Option<Before>,
    ops: Vec<i8>,
    ts_us: Optional<i64>,
    lsn: Optional<i64>,
    tx: Column,
    tx_order: Optional<i64>,
    snapshots: Vec<Box<str>>,
    snapshot: Optional<i8>,
    offsets: Vec<i64>,
    timestamps_ms: Optional<i64>,
    /// columns, by row; the rows without any are not in it
    unavailable: Vec<(usize, Vec<usize>)>,
    newkeys: Sparse,
    oldkeys: Sparse,
    fixed_bytes: usize,
    /// columns that hold text
    text_places: Vec<usize>,
    text_bytes: usize,
}

#[derive(Debug)]
struct Before {
    columns: Vec<Column>,
    nulls: NullBufferBuilder,
}

impl Before {
    fn new(layout: &Layout, rows: usize) -> Self {
        let mut columns: Vec<_> = layout.columns.iter().map(|column| Column::new(&column.ty)).collect();
        let mut nulls = NullBufferBuilder::new(1024);
        for _ in 0..rows {
            nulls.append_null();
            columns.iter_mut().for_each(Column::append_null);
        }
        Self { columns, nulls }
    }
}

/// Appends a value to each column; on a misfit all are cut back to `rows`.
fn append<'a>(columns: &mut [Column], values: &[Lexeme<'a>], rows: usize) -> Result<(), Misfit<'a>> {
    for (place, (column, value)) in columns.iter_mut().zip(values).enumerate() {
        if column.append(*value).is_err() {
            columns.iter_mut().take(place + 1).for_each(|column| column.truncate(rows));
            return Err(Misfit { place, value: *value });
        }
    }
    Ok(())
}

impl OpenBatch {
    pub(super) fn new(id: LayoutId, layout: &Layout, partition: i32) -> Self {
        let mut this = Self {
            layout: id,
            partition,
            columns: layout.columns.iter().map(|column| Column::new(&column.ty)).collect(),
            before: None,
            ops: Vec::new(),
            ts_us: Optional::default(),
            lsn: Optional::default(),
            tx: Column::new(&WireType::Text),
            tx_order: Optional::default(),
            snapshots: Vec::new(),
            snapshot: Optional::default(),
            offsets: Vec::new(),
            timestamps_ms: Optional::default(),
            unavailable: Vec::new(),
            newkeys: Sparse::default(),
            oldkeys: Sparse::default(),
            fixed_bytes: META_BYTES + layout.fixed_bytes(),
            text_places: Vec::new(),
            text_bytes: 0,
        };
        this.find_text_places();
        this
    }

    fn find_text_places(&mut self) {
        let places = self.columns.iter().enumerate().filter(|(_, column)| column.has_text());
        self.text_places = places.map(|(place, _)| place).collect();
    }

    pub(super) fn rows(&self) -> usize {
        self.offsets.len()
    }

    /// Memory that the rows take; an estimate.
    pub(super) fn bytes(&self) -> usize {
        self.rows() * self.fixed_bytes + self.text_bytes
    }

    /// Can `row` follow, or must the batch be closed first?
    pub(super) fn takes(&self, row: &Row<'_, '_>) -> bool {
        let ascends = self.offsets.last().is_none_or(|last| *last < row.offset);
        let snapshot = row.header.snapshot.as_deref();
        ascends
            && self.bytes() < TEXT_BYTES_MAX
            && (self.snapshots.len() < SNAPSHOTS_MAX
                || snapshot.is_none_or(|s| self.snapshot_code(s).is_some()))
    }

    fn snapshot_code(&self, snapshot: &str) -> Option<i8> {
        i8::try_from(self.snapshots.iter().position(|known| **known == *snapshot)?).ok()
    }

    /// Gives column `place`, all null so far, a type.
    pub(super) fn retype(&mut self, place: usize, ty: &WireType) {
        let before = self.before.as_mut().map(|before| &mut before.columns);
        for column in [Some(&mut self.columns), before].into_iter().flatten().filter_map(|c| c.get_mut(place))
        {
            column.retype(ty);
        }
        self.find_text_places();
    }

    /// Appends a row.
    ///
    /// # Errors
    /// If a value does not fit its column; the batch is then as it was.
    pub(super) fn append<'a>(&mut self, layout: &Layout, row: &Row<'_, 'a>) -> Result<(), Misfit<'a>> {
        let rows = self.rows();
        append(&mut self.columns, row.values, rows)?;
        if let Err(misfit) = self.append_before(layout, row, rows) {
            self.columns.iter_mut().for_each(|column| column.truncate(rows));
            return Err(misfit);
        }
        self.append_meta(row);
        let bytes = |columns: &[Column]| -> usize {
            self.text_places.iter().filter_map(|place| columns.get(*place)).map(Column::text_bytes).sum()
        };
        self.text_bytes =
            bytes(&self.columns) + self.before.as_ref().map_or(0, |before| bytes(&before.columns));
        Ok(())
    }

    fn append_before<'a>(
        &mut self,
        layout: &Layout,
        row: &Row<'_, 'a>,
        rows: usize,
    ) -> Result<(), Misfit<'a>> {
        let Some(values) = row.before else {
            if let Some(before) = &mut self.before {
                before.nulls.append_null();
                before.columns.iter_mut().for_each(Column::append_null);
            }
            return Ok(());
        };
        let before = self.before.get_or_insert_with(|| Before::new(layout, rows));
        append(&mut before.columns, values, rows)?;
        before.nulls.append_non_null();
        Ok(())
    }

    fn append_meta(&mut self, row: &Row<'_, '_>) {
        let header = &row.header;
        self.ops.push(op_code(header.op));
        self.ts_us.push(header.ts_us);
        self.lsn.push(header.lsn);
        self.tx.append_text(header.tx.as_deref());
        self.tx_order.push(header.tx_order);
        let snapshot = header.snapshot.as_deref().map(|snapshot| {
            self.snapshot_code(snapshot).unwrap_or_else(|| {
                self.snapshots.push(snapshot.into());
                i8::try_from(self.snapshots.len() - 1).unwrap_or(0)
            })
        });
        self.snapshot.push(snapshot);
        let at = self.offsets.len();
        if !row.unavailable.is_empty() {
            self.unavailable.push((at, row.unavailable.to_vec()));
        }
        self.newkeys.0.extend(row.newkey.map(|key| (at, key.into())));
        self.oldkeys.0.extend(row.oldkey.map(|key| (at, key.into())));
        self.offsets.push(row.offset);
        self.timestamps_ms.push(row.timestamp_ms);
    }

    /// The batch; `None` without rows. `with_before` if the topic has ever had
    /// a before-image.
    pub(super) fn finish(self, topic: &Topic, layout: &Layout, with_before: bool) -> Option<ChangeBatch> {
        let rows = self.rows();
        if rows == 0 {
            return None;
        }
        let fields = layout.fields();
        // Parquet has no struct without fields
        let with_before = with_before && !fields.is_empty();
        let schema = change_schema(&layout.table, &layout.key_names(), &fields, with_before);
        let mut arrays: Vec<ArrayRef> = self.columns.into_iter().map(Column::finish).collect();
        arrays.push(codes(Int8Array::from(self.ops), Op::ALL.iter().map(|op| op.letter())));
        if with_before {
            arrays.push(before_array(self.before, &fields, rows));
        }
        arrays.extend([
            Arc::new(self.ts_us.finish::<TimestampMicrosecondType>().with_timezone("UTC")) as ArrayRef,
            Arc::new(self.lsn.finish::<Int64Type>()),
            self.tx.finish(),
            Arc::new(self.tx_order.finish::<Int64Type>()),
            codes(self.snapshot.finish(), self.snapshots.iter().map(|snapshot| &**snapshot)),
            codes(Int8Array::from(vec![0; rows]), std::iter::once(&**topic)),
            Arc::new(Int32Array::from(vec![self.partition; rows])),
            Arc::new(Int64Array::from(self.offsets)),
            Arc::new(self.timestamps_ms.finish::<TimestampMillisecondType>().with_timezone("UTC")),
            unavailable_array(&self.unavailable, layout, rows),
            self.newkeys.finish(rows),
            self.oldkeys.finish(rows),
        ]);
        let batch = RecordBatch::try_new(schema, arrays)
            .expect("every array is of the schema's type and of `rows` rows");
        Some(
            ChangeBatch::try_new(batch).expect("one partition, ascending offsets, key columns of the layout"),
        )
    }
}

fn op_code(op: Op) -> i8 {
    match op {
        Op::Create => 0,
        Op::Update => 1,
        Op::Delete => 2,
        Op::Read => 3,
        Op::Truncate => 4,
    }
}

fn codes<'a>(codes: Int8Array, values: impl Iterator<Item = &'a str>) -> ArrayRef {
    let values = Arc::new(StringArray::from_iter_values(values));
    Arc::new(DictionaryArray::<Int8Type>::try_new(codes, values).expect("every code has a value"))
}

fn before_array(before: Option<Before>, fields: &Fields, rows: usize) -> ArrayRef {
    match before {
        None => new_null_array(&DataType::Struct(fields.clone()), rows),
        Some(Before { columns, nulls }) => {
            let columns = columns.into_iter().map(Column::finish).collect();
            Arc::new(StructArray::new(fields.clone(), columns, nulls.build()))
        }
    }
}

fn unavailable_array(unavailable: &[(usize, Vec<usize>)], layout: &Layout, rows: usize) -> ArrayRef {
    let mut lengths = vec![0; rows];
    let mut names = Vec::new();
    let mut nulls = NullBufferBuilder::new(rows);
    for (row, places) in unavailable {
        lengths[*row] = places.len();
        names.extend(places.iter().map(|place| layout.columns.get(*place).map(|c| c.stored_name.as_str())));
    }
    lengths.iter().for_each(|length| nulls.append(*length > 0));
    let item = Arc::new(Field::new_list_field(DataType::Utf8, true));
    let names = Arc::new(StringArray::from(names));
    Arc::new(ListArray::new(item, OffsetBuffer::from_lengths(lengths), names, nulls.build()))
}

/// Text that few rows have, by row.
#[derive(Debug, Default)]
struct Sparse(Vec<(usize, Box<str>)>);

impl Sparse {
    fn finish(&self, rows: usize) -> ArrayRef {
        let mut texts = vec![None; rows];
        for (row, text) in &self.0 {
            texts[*row] = Some(&**text);
        }
        Arc::new(StringArray::from(texts))
    }
}

/// Values of which some are null.
#[derive(Debug)]
struct Optional<T> {
    values: Vec<T>,
    nulls: NullBufferBuilder,
}

impl<T> Default for Optional<T> {
    fn default() -> Self {
        Self { values: Vec::new(), nulls: NullBufferBuilder::new(1024) }
    }
}

impl<T: Default> Optional<T> {
    fn push(&mut self, value: Option<T>) {
        self.nulls.append(value.is_some());
        self.values.push(value.unwrap_or_default());
    }

    fn finish<P: ArrowPrimitiveType<Native = T>>(self) -> PrimitiveArray<P>
    where
        T: ArrowNativeType,
    {
        PrimitiveArray::new(self.values.into(), self.nulls.build())
    }
}
