//! Star rows from what a transform made of one batch.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayData, ArrayRef, ArrowPrimitiveType, AsArray, ListArray, PrimitiveArray, RecordBatch,
    StringArray, UInt8Array, UInt32Array, UInt64Array, make_array, new_empty_array, new_null_array,
};
use arrow::buffer::OffsetBuffer;
use arrow::compute::{cast, concat, take};
use arrow::datatypes::{DataType, Date32Type, Field, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;

use crate::change::ChangeBatch;
use crate::star::FILLER_KEY;
use crate::version::Version;

/// One batch after its transform, for one target.
pub struct EvaluatedBatch<'a> {
    /// The events.
    pub batch: &'a ChangeBatch,
    /// Row of `batch` that each output row comes from.
    pub origins: &'a UInt32Array,
    /// The target's columns, one value per origin.
    pub columns: &'a [ArrayRef],
    /// Rows of `batch` that leave a tombstone.
    pub tombstones: &'a UInt32Array,
    /// For each of the target's columns: the input column whose values its
    /// tombstones take (the key), read for every row of `batch`.
    pub keys: &'a [Option<ArrayRef>],
}

/// The rows to insert: live ones first, then tombstones, in the columns of
/// `schema`: the target's, then `_version`, `_deleted`, `_lsn`, `_ts`.
///
/// # Errors
/// If the columns do not fit `schema`.
pub fn star_rows(
    evaluated: &EvaluatedBatch<'_>,
    schema: &SchemaRef,
    version: Version,
) -> Result<RecordBatch, ArrowError> {
    let keys =
        |key: &Option<ArrayRef>| key.as_ref().map(|key| take(key, evaluated.tombstones, None)).transpose();
    let events: UInt32Array =
        evaluated.origins.values().iter().chain(evaluated.tombstones.values()).copied().collect();
    let rows = LiveAndDead {
        live: evaluated.columns,
        live_rows: evaluated.origins.len(),
        dead: &evaluated.keys.iter().map(keys).collect::<Result<Vec<_>, _>>()?,
        dead_rows: evaluated.tombstones.len(),
        lsns: take(evaluated.batch.lsns(), &events, None)?,
        times: take(evaluated.batch.commit_ts(), &events, None)?,
    };
    insert_rows(&rows, schema, version)
}

/// Live rows and tombstones of one target.
pub(crate) struct LiveAndDead<'a> {
    /// The target's columns.
    pub(crate) live: &'a [ArrayRef],
    pub(crate) live_rows: usize,
    /// The columns that tell tombstones apart.
    pub(crate) dead: &'a [Option<ArrayRef>],
    pub(crate) dead_rows: usize,
    /// `_lsn` and `_ts` of all of them.
    pub(crate) lsns: ArrayRef,
    pub(crate) times: ArrayRef,
}

/// As [`star_rows`], from columns that are gathered already.
pub(crate) fn insert_rows(
    rows: &LiveAndDead<'_>,
    schema: &SchemaRef,
    version: Version,
) -> Result<RecordBatch, ArrowError> {
    let (live_rows, dead_rows) = (rows.live_rows, rows.dead_rows);
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(schema.fields().len());
    for ((field, live), key) in schema.fields().iter().zip(rows.live).zip(rows.dead) {
        let column = if dead_rows == 0 {
            Arc::clone(live)
        } else {
            let dead = match key {
                Some(key) => Arc::clone(key),
                None if field.is_nullable() => new_null_array(live.data_type(), dead_rows),
                None => filler(field, live.data_type(), dead_rows)?,
            };
            concat(&[live.as_ref(), dead.as_ref()])?
        };
        columns.push(nothing_under_nulls(without_null_lists(as_inserted(&column, field.data_type())?)?)?);
    }
    let mut deleted = vec![0u8; live_rows];
    deleted.resize(live_rows + dead_rows, 1);
    columns.push(Arc::new(UInt64Array::from_value(version.0, live_rows + dead_rows)));
    columns.push(Arc::new(UInt8Array::from(deleted)));
    columns.push(Arc::clone(&rows.lsns));
    columns.push(Arc::clone(&rows.times));
    RecordBatch::try_new(Arc::clone(schema), columns)
}

/// In the type that an insert sends; the values stay the same.
fn as_inserted(column: &ArrayRef, data_type: &DataType) -> Result<ArrayRef, ArrowError> {
    match (column.data_type(), data_type) {
        (have, want) if have == want => Ok(Arc::clone(column)),
        // A time without a zone is written as UTC: the same number.
        (DataType::Timestamp(have, _), DataType::Timestamp(want, _)) if have == want => {
            Ok(make_array(column.to_data().into_builder().data_type(data_type.clone()).build()?))
        }
        // So are those of a list, which arrow would cast only with the names of all zones.
        (DataType::List(_), DataType::List(item)) => {
            let lists = column.as_list::<i32>();
            let items = as_inserted(lists.values(), item.data_type())?;
            let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, nulls)?))
        }
        _ => cast(column, data_type),
    }
}

