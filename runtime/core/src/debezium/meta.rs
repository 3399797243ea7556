//! What an event says beside its row: operation, times, transaction, table.
//!
//! Owns the reading of these fields, wherever envelope or flattened row carry
//! them. Invariant: a field that is there and cannot be read is a fault, never a
//! null: what the lake fails to record nothing later can restore.

use std::borrow::Cow;

use super::json::{Kind, Lexeme};
use super::number;
use super::refusal::{Fault, quote};
use crate::change::Op;
use crate::table::SourceTable;

/// The fields, by meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    Op,
    Deleted,
    Snapshot,
    Lsn,
    TxId,
    TransactionId,
    TotalOrder,
    TsUs,
    TsNs,
    TsMs,
    LateTsUs,
    LateTsNs,
    LateTsMs,
    Schema,
    Db,
    Table,
}

/// How many fields there are.
pub(super) const SLOTS: usize = Slot::Table as usize + 1;

/// The fields of one event as sent.
#[derive(Clone, Debug)]
pub(super) struct Meta<'a> {
    flattened: bool,
    values: [Lexeme<'a>; SLOTS],
}

/// The same, wherever they lie.
#[derive(Clone, Copy, Debug)]
pub(super) struct MetaRef<'m, 'a> {
    pub(super) flattened: bool,
    pub(super) values: &'m [Lexeme<'a>; SLOTS],
}

/// The fields of one event, read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header<'a> {
    pub(super) op: Op,
    /// commit time, µs since 1970
    pub(super) ts_us: Option<i64>,
    pub(super) lsn: Option<i64>,
    pub(super) tx: Option<Cow<'a, str>>,
    pub(super) tx_order: Option<i64>,
    pub(super) snapshot: Option<Cow<'a, str>>,
}

impl<'a> Meta<'a> {
    pub(super) fn envelope() -> Self {
        Self { flattened: false, values: [Lexeme::ABSENT; SLOTS] }
    }

    pub(super) fn flattened() -> Self {
        Self { flattened: true, values: [Lexeme::ABSENT; SLOTS] }
    }

    pub(super) fn is_flattened(&self) -> bool {
        self.flattened
    }

    pub(super) fn set(&mut self, slot: Slot, value: Lexeme<'a>) {
        self.values[slot as usize] = value;
    }

    pub(super) fn as_ref(&self) -> MetaRef<'_, 'a> {
        MetaRef { flattened: self.flattened, values: &self.values }
    }
}

impl<'a> MetaRef<'_, 'a> {
    fn get(&self, slot: Slot) -> Lexeme<'a> {
        self.values[slot as usize]
    }

    /// The table that the event names, if it names one: for MySQL the database
    /// stands for the schema.
    pub(super) fn names(&self) -> (Option<Cow<'a, str>>, Option<Cow<'a, str>>) {
        let schema = self.get(Slot::Schema).string().or_else(|| self.get(Slot::Db).string());
        (schema, self.get(Slot::Table).string())
    }

    /// # Errors
    /// If a field cannot be read.
    pub(super) fn header(&self) -> Result<Header<'a>, Fault> {
        Ok(Header {
            op: self.op()?,
            ts_us: self.ts_us()?,
            lsn: self.integer(Slot::Lsn, "lsn")?,
            tx: match self.text(Slot::TxId, "txId")? {
                None => self.text(Slot::TransactionId, "transaction id")?,
                tx => tx,
            },
            tx_order: self.integer(Slot::TotalOrder, "transaction total_order")?,
            snapshot: self.text(Slot::Snapshot, "snapshot")?,
        })
    }

    fn op(&self) -> Result<Op, Fault> {
        let op = self.get(Slot::Op);
        if self.flattened {
            if self.get(Slot::Deleted).flag() == Some(true) {
                return Ok(Op::Delete);
            }
            if op.is_null() {
                return Ok(Op::Update);
            }
        }
        let letter = if op.kind == Kind::Plain { op.body() } else { op.text };
        std::str::from_utf8(letter).ok().and_then(Op::from_letter).ok_or_else(|| {
            let message = format!("op is {}; it must be one of c, u, d, r, t, m", quote(op.text));
            Fault::new("unknown-op", message)
        })
    }

    fn ts_us(&self) -> Result<Option<i64>, Fault> {
        for (us, ns, ms) in
            [(Slot::TsUs, Slot::TsNs, Slot::TsMs), (Slot::LateTsUs, Slot::LateTsNs, Slot::LateTsMs)]
        {
            if let Some(us) = self.integer(us, "ts_us")? {
                return Ok(Some(us));
            }
            if let Some(ns) = self.integer(ns, "ts_ns")? {
                return Ok(Some(ns.div_euclid(1000)));
            }
            if let Some(ms) = self.integer(ms, "ts_ms")? {
                let us = ms.checked_mul(1000).ok_or_else(|| unreadable("ts_ms", self.get(Slot::TsMs)))?;
                return Ok(Some(us));
            }
        }
        Ok(None)
    }

    fn integer(&self, slot: Slot, name: &str) -> Result<Option<i64>, Fault> {
        let value = self.get(slot);
        match value.kind {
            Kind::Absent | Kind::Null => Ok(None),
            Kind::Integer => number::integer(value.text).map(Some).ok_or_else(|| unreadable(name, value)),
            _ => Err(unreadable(name, value)),
        }
    }

    fn text(&self, slot: Slot, name: &str) -> Result<Option<Cow<'a, str>>, Fault> {
        let value = self.get(slot);
        match value.kind {
            Kind::Absent | Kind::Null => Ok(None),
            Kind::Integer | Kind::True | Kind::False => Ok(Some(value.as_str())),
            _ => value.string().map(Some).ok_or_else(|| unreadable(name, value)),
        }
    }
}

fn unreadable(name: &str, value: Lexeme<'_>) -> Fault {
    let message =
        format!("{name} is {}, which dabi cannot read; is a transformation rewriting it?", quote(value.text));
    Fault::new("bad-source", message)
}

/// The table of an event: as the event names it, else as headers do, else by
/// the last two parts of the topic's name.
///
/// # Errors
/// If none of them says, or the schema's name holds a dot, which would make
/// `schema.table` ambiguous.
pub(super) fn table(
    (schema, table): (Option<Cow<'_, str>>, Option<Cow<'_, str>>),
    headers: &dyn super::Headers,
    topic: &str,
) -> Result<SourceTable, Fault> {
    let header = |name| headers.last(name).and_then(|value| std::str::from_utf8(value).ok());
    let mut parts = topic.rsplitn(3, '.');
    let (topic_table, topic_schema) = (parts.next(), parts.next());
    let schema = schema.as_deref().or_else(|| header("__schema")).or(topic_schema).unwrap_or_default();
    let table = table.as_deref().or_else(|| header("__table")).or(topic_table).unwrap_or_default();
    if schema.is_empty() || table.is_empty() || schema.contains('.') {
        let message = format!(
            "cannot tell the source table (schema {schema:?}, table {table:?}); have the connector send it: \
             add.fields=table,source.schema, or a topic named prefix.schema.table"
        );
        return Err(Fault::new("no-table", message));
    }
    Ok(SourceTable::new(schema, table))
}
