//! Flattened rows (`ExtractNewRecordState`): the row's columns at the top, the
//! rest in fields that begin with two underscores, as far as `add.fields` asks.

use super::json::Entries;
use super::message::{Draft, fill};
use super::meta::{Meta, Slot};

/// What the names of fields begin with that are not columns of the row.
pub(super) const MARK: &str = "__";

/// Where a `__…` field belongs.
pub(super) fn slot(name: &str) -> Option<Slot> {
    Some(match name.strip_prefix(MARK)? {
        "op" => Slot::Op,
        "deleted" => Slot::Deleted,
        "lsn" | "source_lsn" => Slot::Lsn,
        "txId" | "source_txId" => Slot::TxId,
        "transaction_id" => Slot::TransactionId,
        "transaction_total_order" => Slot::TotalOrder,
        "snapshot" | "source_snapshot" => Slot::Snapshot,
        "schema" | "source_schema" => Slot::Schema,
        "db" | "source_db" => Slot::Db,
        "table" | "source_table" => Slot::Table,
        "source_ts_us" => Slot::TsUs,
        "source_ts_ns" => Slot::TsNs,
        "source_ts_ms" => Slot::TsMs,
        "ts_us" => Slot::LateTsUs,
        "ts_ns" => Slot::LateTsNs,
        "ts_ms" => Slot::LateTsMs,
        _ => return None,
    })
}

/// Any object is a flattened row, since none of its `__…` fields must be there.
pub(super) fn read(entries: Entries<'_>) -> Draft<'_> {
    let mut meta = Meta::flattened();
    fill(&mut meta, &entries, slot);
    let after = entries.into_iter().filter(|(name, _)| !name.starts_with(MARK)).collect();
    Draft { meta, after: Some(after), before: None }
}
