//! Reading a target's rows back, for comparison.

use arrow::array::{AsArray, RecordBatch, UInt64Array};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, Field, UInt64Type};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use dabi_core::star::{READ_SETTINGS, TargetTable, VERSION, quote};
use dabi_core::version::Version;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream};
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use super::client::Warehouse;
use super::error::WarehouseError;
use super::literal;

/// Rows as readers see them.
#[derive(Clone, Debug)]
pub struct StoredRows {
    /// The target's columns, in the types in which they were sent.
    pub rows: RecordBatch,
    /// The version of each.
    pub versions: UInt64Array,
}

#[derive(Deserialize)]
struct VersionRow {
    version: u64,
}

impl Warehouse {
    /// Every row of `table` of which `condition` holds, as they all stand at one
    /// moment.
    ///
    /// # Errors
    /// If ClickHouse refuses; later failures come in the stream. Nothing is asked
    /// twice: rows of two moments are none of any.
    pub fn stored_rows(
        &self,
        table: &TargetTable,
        condition: &str,
    ) -> Result<impl Stream<Item = Result<StoredRows, WarehouseError>> + Send + use<>, WarehouseError> {
        let doing = format!("read {}", table.physical_name());
        let mut query = self.client.query_raw(&table.read_sql(&self.database, condition));
        for (setting, value) in READ_SETTINGS {
            query = query.with_setting(setting, value);
        }
        let refused = move |error: clickhouse::error::Error| WarehouseError::refused(&doing, &error);
        let cursor = query.fetch_bytes("ArrowStream").map_err(&refused)?;
        let chunks = stream::try_unfold(cursor, async |mut cursor| {
            Ok(cursor.next().await?.map(|chunk| (chunk, cursor)))
        });
        let table = table.clone();
        let unreadable = {
            let name = table.physical_name();
            move |source| WarehouseError::Rows { table: name.clone(), source }
        };
        let batches = decoded(chunks.map_err(refused), unreadable.clone());
        Ok(batches.map(move |batch| stored(&table, &batch?).map_err(&unreadable)))
    }
}

impl Warehouse {
    /// The highest version of any row of `table`, tombstones included.
    ///
    /// # Errors
    /// If ClickHouse refuses, or `stop` comes first.
    pub async fn highest_version(
        &self,
        table: &TargetTable,
        stop: &CancellationToken,
    ) -> Result<Version, WarehouseError> {
        let sql = format!("SELECT max({VERSION}) AS version FROM {}", table.qualified(&self.database));
        let doing = format!("read {}", table.physical_name());
        let rows: Vec<VersionRow> = self.rows(&sql, &doing, stop).await?;
        Ok(Version(rows.first().map_or(0, |row| row.version)))
    }

    /// As [`stored_rows`](Self::stored_rows), of one key: its values in the order
    /// of the key's columns, as text. Those that are left out may be any.
    ///
    /// # Errors
    /// As there.
    pub fn stored_row(
        &self,
        table: &TargetTable,
        key: &[String],
    ) -> Result<impl Stream<Item = Result<StoredRows, WarehouseError>> + Send + use<>, WarehouseError> {
        let schema = table.insert_schema();
        let equal = |(column, value): (&String, &String)| {
            let data_type = schema.field_with_name(column).map(Field::data_type);
            let value = match data_type {
                // A text is compared with a time only in one of its forms.
                Ok(DataType::Timestamp(..)) => {
                    format!("parseDateTime64BestEffort({}, 6, 'UTC')", literal(value))
                }
                _ => literal(value),
            };
            format!("t.{} = {value}", quote(column))
        };
        let condition: Vec<String> = table.key().iter().zip(key).map(equal).collect();
        self.stored_rows(table, &condition.join(" AND "))
    }
}

fn stored(table: &TargetTable, batch: &RecordBatch) -> Result<StoredRows, ArrowError> {
    let missing = |name: &str| ArrowError::SchemaError(format!("the answer has no column {name}"));
    let versions = batch.column_by_name(VERSION).and_then(|column| column.as_primitive_opt::<UInt64Type>());
    Ok(StoredRows {
        rows: table.read_back(batch)?,
        versions: versions.ok_or_else(|| missing(VERSION))?.clone(),
    })
}

/// An Arrow stream, whichever way it is cut.
fn decoded(
    chunks: impl Stream<Item = Result<bytes::Bytes, WarehouseError>> + Send,
    unreadable: impl Fn(ArrowError) -> WarehouseError + Send,
) -> impl Stream<Item = Result<RecordBatch, WarehouseError>> + Send {
    let start = (Box::pin(chunks), StreamDecoder::new(), Buffer::from(Vec::<u8>::new()), unreadable);
    stream::try_unfold(start, async |(mut chunks, mut decoder, mut rest, unreadable)| {
        loop {
            if let Some(batch) = decoder.decode(&mut rest).map_err(&unreadable)? {
                return Ok(Some((batch, (chunks, decoder, rest, unreadable))));
            }
            match chunks.next().await.transpose()? {
                Some(chunk) => rest = Buffer::from(chunk),
                None => {
                    decoder.finish().map_err(&unreadable)?;
                    return Ok(None);
                }
            }
        }
    })
}