/// A null list as an empty one: ClickHouse has no nullable arrays.
fn without_null_lists(column: ArrayRef) -> Result<ArrayRef, ArrowError> {
    let (Some(lists), true) = (column.as_list_opt::<i32>(), column.null_count() > 0) else {
        return Ok(column);
    };
    let lengths = (0..lists.len()).map(|row| {
        if lists.is_valid(row) { usize::try_from(lists.value_length(row)).unwrap_or(0) } else { 0 }
    });
    let parts: Vec<ArrayRef> =
        (0..lists.len()).filter(|row| lists.is_valid(*row)).map(|row| lists.value(row)).collect();
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    let items = if parts.is_empty() { new_empty_array(&lists.value_type()) } else { concat(&parts)? };
    let DataType::List(item) = column.data_type() else { unreachable!("as_list_opt") };
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(Arc::clone(item), offsets, items, None)?))
}

/// The same column with a zero under each null. ClickHouse checks the range of a
/// date that is null too, and a null from the state store has the smallest number
/// under it.
fn nothing_under_nulls(column: ArrayRef) -> Result<ArrayRef, ArrowError> {
    fn zeroed<T: ArrowPrimitiveType>(column: &ArrayRef) -> ArrayRef {
        let values: PrimitiveArray<T> = column.as_primitive::<T>().iter().collect();
        Arc::new(values.with_data_type(column.data_type().clone()))
    }
    Ok(match column.data_type() {
        DataType::List(item) => {
            let lists = column.as_list::<i32>();
            let values = nothing_under_nulls(Arc::clone(lists.values()))?;
            let (offsets, nulls) = (lists.offsets().clone(), lists.nulls().cloned());
            Arc::new(ListArray::try_new(Arc::clone(item), offsets, values, nulls)?)
        }
        _ if column.null_count() == 0 => column,
        DataType::Date32 => zeroed::<Date32Type>(&column),
        DataType::Timestamp(TimeUnit::Microsecond, _) => zeroed::<TimestampMicrosecondType>(&column),
        _ => column,
    })
}

/// What stands in the non-null columns of a tombstone, which nobody reads.
fn filler(field: &Field, data_type: &DataType, rows: usize) -> Result<ArrayRef, ArrowError> {
    if let (Some(text), DataType::Utf8) = (field.metadata().get(FILLER_KEY), data_type) {
        return Ok(Arc::new(StringArray::from_iter_values(std::iter::repeat_n(text, rows))));
    }
    let nulls = ArrayData::new_null(data_type, rows);
    Ok(make_array(nulls.into_builder().nulls(None).build()?))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, TimestampMicrosecondArray};
    use arrow::buffer::NullBuffer;

    use super::*;

    /// The numbers of `column`, those under nulls too.
    fn numbers<T: ArrowPrimitiveType>(column: &ArrayRef) -> Vec<T::Native> {
        let clean = nothing_under_nulls(Arc::clone(column)).unwrap();
        assert_eq!(clean.as_ref(), column.as_ref(), "the same values in the same type");
        let clean = clean.as_list_opt::<i32>().map_or(Arc::clone(&clean), |lists| Arc::clone(lists.values()));
        clean.as_primitive::<T>().values().to_vec()
    }

    #[test]
    fn times_without_a_zone_are_sent_as_utc_in_lists_too() {
        let times = TimestampMicrosecondArray::from(vec![Some(7), None, Some(-7)]);
        let utc: ArrayRef = Arc::new(times.clone().with_timezone("UTC"));
        let lists = |times: ArrayRef| -> ArrayRef {
            let item = Arc::new(Field::new_list_field(times.data_type().clone(), true));
            let nulls = NullBuffer::from(vec![true, false]);
            Arc::new(ListArray::new(item, OffsetBuffer::from_lengths([3, 0]), times, Some(nulls)))
        };
        let times: ArrayRef = Arc::new(times);
        assert_eq!(&as_inserted(&times, utc.data_type()).unwrap(), &utc);
        let (times, utc) = (lists(times), lists(utc));
        assert_eq!(&as_inserted(&times, utc.data_type()).unwrap(), &utc);
    }

    #[test]
    fn under_a_null_date_stands_one_that_clickhouse_takes() {
        let nulls = || Some(NullBuffer::from(vec![true, false]));
        let days = Date32Array::new(vec![19_782, i32::MIN].into(), nulls());
        assert_eq!(numbers::<Date32Type>(&(Arc::new(days.clone()) as ArrayRef)), [19_782, 0]);
        let times = TimestampMicrosecondArray::new(vec![7, i64::MIN].into(), nulls()).with_timezone("UTC");
        assert_eq!(numbers::<TimestampMicrosecondType>(&(Arc::new(times) as ArrayRef)), [7, 0]);
        let item = Arc::new(Field::new_list_field(DataType::Date32, true));
        let lists = ListArray::new(item, OffsetBuffer::from_lengths([2]), Arc::new(days), None);
        assert_eq!(numbers::<Date32Type>(&(Arc::new(lists) as ArrayRef)), [19_782, 0]);
    }
}
