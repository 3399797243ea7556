//! One topic's records → change batches.
//!
//! Owns the way of a record through the other modules, and what is learned on
//! it (schemas, layouts). Invariant: a record that fails, wherever, leaves no
//! trace but its dead letter.

use std::sync::Arc;

use super::batches::Batches;
use super::connect::{self, Parts, Prefixes, TypedColumn, ValueSchema};
use super::images::{Images, fill_key, scatter};
use super::json::{self, Entries, Kind, Lexeme};
use super::layout::{Columns, LayoutId, Layouts};
use super::message::{self, Draft, distinct};
use super::meta::{self, Header, Meta};
use super::open_batch::{Misfit, Row};
use super::refusal::{Fault, Refusal, quote};
use super::tally::Tally;
use super::template::{Found, Lesson, Subject, Templates, Values};
use super::{Decoded, Record, Skip};
use crate::change::Op;
use crate::position::Topic;
use crate::table::SourceTable;

const HEARTBEAT_TOPIC: &str = "__debezium-heartbeat";

/// Decodes the records of one topic, all its partitions.
///
/// Push records, in offset order within each partition, until enough rows or
/// bytes are open; then drain them with [`TopicDecoder::finish`]. What was
/// learned about the topic stays.
pub struct TopicDecoder {
    topic: Topic,
    is_heartbeat: bool,
    values: Prefixes,
    keys: Prefixes,
    layouts: Layouts,
    templates: Templates,
    scratch: Values<'static>,
    batches: Batches,
    tally: Tally,
}

/// What the fast way made of a record.
enum Guided {
    Row(Result<(), Refusal>),
    /// its shape is known, and its values are for the general way to judge
    Doubt,
    /// its shape is not known
    Unknown,
}

/// A value's payload, parsed.
struct Payload<'a> {
    entries: Entries<'a>,
    schema: Option<Arc<ValueSchema>>,
}

/// A draft, its values in the order of the columns of a layout.
struct Assigned<'a> {
    layout: LayoutId,
    row: Vec<Lexeme<'a>>,
    before: Option<Vec<Lexeme<'a>>>,
}

impl TopicDecoder {
    /// A decoder that has seen nothing of `topic`.
    #[must_use]
    pub fn new(topic: Topic) -> Self {
        Self {
            is_heartbeat: topic.starts_with(HEARTBEAT_TOPIC),
            values: Prefixes::default(),
            keys: Prefixes::default(),
            layouts: Layouts::default(),
            templates: Templates::default(),
            scratch: Values::default(),
            batches: Batches::new(Arc::clone(&topic)),
            tally: Tally::default(),
            topic,
        }
    }

    /// The same without the guided path.
    #[cfg(test)]
    pub(super) fn general_only(topic: Topic) -> Self {
        Self { templates: Templates::none(), ..Self::new(topic) }
    }

    /// How many records took the guided path.
    #[cfg(test)]
    pub(super) fn guided_hits(&self) -> u64 {
        self.templates.hits
    }

    /// Decodes one record. Total: it becomes a row, a count, or a dead letter.
    pub fn push(&mut self, record: &Record<'_>) {
        self.tally.note(record);
        if let Err(refusal) = self.decode(record) {
            self.tally.refuse(&self.topic, record, refusal);
        }
    }

