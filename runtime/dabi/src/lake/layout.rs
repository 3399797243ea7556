//! How a column is laid out in Parquet.
//!
//! Owns encodings, compression and statistics. The choice was measured on
//! change events of an order table: against dictionaries everywhere it halves
//! the CPU per row and takes a third off the bytes.

use std::collections::HashSet;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use dabi_core::change::meta;
use parquet::arrow::ArrowSchemaConverter;
use parquet::basic::{Compression, Encoding, Type as PhysicalType, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnDescriptor;

/// Values looked at to see whether a dictionary pays.
const SAMPLE_ROWS: usize = 2048;

/// Columns by which a reader may leave out row groups, besides the key.
const WITH_STATISTICS: [&str; 5] = [meta::TS, meta::LSN, meta::PARTITION, meta::OFFSET, meta::KAFKA_TS];

/// zstd; integers and times as deltas; a dictionary only for text and bytes in
/// which `sample` repeats itself; statistics, one per row group, for `key` and
/// what says when and where.
pub(super) fn writer_properties(
    schema: &Schema,
    key: &[&str],
    sample: &RecordBatch,
) -> Result<WriterProperties, ParquetError> {
    let level = ZstdLevel::try_new(3)?;
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(None)
        .set_created_by(concat!("dabi ", env!("CARGO_PKG_VERSION")).to_owned());
    let parquet_schema = ArrowSchemaConverter::new().convert(schema)?;
    for (index, leaf) in parquet_schema.columns().iter().enumerate() {
        let root = parquet_schema.get_column_root_idx(index);
        properties = lay_out(properties, leaf, &sample_of(sample, root, leaf));
        let name = schema.field(root).name().as_str();
        if key.contains(&name) || WITH_STATISTICS.contains(&name) {
            properties =
                properties.set_column_statistics_enabled(leaf.path().clone(), EnabledStatistics::Chunk);
        }
    }
    Ok(properties.build())
}

fn lay_out(
    properties: WriterPropertiesBuilder,
    leaf: &ColumnDescriptor,
    sample: &Sample,
) -> WriterPropertiesBuilder {
    let path = leaf.path().clone();
    match leaf.physical_type() {
        PhysicalType::INT32 | PhysicalType::INT64 => {
            properties.set_column_encoding(path, Encoding::DELTA_BINARY_PACKED)
        }
        PhysicalType::BYTE_ARRAY | PhysicalType::FIXED_LEN_BYTE_ARRAY => {
            properties.set_column_dictionary_enabled(path, sample.repeats())
        }
        _ => properties,
    }
}

/// What is known of a leaf's values before writing.
enum Sample {
    /// Codes into a small set, by its type.
    Codes,
    /// Some of its values.
    Values(ArrayRef),
    /// Inside a list, or of a type that is not looked into.
    Unknown,
}

fn sample_of(batch: &RecordBatch, root: usize, leaf: &ColumnDescriptor) -> Sample {
    let column = batch.column(root);
    match (column.data_type(), leaf.path().parts()) {
        (DataType::Dictionary(..), _) => Sample::Codes,
        (DataType::Utf8 | DataType::Binary | DataType::FixedSizeBinary(_), _) => {
            Sample::Values(column.slice(0, column.len().min(SAMPLE_ROWS)))
        }
        (DataType::Struct(_), [_, child]) => match column.as_struct().column_by_name(child) {
            Some(child) => Sample::Values(child.slice(0, child.len().min(SAMPLE_ROWS))),
            None => Sample::Unknown,
        },
        _ => Sample::Unknown,
    }
}

impl Sample {
    /// Does each distinct value come at least four times? A column of nulls may
    /// have a dictionary: Parquet gives one up that grows too large.
    fn repeats(&self) -> bool {
        let values = match self {
            Self::Codes | Self::Unknown => return true,
            Self::Values(values) => values,
        };
        let mut seen: HashSet<&[u8]> = HashSet::new();
        let count = match values.data_type() {
            DataType::Utf8 => {
                distinct(values.as_string::<i32>().iter().flatten().map(str::as_bytes), &mut seen)
            }
            DataType::Binary => distinct(values.as_binary::<i32>().iter().flatten(), &mut seen),
            DataType::FixedSizeBinary(_) => {
                distinct(values.as_fixed_size_binary().iter().flatten(), &mut seen)
            }
            _ => return true,
        };
        seen.len() * 4 <= count.max(4)
    }
}

/// Collects the distinct values and returns how many values there are.
fn distinct<'a>(values: impl Iterator<Item = &'a [u8]>, seen: &mut HashSet<&'a [u8]>) -> usize {
    values.map(|value| seen.insert(value)).count()
}
