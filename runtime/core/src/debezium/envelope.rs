//! Debezium's envelope: `{before, after, source, op, ts_ms, transaction}`.

use super::Skip;
use super::json::{self, Entries, Kind};
use super::message::{Draft, fill, image, sub_object};
use super::meta::{Meta, Slot};
use super::refusal::{Fault, Refusal};

/// Where a field of `source` belongs.
pub(super) fn source_slot(name: &str) -> Option<Slot> {
    Some(match name {
        "ts_us" => Slot::TsUs,
        "ts_ns" => Slot::TsNs,
        "ts_ms" => Slot::TsMs,
        "lsn" => Slot::Lsn,
        "txId" => Slot::TxId,
        "snapshot" => Slot::Snapshot,
        "schema" => Slot::Schema,
        "db" => Slot::Db,
        "table" => Slot::Table,
        _ => return None,
    })
}

/// Where a field of `transaction` belongs.
pub(super) fn transaction_slot(name: &str) -> Option<Slot> {
    Some(match name {
        "id" => Slot::TransactionId,
        "total_order" => Slot::TotalOrder,
        _ => return None,
    })
}

/// Is it an envelope even where a transformation has added `__…` fields to it?
pub(super) fn is_beyond_doubt(entries: &Entries<'_>) -> bool {
    let kind = |name| json::last(entries, name).kind;
    let is_image = |name| matches!(kind(name), Kind::Object | Kind::Null);
    kind("op") == Kind::Plain && kind("source") == Kind::Object && (is_image("after") || is_image("before"))
}

/// Reads an envelope; `None` if the entries are not those of one.
pub(super) fn read<'a>(entries: &Entries<'a>) -> Result<Option<Draft<'a>>, Refusal> {
    let get = |name| json::last(entries, name);
    let (op, source, after, before) = (get("op"), get("source"), get("after"), get("before"));
    let parts =
        [source, after, before].iter().filter(|v| matches!(v.kind, Kind::Object | Kind::Null)).count();
    match (op.kind, parts) {
        (_, 0) => return Ok(None),
        (Kind::Plain, _) => {}
        (_, 1) => return Ok(None),
        _ => {
            let message = "the envelope has no op; it must be one of c, u, d, r, t, m";
            return Err(Fault::new("unknown-op", message).into());
        }
    }
    if op.body() == b"m" {
        return Err(Refusal::Skip(Skip::Message));
    }
    let mut meta = Meta::envelope();
    meta.set(Slot::Op, op);
    if source.kind == Kind::Object {
        fill(&mut meta, &sub_object(source)?, source_slot);
    }
    let transaction = get("transaction");
    if transaction.kind == Kind::Object {
        fill(&mut meta, &sub_object(transaction)?, transaction_slot);
    }
    Ok(Some(Draft { meta, after: image(after, "after")?, before: image(before, "before")? }))
}