    /// Rows pushed and not yet drained.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.batches.rows()
    }

    /// What these rows take in memory; an estimate.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.batches.bytes()
    }

    /// Drains what was pushed.
    pub fn finish(&mut self) -> Decoded {
        let batches = self.batches.finish(&self.layouts);
        self.tally.finish(&self.topic, batches)
    }

    fn decode(&mut self, record: &Record<'_>) -> Result<(), Refusal> {
        let Some(value) = record.value else { return Err(Refusal::Skip(Skip::Tombstone)) };
        if self.is_heartbeat {
            return Err(Refusal::Skip(Skip::Heartbeat));
        }
        let subject = self.subject(record, value);
        let mut values = std::mem::take(&mut self.scratch).recycle();
        let guided = self.guided(&subject, &mut values);
        self.scratch = values.recycle();
        match guided {
            Guided::Row(result) => result,
            Guided::Doubt => self.general(record, value).map(drop),
            Guided::Unknown => {
                let lesson = self.general(record, value)?;
                self.learn(record, value, &lesson);
                Ok(())
            }
        }
    }

    /// The record without the schemas that stand before its payloads, as far as
    /// they are known.
    fn subject<'r, 'a>(&mut self, record: &'r Record<'a>, value: &'a [u8]) -> Subject<'r, 'a> {
        let parts = self.values.split(value).unwrap_or(Parts { payload: value, schema: None });
        let key = record.key.map(|key| self.keys.split(key).map_or(key, |parts| parts.payload));
        Subject { record, value: parts.payload, schema: parts.schema, key }
    }

    /// The fast way: see [`super::template`].
    fn guided<'a>(&mut self, subject: &Subject<'_, 'a>, values: &mut Values<'a>) -> Guided {
        let Some(found) = self.templates.find(subject, values) else { return Guided::Unknown };
        let Some(Found { after, before, meta }) = values.found(found) else { return Guided::Doubt };
        let Ok(header) = meta.header() else { return Guided::Doubt };
        let (row, before) = match header.op {
            Op::Delete if !found.flattened && found.before => (before, None),
            Op::Create | Op::Update | Op::Read if found.after => (after, found.before.then_some(before)),
            Op::Delete if found.flattened => (after, None),
            _ => return Guided::Doubt,
        };
        let layout = self.layouts.get(found.layout);
        if layout.key.iter().any(|place| row.get(*place).is_none_or(|value| value.is_null())) {
            return Guided::Doubt;
        }
        self.layouts.touch(found.layout);
        Guided::Row(self.append(subject.record, header, found.layout, Images { row, before }))
    }

    /// The way that every record can take.
    fn general(&mut self, record: &Record<'_>, value: &[u8]) -> Result<Lesson, Refusal> {
        let payload = self.payload(value)?;
        let key = self.key(record.key)?;
        let draft = message::read(payload.entries, &key)?;
        let header = draft.meta.as_ref().header()?;
        let names = draft.meta.as_ref().names();
        let (flattened, names_table) = (draft.meta.is_flattened(), names.0.is_some() && names.1.is_some());
        let table = meta::table(names, record.headers, &self.topic)?;
        let typed = typed_columns(payload.schema.as_deref(), &draft.meta)?;
        let has_row = header.op != Op::Truncate;
        let mut assigned = self.assign(&table, header.op, &key, typed.as_ref(), draft)?;
        let layout = assigned.layout;
        let images = Images { row: &mut assigned.row, before: assigned.before.as_deref_mut() };
        self.append(record, header, layout, images)?;
        Ok(Lesson { layout, flattened, names_table, has_row })
    }

    fn learn(&mut self, record: &Record<'_>, value: &[u8], lesson: &Lesson) {
        if lesson.has_row {
            let subject = self.subject(record, value);
            self.templates.learn(&subject, lesson, self.layouts.get(lesson.layout));
        }
    }

    /// The entries of the value's payload, by a known prefix or a full parse.
    fn payload<'a>(&mut self, value: &'a [u8]) -> Result<Payload<'a>, Refusal> {
        if let Some(Parts { payload, schema }) = self.values.split(value)
            && let Ok(Some(entries)) = object(payload)
        {
            return Ok(Payload { entries, schema });
        }
        let Some(entries) = object(value).map_err(|error| bad_json("value", &error))? else {
            return not_an_object("value", value);
        };
        let Some((schema, payload)) = connect::parts(&entries) else {
            return Ok(Payload { entries, schema: None });
        };
        let entries = match payload.kind {
            Kind::Object => message::sub_object(payload)?,
            _ => return not_an_object("payload", payload.text),
        };
        let schema = match schema.kind {
            Kind::Object => Some(Arc::new(connect::value_schema(schema).map_err(|error| {
                Fault::new("bad-schema", format!("the value's schema is no Kafka Connect schema: {error}"))
            })?)),
            _ => None,
        };
        self.values.learn(value, payload.text, schema.clone());
        Ok(Payload { entries, schema })
    }

    /// The entries of the key's payload; none for a null key.
    fn key<'a>(&mut self, key: Option<&'a [u8]>) -> Result<Entries<'a>, Refusal> {
        let Some(key) = key else { return Ok(Entries::new()) };
        if let Some(parts) = self.keys.split(key)
            && let Ok(Some(entries)) = object(parts.payload)
        {
            return Ok(entries);
        }
        let bad = |what: String| {
            let remedy = "dabi takes the names of the key's columns from it; use the JSON key converter";
            Fault::new("bad-key", format!("the key is {what}; {remedy}"))
        };
        let entries = match object(key) {
            Ok(Some(entries)) => entries,
            Ok(None) if key.trim_ascii() == b"null" => return Ok(Entries::new()),
            Ok(None) => return Err(bad(format!("{}, not an object", quote(key))).into()),
            Err(error) => return Err(bad(format!("no valid JSON ({error})")).into()),
        };
        let Some((_, payload)) = connect::parts(&entries) else { return Ok(entries) };
        match payload.kind {
            Kind::Object => {
                self.keys.learn(key, payload.text, None);
                Ok(message::sub_object(payload)?)
            }
            Kind::Null => Ok(Entries::new()),
            _ => Err(bad(format!("{}, not an object", quote(payload.text))).into()),
        }
    }

    /// Finds the layout of a draft, and puts its values in the layout's order.
    fn assign<'a>(
        &mut self,
        table: &SourceTable,
        op: Op,
        key: &Entries<'a>,
        typed: Option<&Arc<[TypedColumn]>>,
        draft: Draft<'a>,
    ) -> Result<Assigned<'a>, Refusal> {
        let flattened = draft.meta.is_flattened();
        let (row, before) = match op {
            Op::Truncate => (None, None),
            Op::Delete if !flattened => (draft.before, None),
            _ if draft.after.is_none() => {
                let message = format!("op is {:?} and there is no row after the change", op.letter());
                return Err(Fault::new("no-row", message).into());
            }
            _ => (draft.after, draft.before),
        };
        if op == Op::Delete && row.is_none() && key.is_empty() {
            let message = "a delete has neither a row before the change nor a key; \
                           set REPLICA IDENTITY FULL on the table, or give it a primary key";
            return Err(Fault::new("no-row", message).into());
        }
        let id = self.layout(table, op, key, typed, row.as_ref(), before.as_ref());
        let layout = self.layouts.get(id);
        let mut values = match &row {
            Some(row) => scatter(layout, row)?,
            None => vec![Lexeme::NULL; layout.columns.len()],
        };
        if op != Op::Truncate {
            fill_key(layout, key, &mut values);
        }
        let before = before.as_ref().map(|before| scatter(layout, before)).transpose()?;
        Ok(Assigned { layout: id, row: values, before })
    }

    fn layout<'a>(
        &mut self,
        table: &SourceTable,
        op: Op,
        key: &Entries<'a>,
        typed: Option<&Arc<[TypedColumn]>>,
        row: Option<&Entries<'a>>,
        before: Option<&Entries<'a>>,
    ) -> LayoutId {
        let key = distinct(key.iter().map(|(name, _)| name));
        if row.is_none() {
            // no row, no columns: those of the last one of this table will do
            let wanted = (op == Op::Delete).then_some(&*key);
            if let Some(id) = self.layouts.latest(table, wanted, typed) {
                return id;
            }
        }
        let images = [row, before].into_iter().flatten().flatten();
        let mut names = distinct(images.map(|(name, _)| name));
        let is_column = |name: &str| match typed {
            Some(columns) => columns.iter().any(|column| column.name == name),
            None => names.contains(&name) || (op == Op::Delete && !name.starts_with("__")),
        };
        let key: Vec<&str> = key.into_iter().filter(|name| is_column(name)).collect();
        let extra: Vec<&str> = key.iter().copied().filter(|name| !names.contains(name)).collect();
        names.extend(extra);
        let columns = match typed {
            Some(columns) => Columns::Typed(columns),
            None => Columns::Untyped(&names),
        };
        if let Some(id) = self.layouts.find(table, &key, &columns) {
            return id;
        }
        if let Some((id, evicted)) = self.layouts.evicted() {
            self.batches.close(id, evicted);
            self.templates.forget(id);
        }
        self.layouts.add(table, &key, &columns)
    }

    /// Appends a row, widening columns until it fits: each turn widens one.
    fn append<'a>(
        &mut self,
        record: &Record<'a>,
        header: Header<'a>,
        id: LayoutId,
        mut images: Images<'_, 'a>,
    ) -> Result<(), Refusal> {
        let op = header.op;
        let unavailable = images.take_placeholders(self.layouts.get(id), op);
        let (newkey, oldkey) = match op {
            Op::Delete => (text_header(record, "__debezium.newkey")?, None),
            Op::Create => (None, text_header(record, "__debezium.oldkey")?),
            _ => (None, None),
        };
        let row = Row {
            header,
            offset: record.offset.0,
            timestamp_ms: record.timestamp_ms,
            values: images.row,
            before: images.before.as_deref(),
            unavailable: &unavailable,
            newkey,
            oldkey,
        };
        while let Err(Misfit { place, value }) =
            self.batches.append(id, self.layouts.get(id), record.partition, &row)
        {
            if self.layouts.get(id).is_null(place) {
                self.layouts.get_mut(id).widen(place, value);
                self.batches.retype(id, place, &self.layouts.get(id).columns[place].ty);
            } else {
                self.batches.close(id, self.layouts.get(id));
                self.layouts.get_mut(id).widen(place, value);
            }
        }
        Ok(())
    }
}

