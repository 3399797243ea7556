//! Rows into a table: one Arrow stream, one block, one token.

use arrow::array::RecordBatch;
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{IpcWriteOptions, StreamWriter};
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::client::Warehouse;
use super::error::WarehouseError;
use super::retry::until_done;

/// What would otherwise be coerced in silence, and what makes the answer mean
/// "stored".
const STRICT: [(&str, &str); 8] = [
    ("input_format_null_as_default", "0"),
    ("input_format_arrow_allow_missing_columns", "0"),
    ("date_time_overflow_behavior", "throw"),
    ("async_insert", "0"),
    ("insert_deduplicate", "1"),
    // One block, whatever its bytes, so that the insert is stored whole or not
    // at all.
    ("max_insert_block_size", "1048576"),
    ("min_insert_block_size_rows", "1048576"),
    ("min_insert_block_size_bytes", "0"),
];

/// Rows as they are sent: once encoded, the same bytes on every attempt.
#[derive(Clone, Debug)]
pub struct EncodedRows {
    columns: String,
    body: Bytes,
}

impl EncodedRows {
    /// Encodes `batches`, all of one schema; `None` if there are none. Takes CPU
    /// time: call it from a CPU thread. `table` is for the message.
    ///
    /// # Errors
    /// If Arrow refuses them: a defect of dabi.
    pub fn new(table: &str, batches: &[RecordBatch]) -> Result<Option<Self>, WarehouseError> {
        let Some(first) = batches.first() else { return Ok(None) };
        let columns: Vec<String> =
            first.schema_ref().fields().iter().map(|field| dabi_core::star::quote(field.name())).collect();
        let body = arrow_stream(batches)
            .map_err(|source| WarehouseError::Encode { table: table.to_owned(), source })?;
        Ok(Some(Self { columns: columns.join(", "), body }))
    }
}

impl Warehouse {
    /// Stores `rows` in `table`, whole or not at all. Sent again after a
    /// doubtful answer, `token` keeps it from doubling.
    ///
    /// # Errors
    /// If ClickHouse refuses the rows, or `stop` comes first.
    pub async fn insert(
        &self,
        table: &str,
        rows: EncodedRows,
        token: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        let sql = format!(
            "INSERT INTO {}.{} ({}) FORMAT ArrowStream",
            dabi_core::star::quote(&self.database),
            dabi_core::star::quote(table),
            rows.columns
        );
        self.ease(stop).await;
        self.send(&sql, rows.body, token, &format!("store rows in {table}"), stop).await
    }

    /// Sends `body` as the data of an INSERT.
    pub(super) async fn send(
        &self,
        sql: &str,
        body: Bytes,
        token: &str,
        doing: &str,
        stop: &CancellationToken,
    ) -> Result<(), WarehouseError> {
        until_done(&self.status, doing, stop, || {
            let mut insert = self.client.insert_formatted_with(sql);
            for (setting, value) in STRICT {
                insert = insert.with_setting(setting, value);
            }
            insert = insert.with_setting("insert_deduplication_token", token);
            let body = body.clone();
            async move {
                insert.send(body).await?;
                insert.end().await
            }
        })
        .await
    }
}

fn arrow_stream(batches: &[RecordBatch]) -> Result<Bytes, arrow::error::ArrowError> {
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME))?;
    let mut writer = StreamWriter::try_new_with_options(Vec::new(), batches[0].schema_ref(), options)?;
    for batch in batches {
        writer.write(batch)?;
    }
    Ok(writer.into_inner()?.into())
}