/// The text of a header, if the record has it.
fn text_header<'a>(record: &Record<'a>, name: &str) -> Result<Option<&'a str>, Fault> {
    let Some(value) = record.headers.last(name) else { return Ok(None) };
    std::str::from_utf8(value)
        .map(Some)
        .map_err(|_| Fault::new("bad-header", format!("the header {name} is not UTF-8: {}", quote(value))))
}

/// The entries of one object and nothing else; `None` for other JSON.
fn object(text: &[u8]) -> Result<Option<Entries<'_>>, String> {
    let text = std::str::from_utf8(text).map_err(|error| error.to_string())?;
    if text.trim_ascii_start().starts_with('{') {
        return json::entries(text).map(Some).map_err(|error| error.to_string());
    }
    serde_json::from_str::<serde::de::IgnoredAny>(text).map(|_| None).map_err(|error| error.to_string())
}

fn bad_json(what: &str, error: &str) -> Refusal {
    let message = format!("the {what} is no valid JSON: {error}; is the converter JSON?");
    Fault::new("bad-json", message).into()
}

/// A JSON value that is no object: `null` is a tombstone.
fn not_an_object<T>(what: &str, text: &[u8]) -> Result<T, Refusal> {
    if text.trim_ascii() == b"null" {
        return Err(Refusal::Skip(Skip::Tombstone));
    }
    let message = format!("the {what} is {}; expected a Debezium envelope or a flattened row", quote(text));
    Err(Fault::new("unknown-shape", message).into())
}

fn typed_columns(
    schema: Option<&ValueSchema>,
    meta: &Meta<'_>,
) -> Result<Option<Arc<[TypedColumn]>>, Refusal> {
    match schema {
        None => Ok(None),
        Some(schema) if meta.is_flattened() => Ok(Some(Arc::clone(&schema.flattened))),
        Some(ValueSchema { envelope: Some(columns), .. }) => Ok(Some(Arc::clone(columns))),
        Some(_) => {
            let message = "the value is an envelope whose schema has neither after nor before as a struct";
            Err(Fault::new("bad-schema", message).into())
        }
    }
}
